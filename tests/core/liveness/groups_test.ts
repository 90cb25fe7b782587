/** Nodes that serve different groups: each reads the lists of its own groups, and knows no peers of others. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../support/test.ts";
import { recordOf, Stage } from "./stage.ts";
import { seeded, World } from "./world.ts";

const phasesMs = Array.from({ length: 33 }, (_, i) => 25 * i);

/** Runs the world at each phase of the timers at which `fault` may strike. */
async function forEveryPhase(groups: Record<string, string>, check: (world: World, note: string) => Promise<void>) {
  for (const phaseMs of phasesMs) {
    const world = new World(Object.keys(groups), { groups, random: seeded(phaseMs) });
    await world.clock.advance(1_500 + phaseMs);
    await check(world, `phase ${phaseMs} ms`);
    world.close();
  }
}

const prices = (names: string) => Object.fromEntries(names.split(" ").map((name) => [name, "prices"]));

test("two nodes alone in a group are a pair, with any nodes in other groups", { timeoutMs: 60_000 }, async () => {
  await forEveryPhase({ a: "dict", b: "dict prices", ...prices("c d") }, async (world, note) => {
    world.kill("a");
    await world.clock.advance(3_900);
    assert.deepEqual(world.listedIn("dict"), ["a", "b"], note);
    await world.clock.advance(4_100);
    assert.deepEqual(world.listedIn("dict"), ["b"], note);
    assert.deepEqual(world.listedIn("prices"), ["b", "c", "d"], note);
    assert.equal(world.evictions.length, 1, note);
  });
});

test("a killed peer is evicted within 3 s by the nodes that list it, among many that do not", {
  timeoutMs: 120_000,
}, async () => {
  const groups = { a: "dict", b1: "dict prices", b2: "dict prices", ...prices("p0 p1 p2 p3 p4 p5 p6 p7 p8 p9") };
  await forEveryPhase(groups, async (world, note) => {
    world.kill("a");
    await world.clock.advance(2_900);
    assert.deepEqual(world.listedIn("dict"), ["b1", "b2"], note);
    assert.deepEqual(world.evictions.map(({ life }) => life), ["a a#1"], note);
  });
});

test("the last node of a group evicts the dead of the group, since it hears nodes of another group", {
  timeoutMs: 60_000,
}, async () => {
  await forEveryPhase({ a1: "dict", a2: "dict", b: "dict prices", ...prices("c d e") }, async (world, note) => {
    world.kill("a1");
    world.kill("a2");
    await world.clock.advance(12_000);
    assert.deepEqual(world.listedIn("dict"), ["b"], note);
    assert.deepEqual(world.listedIn("prices"), ["b", "c", "d", "e"], note);
  });
});

test("a node that is cut off evicts no peer, though it is alone with one in a group", async () => {
  const stage = new Stage("b c d e");
  await stage.play(["groups b,c d e", "silence b c d e", "wait 60000", "evicted"]);
  // It hears the others again, so that one is dead.
  await stage.play(["heal c d e", "wait 6000", "evicted b#1"]);
});

test("the first node evicts the stale records of a dead cluster of several groups", async (defer) => {
  const groups = { a: "dict", b: "dict prices", ...prices("c d"), x: "dict prices" };
  const world = new World(["a", "b", "c", "d"], { groups, random: seeded(2) });
  defer(() => world.close());
  await world.clock.advance(1_000);
  for (const name of ["a", "b", "c", "d"]) world.kill(name);
  world.boot(recordOf("x"));
  await world.clock.advance(8_000);
  assert.deepEqual(world.listed, ["x"]);
});

test("only nodes that list a suspect are asked about it, and the log says when there is none", async () => {
  const asking = new Stage("b c d e");
  await asking.play(["groups b c,c d e", "kill b", "wait 3000", "asked b c", "evicted b#1"]);
  const alone = new Stage("b c d e");
  await alone.play(["groups b,c d e", "kill b", "wait 3000", "asked b", "evicted"]);
  await alone.play(["logged 1 no other node lists it, so it gets twice the time", "wait 3000", "evicted b#1"]);
});

test("in any mix of groups killed peers are evicted from each list that a live node follows, and no others", {
  timeoutMs: 120_000,
}, async () => {
  const someGroups = fc.uniqueArray(fc.constantFrom("x", "y", "z"), { minLength: 1, maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(someGroups, { minLength: 2, maxLength: 8 }),
      fc.integer(),
      fc.array(fc.nat(7), { minLength: 1, maxLength: 3 }),
      async (all, seed, kills) => {
        const names = all.map((_, i) => `n${i}`);
        const groups = Object.fromEntries(all.map((own, i) => [names[i]!, own.join(" ")]));
        const world = new World(names, { groups, random: seeded(seed) });
        try {
          await world.clock.advance(1_500);
          const killed = new Set(kills.map((index) => names[index % names.length]!));
          for (const name of killed) world.kill(name);
          await world.clock.advance(20_000);
          const evicted = new Set(world.evictions.map((eviction) => eviction.life.split(" ")[0]!));
          for (const name of evicted) assert.ok(killed.has(name), `${name} was alive`);
          const alive = names.filter((name) => !killed.has(name));
          const isSharing = (left: string, right: string, group?: string) =>
            all[names.indexOf(left)]!.some((own) => all[names.indexOf(right)]!.includes(own) && (group ?? own) === own);
          // A node that hears none of several peers takes itself to be cut off.
          const hears = (name: string) => alive.some((other) => other !== name && isSharing(name, other));
          for (const group of ["x", "y", "z"]) {
            const followers = alive.filter((name) => isSharing(name, name, group));
            if (!followers.some(hears)) continue;
            assert.deepEqual(world.listedIn(group), followers, group);
          }
        } finally {
          world.close();
        }
      },
    ),
    { numRuns: 100 },
  );
});
