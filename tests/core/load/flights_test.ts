import assert from "node:assert/strict";
import type { CancelSignal } from "../../../lib/core/base/cancel.ts";
import { NotFoundError, OriginTimeoutError, OverloadedError } from "../../../lib/core/errors.ts";
import { type Flight, Flights, promised, Waiter } from "../../../lib/core/load/flights.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

function setUp({ timeoutMs = 1_000, maxFlights = 10 } = {}) {
  const clock = new ManualClock();
  return { clock, flights: new Flights<string>({ clock, timeoutMs, maxFlights }) };
}

const gone = new DOMException("gone", "AbortError");

function fly(
  flights: Flights<string>,
  key: string,
  signal: CancelSignal | undefined,
  start: (landing: Flight<string>) => void,
): Promise<string> {
  return promised(signal, (waiter) => flights.fly(key, waiter, start));
}

function run(
  flights: Flights<string>,
  key: string,
  signal: CancelSignal | undefined,
  start: (landing: Flight<string>) => Promise<string>,
): Promise<string> {
  return fly(flights, key, signal, (landing) => landing.follow(start(landing)));
}

test("all callers that ask during a load share it", async () => {
  const { flights } = setUp();
  const gate = Promise.withResolvers<string>();
  let starts = 0;
  const start = () => (starts++, gate.promise);
  const asked = Array.from(
    { length: 100 },
    (_, i) => run(flights, "k", i % 2 === 0 ? new AbortController().signal : undefined, start),
  );
  gate.resolve("v");
  assert.deepEqual(new Set(await Promise.all(asked)), new Set(["v"]));
  assert.equal(starts, 1);
  assert.equal(flights.size, 0);
});

test("a waiter with priority is answered first, the others in the order of their arrival", () => {
  const { flights } = setUp();
  const heard: string[] = [];
  class Caller extends Waiter<string> {
    readonly #name: string;

    constructor(name: string) {
      super(undefined);
      this.#name = name;
    }

    override get isFirst(): boolean {
      return this.#name === "peer";
    }

    resolve(value: string): void {
      heard.push(`${this.#name} ${value}`);
    }

    reject(error: unknown): void {
      heard.push(`${this.#name} ${(error as Error).name}`);
    }
  }
  for (
    const end of [
      (landing: Flight<string>) => landing.resolve("v"),
      (landing: Flight<string>) => landing.reject(gone),
    ]
  ) {
    const landings: Flight<string>[] = [];
    for (const name of ["one", "two", "peer", "three"]) {
      flights.fly("k", new Caller(name), (landing) => landings.push(landing));
    }
    end(landings[0]!);
  }
  assert.deepEqual(heard, [
    ...["peer v", "one v", "two v", "three v"],
    ...["peer AbortError", "one AbortError", "two AbortError", "three AbortError"],
  ]);
});

test("a failure reaches every waiter, and the next call starts again", async () => {
  const { flights } = setUp();
  const failing = () => Promise.reject(new NotFoundError("no"));
  const signal = new AbortController().signal;
  await Promise.all([1, 2].map(() => assert.rejects(run(flights, "k", signal, failing), NotFoundError)));
  assert.equal(await run(flights, "k", signal, () => Promise.resolve("v")), "v");
});

test("a start that throws at once leaves nothing behind", async () => {
  const { flights } = setUp();
  await assert.rejects(
    run(flights, "k", undefined, () => {
      throw new NotFoundError("no");
    }),
    NotFoundError,
  );
  assert.equal(flights.size, 0);
});

test("a waiter that leaves ends nothing for the others; the last one ends the flight", async () => {
  const { flights, clock } = setUp();
  const [first, second] = [new AbortController(), new AbortController()];
  let seen: CancelSignal | undefined;
  const start = (signal: CancelSignal) => {
    seen = signal;
    return new Promise<string>(() => {});
  };
  const a = run(flights, "k", first.signal, start);
  const b = run(flights, "k", second.signal, start);
  first.abort(new Error("left"));
  await assert.rejects(a, /left/);
  assert.equal(seen!.aborted, false);
  assert.equal(flights.size, 1);
  second.abort(new Error("left too"));
  await assert.rejects(b, /left too/);
  assert.equal(seen!.aborted, true);
  assert.equal(flights.size, 0);
  const again = run(flights, "k", undefined, () => clock.advance(999).then(() => "v"));
  assert.equal(await again, "v", "the deadline of a cancelled flight ends no other");
});

test("a caller that comes after the last waiter has left gets a new flight, which the old one's end does not disturb", async () => {
  const { flights } = setUp();
  const gates = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
  let starts = 0;
  const start = () => gates[starts++]!.promise;
  const controller = new AbortController();
  const gone = run(flights, "k", controller.signal, start);
  controller.abort(new Error("left"));
  await assert.rejects(gone);
  const stays = run(flights, "k", new AbortController().signal, start);
  gates[0]!.resolve("old");
  await settle();
  assert.equal(flights.size, 1);
  gates[1]!.resolve("new");
  assert.equal(await stays, "new");
});

test("a flight has a deadline of its own", async () => {
  const { flights, clock } = setUp({ timeoutMs: 500 });
  let seen: CancelSignal | undefined;
  const waits = run(flights, "k", undefined, (signal) => ((seen = signal), new Promise(() => {})));
  const fails = assert.rejects(waits, OriginTimeoutError);
  await clock.advance(499);
  assert.equal(seen!.aborted, false);
  await clock.advance(1);
  await fails;
  assert.equal(seen!.aborted, true);
  assert.equal(flights.size, 0);
});

test("every flight keeps its deadline, in whatever order they began", async () => {
  const { flights, clock } = setUp({ timeoutMs: 500 });
  const never = () => new Promise<string>(() => {});
  const ends: string[] = [];
  const watch = (key: string) => run(flights, key, undefined, never).catch(() => ends.push(`${key} ${clock.nowMs()}`));
  const startMs = clock.nowMs();
  for (const key of ["a", "b", "c"]) {
    void watch(key);
    await clock.advance(100);
  }
  await clock.advance(1_000);
  assert.deepEqual(ends, [500, 600, 700].map((ms, i) => `${"abc"[i]} ${startMs + ms}`));
  assert.equal(clock.pending, 0);
});

test("a listener that hears of an overdue flight may end another overdue one, which is then not aborted", async () => {
  const { clock, flights } = setUp();
  const landings = new Map<string, Flight<string>>();
  const heard: string[] = [];
  const aborted: string[] = [];
  for (const [key, other] of [["a", "b"], ["b", "a"]] as const) {
    const asked = fly(flights, key, undefined, (landing) => {
      landings.set(key, landing);
      landing.addEventListener("abort", () => {
        aborted.push(key);
        landings.get(other)!.resolve("in time");
      });
    });
    asked.then((value) => heard.push(value), (error) => heard.push(error.constructor.name));
  }
  await clock.advance(1_000);
  assert.deepEqual(heard.toSorted(), ["OriginTimeoutError", "in time"]);
  assert.equal(aborted.length, 1);
  assert.deepEqual([flights.size, clock.pending], [0, 0]);
});

test("one flight too many is refused, and those in flight go on", async () => {
  const { flights } = setUp({ maxFlights: 2 });
  const gate = Promise.withResolvers<string>();
  const asked = ["a", "b", "a"].map((key) => run(flights, key, undefined, () => gate.promise));
  await assert.rejects(run(flights, "c", undefined, () => gate.promise), OverloadedError);
  gate.resolve("v");
  assert.deepEqual(await Promise.all(asked), ["v", "v", "v"]);
});

test("a caller that left before it asked starts nothing", async () => {
  const { flights } = setUp();
  const gone = AbortSignal.abort(new Error("gone"));
  await assert.rejects(run(flights, "k", gone, () => assert.fail("started")), /gone/);
});

test("a flight ends once, for all its waiters, and frees its key first", async () => {
  const { flights } = setUp();
  const landings: Flight<string>[] = [];
  const start = (landing: Flight<string>) => void landings.push(landing);
  const asked = [1, 2, 3].map(() => fly(flights, "k", undefined, start));
  assert.equal(landings.length, 1);
  landings[0]!.resolve("first");
  assert.equal(flights.size, 0);
  // A late answer must neither end nor answer the flight that has taken the place of its own.
  const next = fly(flights, "k", undefined, start);
  landings[0]!.resolve("second");
  landings[0]!.reject(new Error("late"));
  assert.deepEqual(await Promise.all(asked), ["first", "first", "first"]);
  assert.equal(flights.size, 1);
  landings[1]!.reject(new NotFoundError("no"));
  await assert.rejects(next, NotFoundError);
});

test("a flight is aborted when its last waiter leaves, and a start that throws leaves nothing behind", async () => {
  const { flights } = setUp();
  const client = new AbortController();
  let seen: Flight<string> | undefined;
  const asked = fly(flights, "k", client.signal, (landing) => void (seen = landing));
  client.abort(new Error("left"));
  await assert.rejects(asked, /left/);
  assert.equal(seen!.aborted, true);
  seen!.resolve("too late");
  const thrown = fly(flights, "k", undefined, () => {
    throw new NotFoundError("no");
  });
  await assert.rejects(thrown, NotFoundError);
  assert.equal(flights.size, 0);
});
