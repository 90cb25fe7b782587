/** Real nodes, Bun and Deno in turn, on one nats-server: their messages and times, as their number grows. */
import { seeded, Zipf } from "../../chaos/keys.ts";
import { Load, pause } from "../../chaos/load.ts";
import { type AnyProcess, groupName, MusterFleet, runtimeOf } from "../../chaos/fleet.ts";
import { CountingOrigin } from "../../chaos/origin.ts";
import { freePort } from "../../support/free-port.ts";
import { startNats } from "../../support/nats-server.ts";
import { temporaryDirectory } from "../../support/node.ts";
import type { Defer } from "../../support/test.ts";
import { cpuMs, descriptors, memoryBytes } from "./process.ts";
import { RosterWatch } from "./roster-watch.ts";

const AGREE_MS = 60_000;
const REST_MS = 3_000;
const IDLE_MS = 5_000;
const KEYS = 2_000;
const SWEEP_AT_ONCE = 16;
/** Chosen: a process that starts needs a core for half a second, and the machine may have two. */
const STARTED_AT_ONCE = 2;
const REQUESTS_PER_SECOND = 100;
const RESTARTED = 2;
const INVALIDATIONS = 3;
/** Longer than nodes wait before they announce their position. */
const BETWEEN_INVALIDATIONS_MS = 1_200;
const BUDGET_BYTES = 32 * 1024 * 1024;

/** The figures of one fleet of real nodes. Times are in milliseconds. */
export interface RealFigures {
  readonly nodes: number;
  /**
   * The time until every node had logged the same list of the running nodes. It begins when the last added node
   * listened, at the SIGTERM, or at the SIGKILL.
   */
  readonly agreeMs: { readonly start: number; readonly join: number; readonly leave: number; readonly crash: number };
  /** Messages in and out of the NATS server, for the whole fleet. */
  readonly natsPerSecond: number;
  readonly nats: { readonly join: number; readonly leave: number; readonly invalidation: number };
  /** Of one node, sent, in a second without changes. */
  readonly framesPerSecond: number;
  /** Of one node, for one invalidation. */
  readonly framesPerInvalidation: number;
  /** Of one node, in a second without changes. */
  readonly cpuMsPerSecond: { readonly bun: number; readonly deno: number };
  readonly connections: { readonly peers: number; readonly nats: number };
  readonly descriptors: number;
  readonly memoryBytes: { readonly bun: number; readonly deno: number };
  readonly restart: {
    readonly nodes: number;
    readonly requests: number;
    readonly failed: number;
    readonly extraLoads: number;
    readonly p99Ms: number;
    readonly slowestMs: number;
  };
}

/**
 * Grows one fleet through these sizes. If a size breaks off, as on a machine that is too busy, this size and the later
 * ones are not in the result.
 *
 * @param say is told of the progress
 */
export async function measureReal(
  sizes: readonly number[],
  defer: Defer,
  say: (text: string) => void,
): Promise<RealFigures[]> {
  const fleet = await RealFleet.open(defer);
  const found: RealFigures[] = [];
  for (const size of sizes) {
    say(`${size} real nodes`);
    try {
      found.push(await fleet.measure(size));
    } catch (error) {
      say(`broke off: ${error instanceof Error ? error.stack : error}`);
      break;
    }
  }
  return found;
}

class RealFleet {
  readonly #monitor: string;
  readonly #origin: CountingOrigin;
  readonly #fleet: MusterFleet;
  readonly #load: Load;
  readonly #watch: RosterWatch;

  private constructor(monitor: string, origin: CountingOrigin, fleet: MusterFleet, load: Load) {
    this.#monitor = monitor;
    this.#origin = origin;
    this.#fleet = fleet;
    this.#load = load;
    this.#watch = new RosterWatch(fleet.members);
  }

  static async open(defer: Defer): Promise<RealFleet> {
    const monitorPort = await freePort();
    const nats = await startNats(defer, { extraArgs: ["-m", String(monitorPort)] });
    const origin = new CountingOrigin();
    origin.delayMs = 10;
    await origin.start(defer);
    const fleet = new MusterFleet({
      defer,
      origin,
      folder: temporaryDirectory(defer),
      natsOf: () => nats.url,
      replicas: 1,
      bucketReplicas: 1,
      policy: { budgetBytes: BUDGET_BYTES },
    });
    const random = seeded(1);
    const load = new Load({ group: groupName, random, zipf: new Zipf(KEYS, random), timeoutMs: 15_000 });
    defer(() => load.close());
    return new RealFleet(`http://127.0.0.1:${monitorPort}`, origin, fleet, load);
  }

  get #nodes(): AnyProcess[] {
    return [...this.#fleet.members.values()];
  }

  async measure(size: number): Promise<RealFigures> {
    const start = await this.#grow(size);
    await this.#load.sweep(KEYS, SWEEP_AT_ONCE);
    await pause(REST_MS);
    const idle = await this.#idle();
    const invalidation = await this.#invalidate();
    const join = await this.#join("node-1000");
    const leave = await this.#leave("node-1000");
    const restart = await this.#rollingRestart([...this.#fleet.members.keys()].slice(0, RESTARTED));
    const crash = await this.#crash([...this.#fleet.members.keys()][size >> 1]!);
    return {
      nodes: size,
      agreeMs: { start, join: join.tookMs, leave: leave.tookMs, crash },
      nats: { join: join.messages, leave: leave.messages, invalidation: invalidation.nats },
      framesPerInvalidation: invalidation.frames,
      restart,
      ...idle,
    };
  }

  async #grow(size: number): Promise<number> {
    const names = Array.from({ length: size }, (_, i) => `node-${i}`).filter((name) => !this.#fleet.members.has(name));
    const starter = async () => {
      for (let name = names.shift(); name !== undefined; name = names.shift()) await this.#start(name);
    };
    await Promise.all(Array.from({ length: STARTED_AT_ONCE }, starter));
    const listeningMs = performance.now();
    const agreedMs = await this.#watch.agreed(AGREE_MS);
    await this.#load.ready([...this.#fleet.members.keys()], AGREE_MS);
    return Math.max(0, agreedMs - listeningMs);
  }

  async #start(name: string): Promise<void> {
    const node = await this.#fleet.start(name);
    this.#load.add(name, node.url);
  }

  async #idle() {
    const pids = (kind: string) =>
      [...this.#fleet.members].filter(([name]) => runtimeOf(name) === kind).map(([, { child }]) => child.pid!);
    const cpu = (kind: string) => pids(kind).reduce((sum, pid) => sum + cpuMs(pid), 0) / pids(kind).length;
    const before = {
      nats: await this.#natsMessages(),
      frames: await this.#frames(),
      bun: cpu("bun"),
      deno: cpu("deno"),
    };
    const sinceMs = performance.now();
    await pause(IDLE_MS);
    const [bun, deno] = [cpu("bun"), cpu("deno")];
    const messages = await this.#natsMessages();
    const seconds = (performance.now() - sinceMs) / 1_000;
    const perNode = (kind: string, of: (pid: number) => number) =>
      pids(kind).reduce((sum, pid) => sum + of(pid), 0) / pids(kind).length;
    const all = this.#nodes.map(({ child }) => child.pid!);
    const { open, frames } = await this.#linkSums();
    return {
      natsPerSecond: (messages - before.nats) / seconds,
      framesPerSecond: (frames - before.frames) / this.#nodes.length / seconds,
      cpuMsPerSecond: { bun: (bun - before.bun) / seconds, deno: (deno - before.deno) / seconds },
      connections: { peers: open / all.length, nats: await this.#natsConnections() / all.length },
      descriptors: Math.max(...all.map((pid) => descriptors(pid).all)),
      memoryBytes: { bun: perNode("bun", memoryBytes), deno: perNode("deno", memoryBytes) },
    };
  }

  /** Each invalidation alone, less the messages of an idle fleet in the same time. */
  async #invalidate(): Promise<{ nats: number; frames: number }> {
    const measure = async (each: () => Promise<unknown>) => {
      const before = { nats: await this.#natsMessages(), frames: await this.#frames() };
      for (let i = 0; i < INVALIDATIONS; i++) {
        await each();
        await pause(BETWEEN_INVALIDATIONS_MS);
      }
      return { nats: await this.#natsMessages() - before.nats, frames: await this.#frames() - before.frames };
    };
    const idle = await measure(() => Promise.resolve());
    const busy = await measure(() => this.#purge());
    return {
      nats: (busy.nats - idle.nats) / INVALIDATIONS,
      frames: (busy.frames - idle.frames) / INVALIDATIONS / this.#nodes.length,
    };
  }

  async #purge(): Promise<void> {
    const response = await fetch(`${this.#nodes[0]!.url}/cache/${groupName}/key-0`, { method: "PURGE" });
    if (!response.ok) throw new Error(`a PURGE was answered with ${response.status}: ${await response.text()}`);
    await response.body?.cancel();
  }

  async #join(name: string) {
    const before = await this.#natsMessages();
    await this.#start(name);
    const listeningMs = performance.now();
    const tookMs = await this.#watch.agreed(AGREE_MS) - listeningMs;
    await this.#load.ready([name], AGREE_MS);
    return { tookMs: Math.max(0, tookMs), messages: await this.#natsMessages() - before };
  }

  async #leave(name: string) {
    const node = this.#fleet.members.get(name)!;
    const before = await this.#natsMessages();
    this.#load.remove(name);
    this.#fleet.forget(name);
    const sinceMs = performance.now();
    const ended = node.end();
    const tookMs = await this.#watch.agreed(AGREE_MS) - sinceMs;
    await ended;
    return { tookMs, messages: await this.#natsMessages() - before };
  }

  /** One after the other, each on its old address, while clients ask. */
  async #rollingRestart(names: readonly string[]) {
    await this.#load.sweep(KEYS, SWEEP_AT_ONCE);
    this.#origin.begin();
    this.#load.begin();
    this.#load.start(REQUESTS_PER_SECOND);
    for (const name of names) {
      const node = this.#fleet.members.get(name)!;
      const ended = node.end();
      await ended;
      this.#load.remove(name);
      this.#fleet.forget(name);
      await this.#start(name);
      await this.#watch.agreed(AGREE_MS);
      await this.#load.ready([name], AGREE_MS);
    }
    await this.#load.stop();
    await this.#load.sweep(KEYS, SWEEP_AT_ONCE);
    const { requests, failed, latenciesMs } = this.#load.tally;
    const sorted = latenciesMs.toSorted((a, b) => a - b);
    return {
      nodes: names.length,
      requests,
      failed,
      extraLoads: this.#origin.extra.length,
      p99Ms: sorted[Math.floor(0.99 * sorted.length)] ?? NaN,
      slowestMs: sorted.at(-1) ?? NaN,
    };
  }

  /** The node is started again afterwards. */
  async #crash(name: string): Promise<number> {
    const node = this.#fleet.members.get(name)!;
    this.#load.killed(name);
    this.#fleet.forget(name);
    const sinceMs = performance.now();
    await node.end("SIGKILL");
    const tookMs = await this.#watch.agreed(AGREE_MS) - sinceMs;
    await this.#start(name);
    await this.#watch.agreed(AGREE_MS);
    return tookMs;
  }

  async #natsMessages(): Promise<number> {
    const page = await (await fetch(`${this.#monitor}/varz`)).json();
    return page.in_msgs + page.out_msgs;
  }

  async #natsConnections(): Promise<number> {
    return (await (await fetch(`${this.#monitor}/varz`)).json()).connections;
  }

  async #frames(): Promise<number> {
    return (await this.#linkSums()).frames;
  }

  /** Sums over all nodes; frames are those sent on the open connections. */
  async #linkSums(): Promise<{ open: number; frames: number }> {
    const pages = await Promise.all(this.#nodes.map(async ({ url }) => (await fetch(`${url}/stats`)).json()));
    const links = pages.flatMap((page) => page.links as { state: string; framesOut: number }[]);
    return {
      open: links.filter(({ state }) => state === "open").length,
      frames: links.reduce((sum, { framesOut }) => sum + framesOut, 0),
    };
  }
}
