import assert from "node:assert/strict";
import { ClientSignals } from "../../../lib/http/fast/client-signal.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

function request(signal: AbortSignal, onAsked: () => void): Request {
  return {
    get signal() {
      onAsked();
      return signal;
    },
  } as unknown as Request;
}

test("a client that has gone may end the wait of other requests, which are then not asked for their signals", async () => {
  const clock = new ManualClock();
  const signals = new ClientSignals(clock);
  const asked: number[] = [];
  const all = [0, 1, 2].map((i) => signals.of(request(AbortSignal.abort("gone"), () => asked.push(i))));
  const heard: number[] = [];
  const listeners = all.map((_, i) => () => {
    heard.push(i);
    for (const [j, other] of all.entries()) if (j !== i) other.removeEventListener("abort", listeners[j]!);
  });
  for (const [i, signal] of all.entries()) signal.addEventListener("abort", listeners[i]!);
  await clock.advance(400);
  assert.deepEqual([asked, heard, clock.pending], [[0], [0], 0]);
});

test("a signal with several listeners is watched once, until the last one has gone", async () => {
  const clock = new ManualClock();
  const signals = new ClientSignals(clock);
  let asked = 0;
  const client = new AbortController();
  const signal = signals.of(request(client.signal, () => asked++));
  const other = signals.of(request(client.signal, () => asked++));
  const heard: string[] = [];
  const [first, second, third] = ["first", "second", "third"].map((name) => () => void heard.push(name));
  signal.addEventListener("abort", first!);
  other.addEventListener("abort", third!);
  signal.addEventListener("abort", second!);
  signal.removeEventListener("abort", first!);
  await clock.advance(200);
  assert.equal(asked, 2);
  client.abort();
  assert.deepEqual(heard, ["second", "third"]);
  assert.equal(clock.pending, 0);
});
