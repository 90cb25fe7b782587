import assert from "node:assert/strict";
import type { NatsConnection } from "nats";
import { learnGossip } from "../../lib/nats/connection.ts";
import { test } from "../support/test.ts";

test("of the servers of a NATS cluster a node remembers those that it heard of last", () => {
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
