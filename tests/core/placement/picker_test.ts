import assert from "node:assert/strict";
import { PeerError } from "../../../lib/core/errors.ts";
import { RosterPicker } from "../../../lib/core/placement/picker.ts";
import type { Peer } from "../../../lib/core/ports.ts";
import { rosterOf } from "../../../lib/core/roster.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { askBy, record } from "../cluster.ts";

const fail = () => Promise.reject(new PeerError("lost"));
const reached = (name: string): Peer => ({ name, ask: askBy(fail), peek: fail, push: fail, catchUp: fail });
const hundred = Array.from({ length: 100 }, (_, i) => `key-${i}`);

test("a draining peer owns nothing", () => {
  const picker = new RosterPicker("dict", "a", reached, new ManualClock());
  picker.swap(rosterOf("dict", 3, [record("a"), { ...record("b"), state: "draining" }]));
  for (const key of hundred) assert.equal(picker.pick(key), undefined);
});

test("an empty roster, or one without this node, still has an answer for every key", () => {
  const picker = new RosterPicker("dict", "a", reached, new ManualClock());
  picker.swap(rosterOf("dict", 3, []));
  assert.equal(picker.pick("k"), undefined);
  assert.deepEqual(picker.ranked("k", 3), [undefined]);
  picker.swap(rosterOf("dict", 4, [record("b")]));
  assert.equal(picker.pick("k")!.name, "b");
});

test("a node that is no owner is never picked: not without peers, nor by a record that is still listed", () => {
  const picker = new RosterPicker("dict", "a", reached, new ManualClock(), { isOwner: false });
  const names = (key: string) => picker.ranked(key, 3).map((peer) => peer?.name);
  for (const peers of [[], [record("a")]]) {
    picker.swap(rosterOf("dict", 3, peers));
    for (const key of hundred) {
      assert.notEqual(picker.pick(key), undefined);
      assert.equal(names(key).includes(undefined), false);
    }
  }
  picker.swap(rosterOf("dict", 4, [record("a"), record("b"), { ...record("c"), state: "draining" }]));
  for (const key of hundred) assert.deepEqual(names(key), ["b"]);
  picker.swap(rosterOf("dict", 5, []));
  for (const key of hundred) assert.equal(names(key).includes(undefined), false);
});

test("the owners of a group are the same for a node that only asks", () => {
  const pickers = ["a", "z"].map((self) =>
    new RosterPicker("dict", self, reached, new ManualClock(), { isOwner: self === "a" })
  );
  for (const picker of pickers) picker.swap(rosterOf("dict", 3, ["a", "b", "c"].map((name) => record(name))));
  for (const key of hundred) assert.equal(pickers[1]!.pick(key)!.name, pickers[0]!.pick(key)?.name ?? "a");
});
