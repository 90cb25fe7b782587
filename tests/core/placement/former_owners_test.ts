import assert from "node:assert/strict";
import { RosterPicker } from "../../../lib/core/placement/picker.ts";
import { rosterOf } from "../../../lib/core/roster.ts";
import { test } from "../../support/test.ts";
import { makeCluster, record } from "../cluster.ts";
import { keys } from "../handoff/support.ts";

test("a node that left after draining is no holder, a lost node is one", () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const picker = cluster.pickers.get("a")!;
  const unreached = new RosterPicker("dict", "a", () => undefined, cluster.clock);
  unreached.swap(rosterOf("dict", 1, ["a", "b", "c"].map(record)));
  const key = keys.find((key) => picker.pick(key)?.name === "c" && picker.ranked(key, 2)[1] === undefined)!;
  unreached.swap(rosterOf("dict", 2, [record("a"), record("b"), { ...record("c"), state: "draining" }]));
  unreached.swap(rosterOf("dict", 3, [record("a"), record("b")]));
  assert.deepEqual(unreached.holders(key, 8), []);
  unreached.swap(rosterOf("dict", 4, ["a", "b", "c"].map(record)));
  unreached.swap(rosterOf("dict", 5, ["a", "b"].map(record)));
  assert.deepEqual(unreached.holders(key, 8).map(({ name }) => name), ["c"], "lost");
});
