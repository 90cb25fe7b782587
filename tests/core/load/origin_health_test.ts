import assert from "node:assert/strict";
import { NotFoundError, OriginError, OverloadedError } from "../../../lib/core/errors.ts";
import { Group } from "../../../lib/core/group/group.ts";
import { OriginHealth } from "../../../lib/core/load/origin-health.ts";
import { NoPeers } from "../../../lib/core/ports.ts";
import type { Answer } from "../../../lib/core/value.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

function healthAt() {
  const clock = new ManualClock();
  return { clock, health: new OriginHealth(clock), startMs: clock.nowMs() };
}

test("an origin fails from its first failure on, with the last reason, and no longer once its loads succeed", async () => {
  const { clock, health, startMs } = healthAt();
  for (let i = 0; i < 30; i++) health.succeeded();
  assert.equal(health.figures().failingSinceMs, undefined);
  health.failed("first");
  await clock.advance(1_000);
  health.failed("second".padEnd(1_000));
  const { lastFailure, ...figures } = health.figures();
  assert.deepEqual(figures, { loads: 32, failures: 2, failuresInRow: 2, failingSinceMs: startMs });
  assert.equal(lastFailure!.atMs, startMs + 1_000);
  assert.equal(lastFailure!.reason.length, 300);
  for (let i = 0; i < 30; i++) health.succeeded();
  assert.equal(health.figures().failingSinceMs, undefined, "2 of 62, and the last ones succeeded");
});

test("an origin that fails now and then fails while that is one load in twenty", async () => {
  const { clock, health, startMs } = healthAt();
  health.failed("now and then");
  for (let i = 0; i < 19; i++) health.succeeded();
  assert.equal(health.figures().failingSinceMs, startMs);
  await clock.advance(30_000);
  assert.deepEqual([health.figures().loads, health.figures().failingSinceMs], [0, undefined]);
  health.succeeded();
  health.failed("again");
  assert.equal(health.figures().failingSinceMs, startMs + 30_000, "a later failure begins anew");
});

test("a failure that no load followed counts for ten minutes", async () => {
  const { clock, health, startMs } = healthAt();
  health.failed("down");
  await clock.advance(599_999);
  assert.equal(health.figures().failingSinceMs, startMs);
  await clock.advance(1);
  assert.equal(health.figures().failingSinceMs, undefined);
});

test("a group reports how its loads went at the origin, and reports no hits", async () => {
  const { clock, health } = healthAt();
  let answer: () => Promise<Answer> = () => Promise.resolve({ body: new Uint8Array(1), contentType: "text/plain" });
  const origin = { load: () => answer() };
  const group = new Group({
    name: "g",
    origin,
    picker: NoPeers,
    clock,
    budgetBytes: 1e6,
    loadTimeoutMs: 1_000,
    health,
  });
  const get = (key: string) => group.get(key, { signal: new AbortController().signal }).catch(() => {});
  await get("a");
  for (let i = 0; i < 10; i++) await get("a");
  assert.deepEqual([health.figures().loads, health.figures().failures], [1, 0]);
  const failing = (error: Error) => answer = () => Promise.reject(error);
  failing(new NotFoundError("no such key"));
  await get("b");
  failing(new OverloadedError("the guard refuses"));
  await get("b");
  assert.deepEqual([health.figures().loads, health.figures().failures], [2, 0], "a refusal of the guard is no load");
  failing(new OriginError("answered 503"));
  await get("b");
  assert.equal(health.figures().lastFailure!.reason, "answered 503");
  answer = () => Promise.resolve({ body: new Uint8Array(1), contentType: "text/plain", status: 500, fields: [] });
  await get("c");
  assert.equal(health.figures().lastFailure!.reason, "it answered with the status 500");
  let end = () => {};
  answer = () => new Promise((_, failed) => end = () => failed(new Error("cancelled")));
  const late = get("d");
  await clock.advance(2_000);
  end();
  await late;
  await settle();
  assert.deepEqual(health.figures().failures, 3);
  assert.equal(health.figures().lastFailure!.reason, "no answer in time");
  const gone = new AbortController();
  const left = group.get("e", { signal: gone.signal }).catch(() => {});
  await settle();
  gone.abort();
  end();
  await left;
  await settle();
  assert.deepEqual(health.figures().failures, 3, "a load that nobody waits for any more says nothing");
});
