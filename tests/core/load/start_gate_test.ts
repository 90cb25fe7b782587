/** Misses of a node that does not know its peers yet. */
import assert from "node:assert/strict";
import { OverloadedError } from "../../../lib/core/errors.ts";
import { Waiter } from "../../../lib/core/load/flights.ts";
import { StartGate, type StartGateOptions } from "../../../lib/core/load/start-gate.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

/** Notes what becomes of one get. */
class Noted extends Waiter<string> {
  error: unknown;

  constructor(signal?: AbortSignal) {
    super(signal);
  }

  resolve(): void {}

  reject(error: unknown): void {
    this.error = error;
  }
}

function closed(options: Partial<StartGateOptions> = {}) {
  const clock = new ManualClock();
  const gate = new StartGate({ clock, ...options });
  const gone: string[] = [];
  const hold = (name: string, signal?: AbortSignal) => {
    const waiter = new Noted(signal);
    gate.hold(waiter, () => gone.push(name));
    return waiter;
  };
  return { clock, gate, gone, hold };
}

test("misses wait for the gate, and go on in their order, once", async () => {
  const { clock, gate, gone, hold } = closed();
  for (const name of ["a", "b", "c"]) hold(name);
  await clock.advance(9_999);
  assert.deepEqual([gone, gate.held, gate.isOpen], [[], 3, false]);
  gate.open();
  gate.open();
  assert.deepEqual([gone, gate.held, gate.isOpen], [["a", "b", "c"], 0, true]);
  assert.equal(clock.pending, 0, "no timer is left");
});

test("no miss waits longer than the limit", async () => {
  const { clock, gone, hold } = closed({ maxHeldMs: 2_000 });
  hold("a");
  await clock.advance(1_999);
  hold("b");
  assert.deepEqual(gone, []);
  await clock.advance(1);
  assert.deepEqual(gone, ["a", "b"]);
});

test("one miss too many is refused at once, and one that left makes room", async () => {
  const { gate, gone, hold } = closed({ maxHeld: 2 });
  const leaving = new AbortController();
  hold("a");
  const b = hold("b", leaving.signal);
  const c = hold("c");
  assert.ok(c.error instanceof OverloadedError);
  leaving.abort(new Error("the client has gone"));
  assert.match(String(b.error), /the client has gone/);
  assert.equal(hold("d").error, undefined);
  gate.open();
  leaving.abort();
  await settle();
  assert.deepEqual(gone, ["a", "d"]);
  const late = hold("e", leaving.signal);
  assert.match(String(late.error), /the client has gone/, "it had left before");
});

test("a miss that goes on with an error fails its own waiter only", () => {
  const { gate, gone, hold } = closed();
  hold("a");
  const bad = new Noted();
  gate.hold(bad, () => {
    throw new Error("broken");
  });
  hold("c");
  gate.open();
  assert.deepEqual([gone, String(bad.error)], [["a", "c"], "Error: broken"]);
});
