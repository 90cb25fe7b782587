/** A node's policy for a group stands in its record of that group, and in no other. */
import assert from "node:assert/strict";
import { Membership } from "../../lib/registry/membership.ts";
import { MemoryBucket } from "../../lib/registry/store/memory-store.ts";
import { ManualClock, settle } from "../support/clock.ts";
import { MemoryLog } from "../support/log.ts";
import { test } from "../support/test.ts";
import { recordOf } from "./support.ts";

test("each group's record has that group's policy, also for a later group, and while the node drains", async () => {
  const bucket = new MemoryBucket();
  const policies = new Map([["a", "ttlMs=1"], ["b", "ttlMs=2"], ["later", "ttlMs=3"]]);
  const options = { clock: new ManualClock(), log: new MemoryLog(), onRoster: () => {} };
  const membership = new Membership({
    ...options,
    store: bucket.open(),
    groups: ["a", "b", "none"],
    self: recordOf("n"),
    factsOf: (group) => ({ policy: policies.get(group) }),
    isAlive: async () => false,
  });
  membership.start();
  await settle(50);
  membership.addGroup("later");
  await settle(50);
  const told = () =>
    ["a", "b", "none", "later"].map((group) => {
      const [self] = membership.roster(group).peers;
      return `${self!.state} ${self!.policy}`;
    });
  assert.deepEqual(told(), ["serving ttlMs=1", "serving ttlMs=2", "serving undefined", "serving ttlMs=3"]);
  await membership.setState("draining", 1_000);
  await settle(50);
  assert.deepEqual(told(), ["draining ttlMs=1", "draining ttlMs=2", "draining undefined", "draining ttlMs=3"]);
  await membership.close();
});
