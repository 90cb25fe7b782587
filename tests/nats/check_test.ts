/** The look at the watches, where what happens meanwhile matters: between parts that do as they are told. */
import assert from "node:assert/strict";
import type { NatsConnection } from "nats";
import type { NatsBucket } from "../../lib/nats/bucket.ts";
import { WatchCheck } from "../../lib/nats/check.ts";
import { learnGossip } from "../../lib/nats/connection.ts";
import type { GroupWatch } from "../../lib/nats/watch.ts";
import { test } from "../support/test.ts";

const info = { created: "then", state: { first_seq: 1, last_seq: 1, messages: 1, subjects: {} } };
const bucket = { info: () => Promise.resolve(info), keysOf: () => new Set() } as unknown as NatsBucket;

/** A watch that nothing speaks against; each opening of it anew ends as told. */
function watchThat(opensAnew: () => Promise<void>): GroupWatch {
  const calm = { isHeld: true, isAhead: false, isPolled: false, isDoubtful: () => Promise.resolve(false) };
  return { ...calm, resync: opensAnew } as unknown as GroupWatch;
}

test("a watch that is distrusted again while it is opened anew is opened once more", async () => {
  const openings: PromiseWithResolvers<void>[] = [];
  const opensAnew = () => {
    openings.push(Promise.withResolvers());
    return openings.at(-1)!.promise;
  };
  const check = new WatchCheck(bucket, [watchThat(opensAnew)]);
  await check.run(["dict"]);
  assert.equal(openings.length, 0);
  check.distrust();
  const first = check.run(["dict"]);
  while (openings.length === 0) await Promise.resolve();
  // The second server leaves.
  check.distrust();
  openings[0]!.resolve();
  await first;
  const second = check.run(["dict"]);
  while (openings.length === 1) await Promise.resolve();
  openings[1]!.reject(new Error("no server"));
  await assert.rejects(second, /no server/);
  const third = check.run(["dict"]);
  while (openings.length === 2) await Promise.resolve();
  openings[2]!.resolve();
  await third;
  await check.run(["dict"]);
  assert.equal(openings.length, 3, "trusted again");
});

test("of the servers of a NATS cluster those are remembered that were heard of last", () => {
  const gossip = new Set<string>();
  const learn = (from: number, to: number) => {
    const connect_urls = Array.from({ length: to - from }, (_, i) => `10.0.0.${from + i}:4222`);
    learnGossip({ info: { connect_urls } } as unknown as NatsConnection, gossip);
  };
  learn(0, 10);
  learn(5, 15);
  assert.equal(gossip.size, 15);
  learn(0, 3);
  learn(20, 25);
  assert.equal(gossip.size, 16);
  const kept = [0, 1, 2, 20, 21, 22, 23, 24].map((host) => `10.0.0.${host}:4222`);
  assert.deepEqual([...gossip].slice(-kept.length), kept);
  assert.ok(!gossip.has("10.0.0.3:4222"), "unheard for the longest");
});
