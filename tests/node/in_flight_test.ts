import assert from "node:assert/strict";
import { InFlight } from "../../lib/node/doors/in-flight.ts";
import { settle } from "../support/clock.ts";
import { test } from "../support/test.ts";

test("what is in flight is waited for, whether it succeeds or fails", async () => {
  const inFlight = new InFlight();
  await inFlight.none();
  const [one, two] = [Promise.withResolvers<number>(), Promise.withResolvers<number>()];
  const tracked = [inFlight.track(one.promise), inFlight.track(two.promise)];
  let isNone = false;
  void inFlight.none().then(() => isNone = true);
  one.resolve(1);
  assert.equal(await tracked[0], 1);
  await settle();
  assert.deepEqual([inFlight.count, isNone], [1, false]);
  two.reject(new Error("lost"));
  await assert.rejects(tracked[1]!, /lost/);
  await settle();
  assert.deepEqual([inFlight.count, isNone], [0, true]);
});
