import assert from "node:assert/strict";
import { KeyWatches } from "../../../lib/core/invalidation/key-watch.ts";
import { test } from "../../support/test.ts";

const at = (sequence: number, epoch = 7) => ({ epoch, sequence });
const only = (name: string) => (key: string) => key === name;

test("a change of a watched key is alone when no other change of that key comes before it in the log", () => {
  const rows: [told: [string, number][], own: number, isAlone: boolean, why: string][] = [
    [[["k", 5]], 5, true, "its own"],
    [[["other", 4], ["k", 5]], 5, true, "another key"],
    [[["k", 4], ["k", 5]], 5, false, "another request has changed it, and may have come to the origin later"],
    [[["k", 5], ["k", 6]], 5, true, "a later change covers what is labelled 5"],
    [[], 5, false, "its own was not told here"],
  ];
  for (const [told, own, isAlone, why] of rows) {
    const watches = new KeyWatches();
    const watch = watches.begin("k", at(3))!;
    for (const [key, sequence] of told) watches.covered(only(key), at(sequence));
    assert.equal(watch.isAlone(at(own)), isAlone, why);
  }
});

test("a place in another life of the log is not the request's own", () => {
  const watches = new KeyWatches();
  const watch = watches.begin("k", at(3))!;
  watches.covered(() => true, at(5, 8));
  assert.equal(watch.isAlone(at(5)), false);
});

test("when another group replaces this one, no watch can tell any more", () => {
  const watches = new KeyWatches();
  const watch = watches.begin("k", at(3))!;
  watches.covered(only("k"), at(5));
  watches.retire();
  assert.equal(watch.isAlone(at(5)), false);
  assert.equal(watches.begin("k", at(5)), undefined);
});

test("watches are bounded, and those that end make room", () => {
  const watches = new KeyWatches();
  const all = Array.from({ length: 1_024 }, () => watches.begin("k", at(3))!);
  assert.equal(watches.begin("k", at(3)), undefined);
  all[0]!.end();
  assert.equal(all[1]!.isAlone(at(4)), false);
  assert.ok(watches.begin("k", at(3)) && watches.begin("k", at(3)));
  assert.equal(watches.begin("k", at(3)), undefined);
});
