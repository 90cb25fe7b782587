/** Random faults against whole clusters, and what must hold in spite of them. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { lifeOf } from "../../../lib/core/liveness/probed-peer.ts";
import { test } from "../../support/test.ts";
import { recordOf } from "./stage.ts";
import { seeded, World } from "./world.ts";

interface Fault {
  /** After the previous fault. */
  readonly afterMs: number;
  readonly kind: "kill" | "stall" | "longStall" | "cut" | "heal" | "away" | "back" | "restart";
  readonly index: number;
  readonly stallMs: number;
}

const fault: fc.Arbitrary<Fault> = fc.record({
  afterMs: fc.integer({ min: 0, max: 6_000 }),
  kind: fc.constantFrom("kill", "stall", "longStall", "cut", "heal", "away", "back", "restart"),
  index: fc.nat(5),
  stallMs: fc.integer({ min: 1, max: 2_000 }),
});

/** One run: causes the faults, and notes which nodes they harmed. */
class Run {
  readonly world: World;
  readonly names: readonly string[];
  /** Lives that were killed, stopped for longer than nodes bear, or cut off from another node. */
  readonly harmed = new Set<string>();
  readonly #stalledUntilMs = new Map<string, number>();
  #evictionsSeen = 0;
  #life = 1;

  constructor(size: number, seed: number) {
    this.names = [..."abcdef"].slice(0, size);
    this.world = new World(this.names, { random: seeded(seed) });
  }

  async play(faults: readonly Fault[]): Promise<void> {
    await this.world.clock.advance(1_500);
    for (const fault of faults) {
      await this.#advance(fault.afterMs);
      this.#strike(fault);
    }
    // All faults end. A node that returned twice is waited for up to 120 s before it is evicted again.
    await this.#advance(20_000);
    this.world.heal();
    this.world.back();
    await this.#advance(190_000);
  }

  check(): void {
    const alive = this.names.filter((name) => !this.world.machine(name).isKilled);
    assert.deepEqual(this.world.listed, this.#isAnyoneLeft(alive) ? alive : this.world.listed, "live nodes are listed");
    for (const name of alive) {
      assert.deepEqual(this.world.machine(name).names, this.world.listed, `as ${name} sees it`);
    }
  }

  /** A single survivor reaches no peer, so it evicts none. */
  #isAnyoneLeft(alive: readonly string[]): boolean {
    return alive.length >= 2;
  }

  async #advance(byMs: number): Promise<void> {
    const untilMs = this.world.clock.nowMs() + byMs;
    for (;;) {
      const next = [...this.#stalledUntilMs].sort((a, b) => a[1] - b[1])[0];
      if (next === undefined || next[1] > untilMs) break;
      await this.world.clock.advance(next[1] - this.world.clock.nowMs());
      this.#stalledUntilMs.delete(next[0]);
      this.world.continue(next[0]);
    }
    await this.world.clock.advance(untilMs - this.world.clock.nowMs());
    for (const { life, by } of this.world.evictions.slice(this.#evictionsSeen)) {
      assert.ok(this.harmed.has(life), `${by} evicted ${life}, which no fault had harmed`);
    }
    this.#evictionsSeen = this.world.evictions.length;
  }

  #strike({ kind, index, stallMs }: Fault): void {
    const { world } = this;
    const name = this.names[index % this.names.length]!;
    const machine = world.machine(name);
    const others = this.names.filter((other) => other !== name);
    switch (kind) {
      case "kill":
        this.harmed.add(lifeOf(machine.record));
        this.#stalledUntilMs.delete(name);
        return world.kill(name);
      case "restart":
        if (!machine.isKilled) return;
        world.boot(recordOf(name, ++this.#life));
        if (others.some((other) => world.isCut(name, other))) this.harmed.add(lifeOf(world.machine(name).record));
        return;
      case "stall":
      case "longStall":
        if (machine.isKilled || machine.isStopped) return;
        if (kind === "longStall") this.harmed.add(lifeOf(machine.record));
        this.#stalledUntilMs.set(name, world.clock.nowMs() + (kind === "stall" ? stallMs : 4 * stallMs + 2_000));
        return world.stop(name);
      case "cut":
        for (const each of this.names) this.harmed.add(lifeOf(world.machine(each).record));
        return world.cut([name, others[0]!], others.slice(1));
      case "heal":
        return world.heal();
      case "away":
        world.isAway = true;
        return;
      case "back":
        return world.back();
    }
  }
}

test("under any faults unharmed nodes stay listed, and in the end the lists hold the live nodes", {
  timeoutMs: 120_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 2, max: 6 }),
      fc.integer(),
      fc.array(fault, { minLength: 1, maxLength: 8 }),
      async (size, seed, faults) => {
        const run = new Run(size, seed);
        try {
          await run.play(faults);
          run.check();
        } finally {
          run.world.close();
        }
      },
    ),
    { numRuns: 30 },
  );
});

test("a killed node is evicted within 3 s where three others live, and no other is", {
  timeoutMs: 120_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 4, max: 6 }),
      fc.integer(),
      fc.array(fc.record({ afterMs: fc.integer({ min: 0, max: 3_000 }), index: fc.nat(5) }), { maxLength: 3 }),
      async (size, seed, kills) => {
        const names = [..."abcdef"].slice(0, size);
        const world = new World(names, { random: seeded(seed) });
        try {
          await world.clock.advance(1_500);
          const killedAtMs = new Map<string, number>();
          for (const { afterMs, index } of kills) {
            await world.clock.advance(afterMs);
            const name = names[index % size]!;
            if (killedAtMs.has(name) || names.length - killedAtMs.size <= 3) continue;
            world.kill(name);
            killedAtMs.set(name, world.clock.nowMs());
          }
          await world.clock.advance(3_000);
          assert.deepEqual(world.evictions.map(({ life }) => life.slice(0, 1)).sort(), [...killedAtMs.keys()].sort());
          for (const { life, atMs } of world.evictions) {
            const tookMs = atMs - killedAtMs.get(life.slice(0, 1))!;
            assert.ok(tookMs <= 3_000, `${life} after ${tookMs} ms`);
          }
        } finally {
          world.close();
        }
      },
    ),
    { numRuns: 100 },
  );
});
