/** The parts of every scenario with clients: an origin, nodes, a load, and the measurement of all three. */
import { temporaryDirectory } from "../support/node.ts";
import { type NatsServer, startNats } from "../support/nats-server.ts";
import { type AnyProcess, areEqual, type Fleet, GoFleet, groupName, MusterFleet, type RosterView } from "./fleet.ts";
import { seeded, Zipf } from "./keys.ts";
import { type Judge, Load, pause, quantile } from "./load.ts";
import { CountingOrigin } from "./origin.ts";
import { atMost, type Check, EXTRA_LOADS, FAILED_REQUESTS, type Outcome, type Run } from "./result.ts";

export interface WorldOptions {
  /** How many nodes run at the beginning. */
  readonly nodes: number;
  /** How many nodes take part over all; groupcache-go starts with the first `nodes` as its list. @default nodes */
  readonly everNodes?: number;
  /** On how many nodes each value is kept. @default 1 */
  readonly replicas?: number;
  /** NATS URLs by node, for a cluster or a proxy. @default one server of its own */
  readonly natsOf?: (name: string) => string;
  /** @default 1 */
  readonly bucketReplicas?: number;
  /** More fields of the group in the JSON file. */
  readonly policy?: Readonly<Record<string, unknown>>;
  /** The folder of another release, whose nodes run at the beginning. @default this checkout */
  readonly release?: string;
  /** @default 15_000 */
  readonly timeoutMs?: number;
  /** Other keys and values than those of keys.ts. */
  readonly values?: {
    readonly origin: CountingOrigin;
    readonly keyOf: (rank: number) => string;
    readonly judge: Judge;
  };
}

const sweepAtOnce = 48;
const maxDetails = 200;
const maxLogLines = 40;

export function nameOf(index: number): string {
  return `chaos-${index}`;
}

export class World {
  readonly run: Run;
  readonly origin: CountingOrigin;
  readonly load: Load;
  readonly fleet: Fleet;
  /** Undefined if the scenario starts its own, or the system has none. */
  readonly nats: NatsServer | undefined;
  readonly names: readonly string[];
  readonly #events: string[] = [];
  /** Every node that ever ran, by name. */
  readonly #processes: { readonly name: string; readonly node: AnyProcess }[] = [];
  #beganAtMs = performance.now();
  #extraUnderLoad: number | undefined;

  private constructor(run: Run, options: WorldOptions, nats: NatsServer | undefined) {
    this.run = run;
    this.nats = nats;
    const { origin = new CountingOrigin(), keyOf, judge } = options.values ?? {};
    this.origin = origin;
    const { keys, seed } = run.settings;
    const random = seeded(seed);
    const zipf = new Zipf(keys, random);
    const timeoutMs = options.timeoutMs ?? 15_000;
    this.load = new Load({
      group: groupName,
      random,
      zipf,
      timeoutMs,
      ...(keyOf && { keyOf }),
      ...(judge && { judge }),
    });
    run.defer(() => this.load.close());
    this.names = Array.from({ length: options.nodes }, (_, i) => nameOf(i));
    const { defer } = run;
    this.fleet = run.system === "muster"
      ? new MusterFleet({
        defer,
        origin: this.origin,
        folder: temporaryDirectory(defer),
        natsOf: options.natsOf ?? (() => nats!.url),
        replicas: options.replicas ?? 1,
        bucketReplicas: options.bucketReplicas ?? 1,
        policy: options.policy ?? {},
        release: options.release,
      })
      : new GoFleet({ defer, origin: this.origin, program: run.goProgram!, names: this.names });
  }

  /** Starts the origin and the nodes, and loads every key once. */
  static async make(run: Run, options: WorldOptions): Promise<World> {
    const needsNats = run.system === "muster" && options.natsOf === undefined;
    const world = new World(run, options, needsNats ? await startNats(run.defer) : undefined);
    await world.origin.start(run.defer);
    await Promise.all(world.names.map((name) => world.#launch(name)));
    await world.fleet.settled();
    for (const name of world.names) world.load.add(name, world.fleet.members.get(name)!.url);
    await world.load.ready(world.names);
    run.watch(() => world.#status());
    await world.#warmUp();
    return world;
  }

  /** Notes an event with the scenario's time. */
  say(text: string): void {
    const line = `${((performance.now() - this.#beganAtMs) / 1_000).toFixed(2)} s: ${text}`;
    this.#events.push(line);
    this.run.say(line);
  }

  /** Starts a node, and sends it load as soon as it is ready. */
  async start(name: string): Promise<void> {
    const node = await this.#launch(name);
    this.load.add(name, node.url);
    this.say(`${name} (${node.kind}) listens`);
  }

  /** The matching log lines of the nodes so far. */
  lines(pattern: RegExp): string[] {
    return this.#processes.flatMap(({ name, node: { kind, lines } }) =>
      lines.filter((line) => pattern.test(line)).map((line) => `${name} (${kind}): ${line}`)
    );
  }

  /** SIGTERM, then the exit code and the time it took. */
  async terminate(name: string): Promise<{ code: number | null; tookMs: number }> {
    const node = this.fleet.members.get(name)!;
    this.say(`SIGTERM to ${name} (${node.kind})`);
    const end = await node.end("SIGTERM");
    this.load.remove(name);
    this.fleet.forget(name);
    this.say(`${name} ended with code ${end.code} after ${Math.round(end.tookMs)} ms`);
    return end;
  }

  /** SIGKILL; the load counts the failures at this node apart. */
  async kill(name: string): Promise<void> {
    const node = this.fleet.members.get(name)!;
    this.say(`SIGKILL to ${name} (${node.kind})`);
    this.load.killed(name);
    this.fleet.forget(name);
    await node.end("SIGKILL");
  }

  /**
   * Runs load for a moment, makes the fault under load, runs load until the time is over, then gets every key once
   * more.
   */
  async measure(fault: () => Promise<void>): Promise<void> {
    const { seconds, rate, keys } = this.run.settings;
    this.origin.begin();
    this.load.begin();
    this.#beganAtMs = performance.now();
    this.load.start(rate);
    await pause(Math.min(3_000, seconds * 250));
    await fault();
    await pause(Math.max(1_500, seconds * 1_000 - (performance.now() - this.#beganAtMs)));
    await this.load.stop();
    this.#extraUnderLoad = this.origin.extra.length;
    this.say(`the load ends: ${this.#status()}`);
    await this.load.sweep(keys, sweepAtOnce);
    this.say(`every key was asked for once more: ${this.#status()}`);
  }

  /**
   * The targets that all scenarios share, and all figures of the run.
   *
   * @param maxExtraLoads `undefined` if values expire, so that the number of loads tells nothing
   */
  outcome(maxExtraLoads: number | undefined, checks: readonly Check[], notes: readonly string[] = []): Outcome {
    const { tally } = this.load;
    const extraLoads = this.origin.extra.length;
    const underLoad = this.#extraUnderLoad ?? extraLoads;
    const shared = [
      atMost(FAILED_REQUESTS, tally.failed + tally.notSent, 0),
      ...(maxExtraLoads === undefined ? [] : [atMost(EXTRA_LOADS, extraLoads, Math.floor(maxExtraLoads))]),
    ];
    const all = [...shared, ...checks];
    const latency = (share: number) => Math.round(quantile(tally.latenciesMs, share));
    return {
      failed: tally.failed + tally.notSent,
      extraLoads,
      checks: all,
      notes: [
        ...notes,
        ...(tally.repeated > 0 ? [`${tally.repeated} repeated on a new connection`] : []),
        ...(tally.lostWithTheNode > 0 ? [`${tally.lostWithTheNode} lost with the killed node`] : []),
      ],
      details: {
        requests: tally.requests,
        failures: tally.failures,
        notSent: tally.notSent,
        latencyMs: { p50: latency(0.5), p99: latency(0.99), max: latency(1) },
        extraUnderLoad: underLoad,
        extraInSweep: extraLoads - underLoad,
        extra: this.origin.extra.slice(0, maxDetails),
        extraBySecondAndNode: bySecondAndNode(this.origin),
        events: this.#events,
        logs: all.every(({ isMet }) => isMet) ? [] : this.#processes.map(({ name, node: { kind, lines } }) => ({
          node: `${name} (${kind})`,
          lines: lines.slice(-maxLogLines),
        })),
      },
    };
  }

  /** Resolves to the time until all members list exactly the members; Infinity when it times out. */
  async rostersEqual(timeoutMs: number, also: () => boolean = () => true): Promise<number> {
    const sinceMs = performance.now();
    while (performance.now() - sinceMs < timeoutMs) {
      const names = [...this.fleet.members.keys()];
      const views = await Promise.all(names.map((name) => this.fleet.roster(name)));
      if (also() && areEqual(views, names)) return performance.now() - sinceMs;
      await pause(50);
    }
    return Infinity;
  }

  /** Resolves to the time until `condition` holds for each of these nodes' rosters, or Infinity. */
  async rostersShow(
    names: readonly string[],
    condition: (view: RosterView) => boolean,
    timeoutMs: number,
  ): Promise<number> {
    const sinceMs = performance.now();
    while (performance.now() - sinceMs < timeoutMs) {
      const views = await Promise.all(names.map((name) => this.fleet.roster(name)));
      if (views.every((view) => view !== undefined && condition(view))) return performance.now() - sinceMs;
      await pause(50);
    }
    return Infinity;
  }

  async #launch(name: string): Promise<AnyProcess> {
    const node = await this.fleet.start(name);
    this.#processes.push({ name, node });
    return node;
  }

  async #warmUp(): Promise<void> {
    const { keys, originDelayMs } = this.run.settings;
    this.run.say(`${this.names.length} ${this.run.system} nodes are up; loading ${keys} keys`);
    this.load.begin();
    await this.load.sweep(keys, sweepAtOnce);
    const { failed, notSent, failures } = this.load.tally;
    if (failed + notSent > 0 || this.origin.keysLoaded < keys) {
      throw new Error(`the first loads failed: ${JSON.stringify({ failed, notSent, failures: failures.slice(0, 3) })}`);
    }
    this.origin.delayMs = originDelayMs;
  }

  #status(): string {
    const { requests, failed, notSent, repeated } = this.load.tally;
    const unsent = notSent > 0 ? `, ${notSent} not sent` : "";
    return `${requests} requests, ${this.load.inFlight} waiting, ${failed} failed${unsent}, ${repeated} repeated, ` +
      `${this.origin.extra.length} extra loads, ${this.fleet.members.size} nodes`;
  }
}

function bySecondAndNode(origin: CountingOrigin): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { by, atMs } of origin.extra) {
    const slot = `${Math.floor(atMs / 1_000)} s ${by}`;
    counts[slot] = (counts[slot] ?? 0) + 1;
  }
  return counts;
}
