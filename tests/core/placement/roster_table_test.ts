import assert from "node:assert/strict";
import fc from "fast-check";
import { FormerOwners } from "../../../lib/core/placement/former-owners.ts";
import { ownershipOf } from "../../../lib/core/placement/ownership.ts";
import { type Contender, Rendezvous } from "../../../lib/core/placement/rendezvous.ts";
import { RosterTable } from "../../../lib/core/placement/roster-table.ts";
import { rosterOf } from "../../../lib/core/roster.ts";
import { ManualClock } from "../../support/clock.ts";
import { heapBytes } from "../../support/memory.ts";
import { test } from "../../support/test.ts";
import { record } from "../cluster.ts";

const hashes = Array.from({ length: 200 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 0);

function ownersByRoster(rosters: readonly (readonly Contender[])[], hash: number): (string | undefined)[] {
  return rosters.map((roster) => roster[new Rendezvous(roster).owner(hash)]?.name);
}

test("a table of rosters names the same owners as each roster for itself, with any weights", () => {
  const contender = fc.record({
    name: fc.integer({ min: 0, max: 60 }).map((i) => `n${i}`),
    weight: fc.constantFrom(1, 1, 1, 0.5, 3),
  });
  const roster = fc.uniqueArray(contender, { maxLength: 50, selector: ({ name }) => name });
  fc.assert(fc.property(fc.array(roster, { maxLength: 8 }), (rosters) => {
    const table = new RosterTable();
    const members = rosters.map((roster) => table.membersOf(roster));
    for (const hash of hashes) {
      assert.deepEqual([...table.owners(hash, members)], ownersByRoster(rosters, hash));
    }
    members.forEach((each, at) => {
      const names = (contenders: readonly Contender[]) => contenders.map(({ name, weight }) => `${name} ${weight}`);
      assert.deepEqual(names(table.contendersOf(each)).sort(), names(rosters[at]!).sort());
    });
  }));
});

test("a roster without one of its nodes is that roster, less the node", () => {
  const all = Array.from({ length: 70 }, (_, i) => ({ name: `n${i}`, weight: 1 }));
  const table = new RosterTable();
  const whole = table.membersOf(all);
  const left = table.without(whole, all[40]!);
  const expected = all.filter((_, at) => at !== 40);
  for (const hash of hashes) {
    assert.deepEqual([...table.owners(hash, [left, whole])], ownersByRoster([expected, all], hash));
  }
});

/** What a node remembers that joins a fleet of so many, all of which joined shortly before. */
function joined(nodes: number): FormerOwners {
  const clock = new ManualClock();
  const at = new Date(clock.nowMs()).toISOString();
  const all = Array.from({ length: nodes }, (_, i) => ({ ...record(`10-0-0-${i}-8000`), joined: at }));
  const reach = { selfName: all[0]!.name, peerOf: () => undefined };
  const former = new FormerOwners("dict", reach, clock);
  former.changed(ownershipOf([], reach), rosterOf("dict", 1, all), all);
  return former;
}

test("the rosters of a fleet of a thousand that started at once take a few bytes per node and roster", async () => {
  joined(1_000);
  const before = await heapBytes();
  const kept = Array.from({ length: 8 }, () => joined(1_000));
  const bytes = (await heapBytes() - before) / kept.length;
  // 128 rosters of a thousand bits are 16 KB; each with a list of its own took 4.5 MB on Bun, and 6 MB on Deno.
  assert.ok(bytes < 1_000_000, `${bytes} bytes`);
});

test("names that come and go do not fill the table forever", async () => {
  const clock = new ManualClock();
  const reach = { selfName: "self", peerOf: () => undefined };
  const former = new FormerOwners("dict", reach, clock);
  let before = ownershipOf([record("self")], reach);
  const sizes: number[] = [];
  const heaps: number[] = [];
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 2_000; i++) {
      const serving = [record("self"), record(`n${round}-${i}`)];
      former.changed(before, rosterOf("dict", i + 1, serving), serving);
      before = ownershipOf(serving, reach);
    }
    sizes.push(former.holders(hashes[0]!, undefined, 8).length);
    heaps.push(await heapBytes());
  }
  assert.deepEqual(sizes, [8, 8, 8], "the latest are still known");
  assert.ok(heaps[2]! - heaps[1]! < 300_000, `${heaps}`);
});
