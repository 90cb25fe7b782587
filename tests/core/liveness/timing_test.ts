/** How soon dead peers are evicted and how long a standstill is borne, at every phase of the timers and with any jitter. */
import assert from "node:assert/strict";
import { test } from "../../support/test.ts";
import { seeded, World, type WorldOptions } from "./world.ts";
import { recordOf } from "./stage.ts";

const five = ["a", "b", "c", "d", "e"];
/** No jitter, the most, and two random ones. They also set when each node starts to probe within the interval. */
const jitters: readonly (() => () => number)[] = [() => () => 0, () => () => 0.999, () => seeded(1), () => seeded(2)];

/** Runs a world of these names for each jitter and each phase, `stepMs` apart, at which `fault` strikes. */
async function forEveryPhase(
  names: readonly string[],
  options: WorldOptions,
  check: (world: World, note: string) => Promise<void>,
  stepMs = 25,
): Promise<void> {
  for (const [index, jitter] of jitters.entries()) {
    for (let phaseMs = 0; phaseMs < 825; phaseMs += stepMs) {
      const world = new World(names, { ...options, random: jitter() });
      await world.clock.advance(1_500 + phaseMs);
      await check(world, `jitter ${index}, phase ${phaseMs} ms`);
      world.close();
    }
  }
}

test("the probes of a cluster fall into step from any phase, and stay so", async (defer) => {
  for (const seed of [1, 2, 3, 4]) {
    const world = new World(five, { random: seeded(seed) });
    defer(() => world.close());
    await world.clock.advance(3_000);
    for (let look = 0; look < 20; look++) {
      // After a tick: each of its probes is answered within a few round trips.
      await world.clock.advance(40);
      const answeredMs = [...world.machines.values()]
        .flatMap(({ liveness }) => liveness.stats().probed.map(({ lastAnsweredAtMs }) => lastAnsweredAtMs!));
      const newestMs = Math.max(...answeredMs);
      if (world.clock.nowMs() - newestMs < 20) continue;
      const spreadMs = newestMs - Math.min(...answeredMs);
      assert.ok(spreadMs <= 10, `seed ${seed}, look ${look}: probes were answered ${spreadMs} ms apart`);
    }
  }
});

test("a killed process is evicted within 3 s, whenever it dies", { timeoutMs: 60_000 }, async () => {
  for (const names of [["a", "b", "c"], five, [..."abcdefghij"]]) {
    await forEveryPhase(names, {}, async (world, note) => {
      world.kill("b");
      await world.clock.advance(2_900);
      assert.deepEqual(world.listed, names.filter((name) => name !== "b"), note);
      assert.deepEqual(world.evictions.map(({ life }) => life), ["b b#1"], note);
    });
  }
});

test("a machine that falls silent is evicted within 3.4 s", { timeoutMs: 60_000 }, async () => {
  await forEveryPhase(five, { isKillSilent: true }, async (world, note) => {
    world.kill("b");
    await world.clock.advance(3_400);
    assert.deepEqual(world.listed, ["a", "c", "d", "e"], note);
  });
});

test("two of five killed at once are both evicted within 3 s", { timeoutMs: 60_000 }, async () => {
  await forEveryPhase(five, {}, async (world, note) => {
    world.kill("b");
    world.kill("d");
    await world.clock.advance(3_000);
    assert.deepEqual(world.listed, ["a", "c", "e"], note);
  });
});

test("three of five killed at once are all evicted within 6 s", { timeoutMs: 60_000 }, async () => {
  await forEveryPhase(five, {}, async (world, note) => {
    for (const name of ["b", "c", "d"]) world.kill(name);
    await world.clock.advance(3_500);
    assert.equal(world.listed.length, 5, `${note}: not before the later round`);
    await world.clock.advance(2_500);
    assert.deepEqual(world.listed, ["a", "e"], note);
  });
});

test("a peer that stalls for 2 s is never evicted, nor even suspected", { timeoutMs: 60_000 }, async () => {
  for (const names of [["a", "b"], ["a", "b", "c"], five]) {
    await forEveryPhase(names, {}, async (world, note) => {
      world.stop("b");
      await world.clock.advance(2_000);
      world.continue("b");
      await world.clock.advance(5_000);
      assert.deepEqual(world.evictions, [], note);
      const lines = [...world.machines.values()].flatMap(({ log }) => log.lines);
      assert.deepEqual(lines, [], note);
    });
  }
});

test(
  "a peer that stalls for 20 s is evicted, comes back by itself, and evicts no peer",
  { timeoutMs: 60_000 },
  async () => {
    await forEveryPhase(five, {}, async (world, note) => {
      world.stop("b");
      await world.clock.advance(3_400);
      assert.deepEqual(world.listed, ["a", "c", "d", "e"], note);
      await world.clock.advance(16_600);
      world.continue("b");
      await world.clock.advance(5_000);
      assert.deepEqual(world.listed, five, note);
      assert.equal(world.evictions.length, 1, note);
    }, 90);
  },
);

test("in a pair a killed peer is evicted after twice the time", { timeoutMs: 60_000 }, async () => {
  await forEveryPhase(["a", "b"], {}, async (world, note) => {
    world.kill("b");
    await world.clock.advance(3_900);
    assert.deepEqual(world.listed, ["a", "b"], note);
    await world.clock.advance(1_500);
    assert.deepEqual(world.listed, ["a"], note);
  });
});

test("the first node evicts the stale records of a dead cluster, and two that start together do so too", async (defer) => {
  for (const starters of [["x"], ["x", "y"]]) {
    const world = new World(five, { random: seeded(3) });
    defer(() => world.close());
    await world.clock.advance(1_000);
    for (const name of five) world.kill(name);
    for (const name of starters) world.boot(recordOf(name));
    await world.clock.advance(7_000);
    assert.deepEqual(world.listed, starters);
  }
});

test(
  "in a partition the smaller side never evicts the greater, however long it lasts",
  { timeoutMs: 60_000 },
  async () => {
    for (let seed = 0; seed < 4; seed++) {
      const world = new World(five, { random: seeded(seed) });
      await world.clock.advance(1_500 + 67 * seed);
      world.cut(["a", "b"], ["c", "d", "e"]);
      await world.clock.advance(120_000);
      assert.deepEqual(world.evictions.filter(({ by }) => by < "c"), [], `seed ${seed}`);
      const minority = world.evictions.filter(({ life }) => life < "c").length;
      assert.ok(minority >= 2 && minority <= 24, `the greater side evicts, ever more slowly: ${minority}`);
      world.heal();
      await world.clock.advance(31_000);
      assert.deepEqual(world.listed, five);
      world.close();
    }
  },
);

test("two equal halves evict each node once at most, and then all stay listed: nobody flaps", {
  timeoutMs: 60_000,
}, async () => {
  const names = [..."abcdef"];
  for (let seed = 0; seed < 4; seed++) {
    const world = new World(names, { random: seeded(seed) });
    await world.clock.advance(1_500 + 67 * seed);
    world.cut(["a", "b", "c"], ["d", "e", "f"]);
    await world.clock.advance(15_000);
    assert.deepEqual(world.listed, names, `seed ${seed}`);
    const lives = world.evictions.map(({ life }) => life);
    assert.equal(new Set(lives).size, lives.length, `${lives}`);
    await world.clock.advance(45_000);
    assert.equal(world.evictions.length, lives.length, `seed ${seed}`);
    world.heal();
    await world.clock.advance(10_000);
    assert.deepEqual(world.listed, names, `seed ${seed}`);
    assert.equal(world.evictions.length, lives.length, `seed ${seed}`);
    // Reached again, a node is evicted as soon as any other.
    world.kill("e");
    await world.clock.advance(3_000);
    assert.deepEqual(world.listed, ["a", "b", "c", "d", "f"], `seed ${seed}`);
    world.close();
  }
});

test("a half that dies while it is out of reach leaves the lists in the end", { timeoutMs: 60_000 }, async (defer) => {
  const world = new World([..."abcdef"], { random: seeded(6) });
  defer(() => world.close());
  await world.clock.advance(1_500);
  world.cut(["a", "b", "c"], ["d", "e", "f"]);
  await world.clock.advance(20_000);
  for (const name of ["d", "e", "f"]) world.kill(name);
  await world.clock.advance(60_000);
  assert.deepEqual(world.listed, ["a", "b", "c"]);
});

test("two nodes that start after thirty died evict them in time: no suspect is asked about another", async (defer) => {
  const dead = Array.from({ length: 30 }, (_, i) => `n${i}`);
  const world = new World(dead, { random: seeded(5) });
  defer(() => world.close());
  await world.clock.advance(1_000);
  for (const name of dead) world.kill(name);
  for (const name of ["x", "y"]) world.boot(recordOf(name));
  await world.clock.advance(6_000);
  assert.deepEqual(world.listed, ["x", "y"]);
});

test("a node is kept that only one other cannot reach", async (defer) => {
  const world = new World(five, { random: seeded(4) });
  defer(() => world.close());
  await world.clock.advance(1_500);
  world.cut(["a"], ["b"]);
  await world.clock.advance(60_000);
  assert.deepEqual(world.evictions, []);
});

test("a path that is cut and repaired again and again evicts no peer, and does not fill the log", async (defer) => {
  const world = new World(five, { random: seeded(4) });
  defer(() => world.close());
  await world.clock.advance(1_500);
  for (let flap = 0; flap < 100; flap++) {
    world.cut(["a"], ["b"]);
    await world.clock.advance(3_500);
    world.heal();
    await world.clock.advance(2_500);
  }
  assert.deepEqual(world.evictions, []);
  const lines = ["a", "b"].map((name) => world.machine(name).log.lines.length);
  // In ten minutes: at most one line a minute for a silence, and one for its end.
  assert.ok(lines.every((count) => count >= 10 && count <= 22), `${lines}`);
});
