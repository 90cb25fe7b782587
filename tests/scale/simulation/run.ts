/** One course of events for a fleet of N simulated nodes, and its costs. */
import process from "node:process";
import { invalidationOf } from "../../../lib/core/invalidation/message.ts";
import { heapBytes } from "../../support/memory.ts";
import { type Counts, difference, isBetweenNodes, type Kind, KINDS } from "./network.ts";
import { GROUP, type SimNode } from "./node.ts";
import { World } from "./world.ts";

/** The keys of the whole fleet, for every size. */
export const KEYS = 10_000;
/** The time in which each kind of membership change must reach every node. */
const AGREE_MS = 30_000;
const REST_MS = 3_000;
const IDLE_MS = 10_000;
/** The time after which all nodes have announced their positions in the log. */
const ANNOUNCED_MS = 2_000;
/** The time that a site's clients wait for their changes. */
const WAIT_MS = 250;
const AT_ONCE = 500;

/**
 * The figures of one simulated fleet. Times are of the virtual clock, in milliseconds; counts are of the whole fleet.
 */
export interface SimulatedFigures {
  readonly nodes: number;
  readonly links: number;
  readonly agreeMs: { readonly start: number; readonly join: number; readonly leave: number; readonly crash: number };
  readonly appliedMs: number;
  /** Until the publisher knew that all others had applied it. */
  readonly confirmedMs: number;
  readonly behind: number;
  /** Messages in `IDLE_MS`. */
  readonly idle: Counts;
  readonly join: Counts;
  readonly leave: Counts;
  readonly crash: Counts;
  /** One invalidation without a wait, with the announcements that follow. */
  readonly invalidation: Counts;
  /** One that waits for all nodes. */
  readonly confirmed: Counts;
  readonly keysMoved: { readonly join: number; readonly leave: number };
  /** Loads beyond the first of each key, when the moved keys were asked for again. */
  readonly extraLoads: { readonly join: number; readonly leave: number };
  readonly evictedAlive: number;
  /** Of one node, with its share of the keys. */
  readonly heapBytesPerNode: number;
  /** Of one node: milliseconds of CPU time in a second without changes. */
  readonly idleCpuMs: number;
  /** Of one node: milliseconds of CPU time for a join of another. */
  readonly joinCpuMs: number;
  /** The time of this run, in seconds of the real clock. */
  readonly tookS: number;
}

/** @param nodes how many there are, except after the leave and the crash; at least three */
export async function simulate(nodes: number, seed = nodes): Promise<SimulatedFigures> {
  const sinceMs = performance.now();
  const heapBefore = await heapBytes();
  const run = new Run(new World(seed));
  const start = await run.start(nodes);
  await run.load();
  const links = run.world.alive[0]!.links;
  const idle = await run.idle();
  const heapBytesPerNode = (await heapBytes() - heapBefore) / nodes;
  const told = await run.invalidate();
  const confirmed = await run.invalidateAndWait();
  const leave = await run.leave(nodes >> 1);
  const join = await run.join(nodes);
  const crash = await run.crash(nodes >> 2);
  return {
    nodes,
    links,
    agreeMs: { start, join: join.tookMs, leave: leave.tookMs, crash: crash.tookMs },
    appliedMs: told.tookMs,
    confirmedMs: confirmed.tookMs,
    behind: confirmed.behind,
    idle: idle.counts,
    join: join.counts,
    leave: leave.counts,
    crash: crash.counts,
    invalidation: told.counts,
    confirmed: confirmed.counts,
    keysMoved: { join: join.moved, leave: leave.moved },
    extraLoads: { join: join.extraLoads, leave: leave.extraLoads },
    evictedAlive: run.evictions - 1,
    heapBytesPerNode,
    idleCpuMs: idle.cpuMs / nodes / (IDLE_MS / 1_000),
    joinCpuMs: join.cpuMs / nodes,
    tookS: (performance.now() - sinceMs) / 1_000,
  };
}

/** The messages between nodes that one node sends in a second without changes. */
export function idleRate({ idle, nodes }: SimulatedFigures): number {
  return sum(idle, isBetweenNodes) / nodes / (IDLE_MS / 1_000);
}

/** The messages of these kinds. */
export function sum(counts: Counts, isCounted: (kind: Kind) => boolean = () => true): number {
  return KINDS.filter(isCounted).reduce((total, kind) => total + counts[kind], 0);
}

class Run {
  readonly world: World;
  readonly #keys = Array.from({ length: KEYS }, (_, i) => `key-${i}`);

  constructor(world: World) {
    this.world = world;
  }

  /** Peers that were taken off the lists by others. */
  get evictions(): number {
    return [...this.world.nodes.values()].reduce((total, { liveness }) => total + liveness.stats().evictions, 0);
  }

  async start(nodes: number): Promise<number> {
    const { world } = this;
    for (let i = 0; i < nodes; i++) world.add(i).start();
    const tookMs = await this.#agreed("start");
    await world.network.clock.advance(REST_MS);
    return tookMs;
  }

  async idle() {
    return await this.#measured(() => this.world.network.clock.advance(IDLE_MS));
  }

  async join(index: number) {
    const joiner = this.world.add(index);
    return await this.#moving(async () => {
      joiner.start();
      return await this.#agreed("join");
    });
  }

  async leave(index: number) {
    const node = this.#node(index);
    return await this.#moving(async () => {
      const stopped = node.stop();
      const tookMs = await this.world.until(() => node.isKilled && this.world.isAgreed(), AGREE_MS, "leave");
      await stopped;
      return tookMs;
    });
  }

  async crash(index: number) {
    const node = this.#node(index);
    let tookMs = 0;
    const measured = await this.#measured(async () => {
      node.isKilled = true;
      tookMs = await this.#agreed("crash");
    });
    return { ...measured, tookMs };
  }

  async invalidate() {
    const { world } = this;
    let tookMs = 0;
    const measured = await this.#measured(async () => {
      const published = this.#publish(0);
      const isApplied = () => {
        const { sequence } = world.stream.label;
        return sequence > 0 &&
          world.alive.every(({ invalidations }) => invalidations.position.label.sequence === sequence);
      };
      tookMs = await world.until(isApplied, AGREE_MS, "invalidation");
      await published;
      await world.network.clock.advance(ANNOUNCED_MS);
    });
    return { ...measured, tookMs };
  }

  async invalidateAndWait() {
    let found = { appliedMs: 0, behind: [] as readonly string[] };
    const measured = await this.#measured(async () => {
      let isOver = false;
      const published = this.#publish(WAIT_MS).finally(() => isOver = true);
      await this.world.until(() => isOver, AGREE_MS, "an invalidation that waits");
      found = await published;
    });
    return { ...measured, tookMs: found.appliedMs, behind: found.behind.length };
  }

  /** Gets every key once, at its owner. */
  async load(keys: readonly string[] = this.#keys): Promise<void> {
    const first = this.world.alive[0]!;
    for (let at = 0; at < keys.length; at += AT_ONCE) {
      const asked = keys.slice(at, at + AT_ONCE).map((key) => this.#ownerOf(key, first).group.get(key));
      let isOver = false;
      const all = Promise.all(asked).finally(() => isOver = true);
      await this.world.until(() => isOver, AGREE_MS, "loads");
      await all;
    }
  }

  #publish(waitMs: number) {
    const message = invalidationOf({ keys: ["some-key"] });
    return this.world.alive[0]!.invalidations.invalidate(GROUP, message, { waitMs });
  }

  #node(index: number): SimNode {
    return this.world.alive[index]!;
  }

  #ownerOf(key: string, by: SimNode): SimNode {
    const owner = by.picker.pick(key);
    return owner === undefined ? by : this.world.nodes.get(owner.name)!;
  }

  /** A change, and the keys that have another owner after it. */
  async #moving(change: () => Promise<number>) {
    const { world } = this;
    const before = this.#keys.map((key) => this.#ownerOf(key, this.#node(0)));
    let tookMs = 0;
    const measured = await this.#measured(async () => {
      tookMs = await change();
    });
    const moved = this.#keys.filter((key, at) => this.#ownerOf(key, this.#node(0)) !== before[at]);
    await world.network.clock.advance(REST_MS);
    const loadsBefore = world.loads;
    await this.load(moved);
    return { ...measured, tookMs, moved: moved.length, extraLoads: world.loads - loadsBefore };
  }

  #agreed(what: string): Promise<number> {
    return this.world.until(() => this.world.isAgreed(), AGREE_MS, what);
  }

  async #measured(work: () => Promise<void>): Promise<{ counts: Counts; cpuMs: number }> {
    const before = this.world.network.counts;
    const cpu = process.cpuUsage();
    await work();
    const { user, system } = process.cpuUsage(cpu);
    return { counts: difference(this.world.network.counts, before), cpuMs: (user + system) / 1_000 };
  }
}
