/** The parts of every scenario: hosts, NATS, an origin, nodes, a load, and what the clients of the nodes saw. */
import { seeded, Zipf } from "../chaos/keys.ts";
import { Load, pause } from "../chaos/load.ts";
import { CountingOrigin } from "../chaos/origin.ts";
import type { Check } from "../chaos/result.ts";
import type { Defer } from "../support/test.ts";
import { Fleet, GROUP, NatsOn, startNatsCluster, type StartOptions } from "./fleet.ts";
import { type Host, Network, ORIGIN, ORIGIN_V6 } from "./hosts.ts";

export interface Settings {
  readonly keys: number;
  /** Requests per second, all nodes together. */
  readonly rate: number;
  /** The unit of a scenario's times: 1 in a full run. A short run has shorter faults. */
  readonly scale: number;
  readonly seed: number;
}

export const fullSettings: Settings = {
  keys: 4_000,
  rate: 200,
  scale: 1,
  seed: 1,
};

export interface Run {
  readonly settings: Settings;
  readonly defer: Defer;
  readonly say: (text: string) => void;
}

export interface Scenario {
  readonly name: string;
  /** Its name in the table. */
  readonly title: string;
  readonly run: (run: Run) => Promise<Outcome>;
}

/** What clients saw at some nodes. */
export interface Seen {
  readonly requests: number;
  readonly failed: number;
  readonly slowestMs: number;
  /** Of the answers. */
  readonly overOneSecondPercent: number;
}

/** The answers that clients got, by the time that each one took. */
export function seenOf(latenciesMs: readonly number[], failed: number): Seen {
  const slow = latenciesMs.filter((tookMs) => tookMs > 1_000).length;
  return {
    requests: latenciesMs.length,
    failed,
    slowestMs: latenciesMs.reduce((most, tookMs) => Math.max(most, tookMs), 0),
    overOneSecondPercent: latenciesMs.length === 0 ? 0 : 100 * slow / latenciesMs.length,
  };
}

export interface Outcome {
  /** At healthy nodes. */
  readonly others?: Seen;
  /** At the nodes on the faulty hosts. */
  readonly atFault?: Seen;
  readonly extraLoads?: number;
  readonly checks: readonly Check[];
  /** Facts without a target. */
  readonly notes: readonly string[];
  /** To explain a missed target. */
  readonly details: Readonly<Record<string, unknown>>;
}

export interface WorldOptions {
  readonly nodes: number;
  /** NATS servers, each on a host of its own. 0: the scenario gives `nats`. @default 1 */
  readonly natsServers?: number;
  readonly nats?: string;
  readonly isIpv6?: boolean;
  /** More fields of the group. */
  readonly policy?: Readonly<Record<string, unknown>>;
  readonly options?: readonly string[];
  /** Options for one node, which override those of all. */
  readonly only?: Readonly<Record<string, Partial<StartOptions>>>;
  readonly origin?: CountingOrigin;
}

/** A request that takes longer has failed: a node lets a client wait no longer than a load may take. */
const TIMEOUT_MS = 15_000;
const SWEEP_AT_ONCE = 32;
const MAX_SWEEPS = 3;
const MAX_LOG_LINES = 60;

export function nameOf(index: number): string {
  return `net-${index}`;
}

export class World {
  readonly run: Run;
  readonly network: Network;
  readonly fleet: Fleet;
  readonly origin: CountingOrigin;
  readonly load: Load;
  readonly hosts: readonly Host[];
  readonly names: readonly string[];
  readonly nats: NatsOn[] = [];
  readonly #options: WorldOptions;
  readonly #events: string[] = [];
  #beganAtMs = performance.now();

  private constructor(run: Run, options: WorldOptions) {
    this.run = run;
    this.#options = options;
    this.network = new Network(run.defer);
    this.origin = options.origin ?? new CountingOrigin();
    this.fleet = new Fleet(run.defer);
    const random = seeded(run.settings.seed);
    const zipf = new Zipf(run.settings.keys, random);
    this.load = new Load({ group: GROUP, random, zipf, timeoutMs: TIMEOUT_MS });
    run.defer(() => this.load.close());
    this.names = Array.from(
      { length: options.nodes },
      (_, index) => nameOf(index),
    );
    this.hosts = this.names.map((name) => this.network.host(name));
  }

  /** Starts everything; the nodes agree, and each key is loaded once. */
  static async make(run: Run, options: WorldOptions): Promise<World> {
    const world = new World(run, options);
    await world.origin.start(run.defer, options.isIpv6 ? ORIGIN_V6 : ORIGIN);
    await world.#startNats();
    await Promise.all(world.hosts.map((host) => world.start(host)));
    const tookMs = await world.fleet.agree(20_000);
    if (tookMs === Infinity) {
      throw new Error(`the nodes did not agree in 20 s:\n${world.#logs()}`);
    }
    await world.load.ready(world.names);
    // A busy machine may answer a look at /readyz late, and a request is not sent then.
    for (let sweeps = 1;; sweeps++) {
      world.load.begin();
      await world.load.sweep(run.settings.keys, SWEEP_AT_ONCE);
      const { failed, notSent, failures } = world.load.tally;
      if (failed + notSent === 0) break;
      if (sweeps < MAX_SWEEPS) continue;
      throw new Error(
        `of the first loads ${notSent} were not sent, and ${failed} failed: ${JSON.stringify(failures[0])}`,
      );
    }
    return world;
  }

  host(name: string): Host {
    return this.hosts[this.names.indexOf(name)]!;
  }

  /** Starts a node on a host, and sends it load as soon as it is ready. */
  async start(host: Host, more: Partial<StartOptions> = {}): Promise<void> {
    const { isIpv6, policy, options, only } = this.#options;
    const v6 = {
      addr: "[::]:8000",
      advertise: `http://[${host.addressV6}]:8000`,
    };
    const own = { ...(isIpv6 && v6), ...only?.[host.name], ...more };
    const nats = this.#options.nats ??
      this.nats.map(({ url }) => url).join(",");
    const node = await this.fleet.start(host, {
      nats,
      origin: this.origin.template,
      policy,
      options,
      ...own,
    });
    this.load.add(own.name ?? host.name, node.url);
    this.say(`${own.name ?? host.name} (${node.kind}) listens`);
  }

  async end(name: string, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    this.say(`${signal} to ${name}`);
    const node = this.fleet.members.get(name)!;
    if (signal === "SIGKILL") this.load.killed(name);
    await node.end(signal);
    this.load.remove(name);
    this.fleet.forget(name);
  }

  say(text: string): void {
    const line = `${((performance.now() - this.#beganAtMs) / 1_000).toFixed(2)} s: ${text}`;
    this.#events.push(line);
    this.run.say(line);
  }

  /** Waits for so many seconds of a full run. */
  pause(seconds: number): Promise<void> {
    return pause(seconds * 1_000 * this.run.settings.scale);
  }

  /** Runs load for a moment, makes the fault under load, and runs load for a moment more. */
  async measure(fault: () => Promise<void>): Promise<void> {
    this.origin.begin();
    this.load.begin();
    this.#beganAtMs = performance.now();
    this.load.start(this.run.settings.rate);
    await this.pause(2);
    await fault();
    await this.pause(2);
    await this.load.stop();
    const { requests, failed } = this.load.tally;
    this.say(
      `the load ends: ${requests} requests, ${failed} failed, ${this.origin.extra.length} extra loads`,
    );
  }

  outcome(
    { atFault = [], checks, notes = [] }: {
      readonly atFault?: readonly string[];
      readonly checks: (
        seen: { others: Seen; atFault: Seen; extraLoads: number },
      ) => readonly Check[];
      readonly notes?: readonly string[];
    },
  ): Outcome {
    const { tally } = this.load;
    const names = [...tally.byNode.keys()];
    const others = this.#seenAt(
      names.filter((name) => !atFault.includes(name)),
    );
    const there = this.#seenAt(atFault);
    const extraLoads = this.origin.extra.length;
    const all = checks({ others, atFault: there, extraLoads });
    const isMet = all.every((check) => check.isMet);
    return {
      others,
      ...(atFault.length > 0 && { atFault: there }),
      extraLoads,
      checks: all,
      notes,
      details: {
        failures: tally.failures,
        notSent: tally.notSent,
        events: this.#events,
        extra: this.origin.extra.slice(0, 20),
        logs: isMet ? "" : this.#logs(),
      },
    };
  }

  #seenAt(names: readonly string[]): Seen {
    const tallies = names.map((name) => this.load.tally.byNode.get(name))
      .filter((tally) => tally !== undefined);
    const latenciesMs = tallies.flatMap((tally) => tally.latenciesMs);
    return seenOf(
      latenciesMs,
      tallies.reduce((sum, tally) => sum + tally.failed, 0),
    );
  }

  #logs(): string {
    return [...this.fleet.members].map(([name, { kind, lines }]) =>
      `== ${name} (${kind})\n${lines.slice(-MAX_LOG_LINES).join("\n")}`
    ).join("\n");
  }

  async #startNats(): Promise<void> {
    const { natsServers = 1 } = this.#options;
    const hosts = Array.from(
      { length: natsServers },
      (_, index) => this.network.host(`nats-${index}`),
    );
    if (natsServers > 1) {
      this.nats.push(...await startNatsCluster(hosts, this.run.defer));
    } else if (natsServers === 1) {
      this.nats.push(new NatsOn(hosts[0]!, this.run.defer));
      await this.nats[0]!.start();
    }
  }
}
