/** Nodes with liveness on one clock, between a network that can be cut and a registry with revisions. */
import type { Clock } from "../../../lib/core/base/clock.ts";
import { PeerError } from "../../../lib/core/errors.ts";
import { Liveness, type ProbedPeer, type Suspect } from "../../../lib/core/liveness/liveness.ts";
import type { PollingOptions } from "../../../lib/core/liveness/options.ts";
import { lifeOf } from "../../../lib/core/liveness/probed-peer.ts";
import type { PeerRecord } from "../../../lib/core/roster.ts";
import { PutBackPace } from "../../../lib/registry/put-back-pace.ts";
import { ManualClock } from "../../support/clock.ts";
import { MemoryLog } from "../../support/log.ts";
import { recordOf } from "./stage.ts";

/** One way, for every message. */
const LATENCY_MS = 1;
/** A peer out of reach is dialed again so often. */
const REDIAL_MS = 2_000;

export interface WorldOptions {
  readonly polling?: PollingOptions;
  readonly random?: () => number;
  /** The groups of each node, as `dict prices`. Nodes that are not named all serve one group. */
  readonly groups?: Readonly<Record<string, string>>;
  /** Whether a killed node's connections are refused at once (a process), or nothing answers (a machine). */
  readonly isKillSilent?: boolean;
}

interface Listed {
  readonly group: string;
  readonly record: PeerRecord;
  readonly revision: number;
}

/** A process: it can be stopped for a while, or killed for good. */
export class Machine {
  readonly name: string;
  readonly record: PeerRecord;
  readonly groups: readonly string[];
  readonly log = new MemoryLog();
  readonly liveness: Liveness;
  readonly pace = new PutBackPace();
  /** The peer lists of its groups, as this node has read them: by group and name. */
  view = new Map<string, Listed>();
  isKilled = false;
  isStopped = false;
  readonly #world: World;
  #held: (() => void)[] = [];
  #isPuttingBack = false;
  #hasStood = false;
  #hasView = false;
  /** The last write of each record that this node has seen. */
  readonly #writes = new Map<string, Pick<Listed, "record" | "revision">>();

  constructor(record: PeerRecord, world: World, options: WorldOptions) {
    this.name = record.name;
    this.record = record;
    this.groups = (options.groups?.[record.name] ?? "all").split(" ");
    this.#world = world;
    const clock: Clock = {
      nowMs: () => world.clock.nowMs(),
      after: (delayMs, action) => world.clock.after(delayMs, () => this.run(action)),
    };
    this.liveness = new Liveness({
      self: record,
      clock,
      random: options.random ?? Math.random,
      log: this.log,
      peers: () => this.#peers().map((peer) => world.link(this, peer)),
      lists: () => this.groups.map((group) => this.#listedIn(group)),
      isListed: () => this.isListed,
      isRegistryAway: () => world.isAway || !this.#hasView,
      evict: (suspect) => world.evict(this, suspect),
      options: options.polling,
    });
  }

  /** Runs the action now, when the process is continued, or never. */
  run(action: () => void): void {
    if (this.isKilled) return;
    if (this.isStopped) this.#held.push(action);
    else action();
  }

  continue(): void {
    this.isStopped = false;
    for (const action of this.#held.splice(0)) this.run(action);
  }

  /** Whether it stands in all lists of its own. */
  get isListed(): boolean {
    return this.groups.every((group) => this.view.get(keyOf(group, this.name))?.record === this.record);
  }

  /** The names in its lists, sorted, each once. */
  get names(): string[] {
    return namesOf(this.view);
  }

  lists({ name, incarnation }: Suspect): boolean {
    return this.groups.some((group) => this.view.get(keyOf(group, name))?.record.incarnation === incarnation);
  }

  #listedIn(group: string): PeerRecord[] {
    return [...this.view.values()].filter((listed) => listed.group === group).map(({ record }) => record);
  }

  /** Each other peer, in the latest life that is listed. */
  #peers(): PeerRecord[] {
    const latest = new Map<string, PeerRecord>();
    for (const { record } of this.view.values()) {
      const { name, incarnation } = record;
      if (name !== this.name && incarnation > (latest.get(name)?.incarnation ?? "")) latest.set(name, record);
    }
    return [...latest.values()];
  }

  /** @param all the records of every list */
  see(all: ReadonlyMap<string, Listed>): void {
    this.view = new Map([...all].filter(([_, { group }]) => this.groups.includes(group)));
    // As with the real registry, which is back when all lists have been delivered.
    this.liveness.rosterChanged();
    this.#noteWrites();
    this.#hasView = true;
    this.putBack();
  }

  /** A new link to a peer that returned is not open at once. */
  #noteWrites(): void {
    for (const [key, { record, revision }] of this.view) {
      const before = this.#writes.get(key);
      this.#writes.set(key, { record, revision });
      if (before === undefined || before.record !== record || before.revision === revision) continue;
      if (record !== this.record) this.liveness.wroteAgain(record);
      this.#world.clock.after(2 * LATENCY_MS, () => this.run(() => this.connect(record)));
    }
  }

  /** Opens a link to the peer, if it can be reached. */
  connect(record: PeerRecord): void {
    if (!this.#world.isReachable(this, record)) return;
    if (record !== this.record) return this.liveness.reached(record);
    // This node is listed again: its links open, too.
    for (const other of this.#peers()) if (this.#world.isReachable(this, other)) this.liveness.reached(other);
  }

  putBack(): void {
    if (this.isListed || this.#isPuttingBack) return;
    this.#isPuttingBack = true;
    const { clock } = this.#world;
    const restMs = this.#hasStood ? this.pace.restMs(clock.nowMs(), () => 0.5) : 0;
    clock.after(restMs + LATENCY_MS, () =>
      this.run(() => {
        this.#isPuttingBack = false;
        if (this.#world.isAway) return;
        this.pace.wrote(clock.nowMs(), this.#hasStood);
        // Its list may only be late.
        if (this.#hasStood && !this.#world.listed.includes(this.name)) this.liveness.putBack();
        this.#hasStood = true;
        this.#world.list(this.record, this.groups);
      }));
  }
}

/** The nodes, the network and the registry. */
export class World {
  readonly clock = new ManualClock();
  readonly machines = new Map<string, Machine>();
  /** Every eviction that was carried out. */
  readonly evictions: { readonly by: string; readonly life: string; readonly atMs: number }[] = [];
  isAway = false;
  readonly #options: WorldOptions;
  readonly #records = new Map<string, Listed>();
  #revision = 0;
  readonly #cuts = new Set<string>();

  constructor(names: readonly string[], options: WorldOptions = {}) {
    this.#options = options;
    for (const name of names) this.boot(recordOf(name));
  }

  machine(name: string): Machine {
    return this.machines.get(name)!;
  }

  /** The names in all lists, sorted, each once. */
  get listed(): string[] {
    return namesOf(this.#records);
  }

  /** The names in one list, sorted. */
  listedIn(group: string): string[] {
    return namesOf(new Map([...this.#records].filter(([_, listed]) => listed.group === group)));
  }

  boot(record: PeerRecord): void {
    const machine = new Machine(record, this, this.#options);
    this.machines.set(record.name, machine);
    machine.liveness.start();
    machine.see(new Map(this.#records));
  }

  kill(name: string): void {
    this.machine(name).isKilled = true;
  }

  stop(name: string): void {
    this.machine(name).isStopped = true;
  }

  continue(name: string): void {
    this.machine(name).continue();
  }

  /** No message passes between one of `left` and one of `right`; the registry is reachable from both. */
  cut(left: readonly string[], right: readonly string[]): void {
    for (const a of left) for (const b of right) this.#cuts.add(`${a} ${b}`).add(`${b} ${a}`);
  }

  heal(): void {
    this.#cuts.clear();
    for (const machine of this.machines.values()) {
      this.clock.after(REDIAL_MS, () =>
        machine.run(() => {
          for (const { record } of machine.view.values()) machine.connect(record);
        }));
    }
  }

  isReachable(from: Machine, { name, incarnation }: Suspect): boolean {
    const { isKilled, isStopped, record } = this.machine(name);
    return !isKilled && !isStopped && record.incarnation === incarnation && !this.isCut(from.name, name);
  }

  isCut(left: string, right: string): boolean {
    return this.#cuts.has(`${left} ${right}`);
  }

  back(): void {
    this.isAway = false;
    this.#tellAll();
  }

  list(record: PeerRecord, groups: readonly string[]): void {
    for (const group of groups) {
      const key = keyOf(group, record.name);
      if (this.#records.get(key)?.record === record) continue;
      this.#records.set(key, { group, record, revision: ++this.#revision });
    }
    this.#tellAll();
  }

  /** For the end of a test. */
  close(): void {
    for (const machine of this.machines.values()) machine.liveness.stop();
  }

  evict(by: Machine, suspect: PeerRecord): Promise<boolean> {
    const read = [...by.view].filter(([_, { record }]) => lifeOf(record) === lifeOf(suspect));
    return new Promise((resolve) => {
      this.clock.after(LATENCY_MS, () => {
        const isSame = read.length > 0 &&
          read.every(([key, { revision }]) => this.#records.get(key)?.revision === revision);
        if (isSame && !this.isAway) {
          for (const [key] of read) this.#records.delete(key);
          this.#revision++;
          this.evictions.push({ by: by.name, life: lifeOf(suspect), atMs: this.clock.nowMs() });
          this.#tellAll();
        }
        this.clock.after(LATENCY_MS, () => by.run(() => resolve(isSame && !this.isAway)));
      });
    });
  }

  /** The connection from one node to a peer, as it lists it. */
  link(from: Machine, record: PeerRecord): ProbedPeer {
    return {
      record,
      isOpen: false,
      probe: ({ timeoutMs }) =>
        this.#ask(from, record, timeoutMs, (to) => {
          to.liveness.probed();
          return Promise.resolve();
        }),
      probeIndirectly: (suspect, { timeoutMs }) =>
        this.#ask(from, record, timeoutMs, (to) => to.liveness.probeIndirectly(suspect, { timeoutMs })),
    };
  }

  #ask<T>(from: Machine, record: PeerRecord, timeoutMs: number, serve: (to: Machine) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const later = (action: () => void) => this.clock.after(LATENCY_MS, () => from.run(action));
      const refuse = (reason: string) => later(() => reject(new PeerError(reason)));
      this.clock.after(timeoutMs, () => from.run(() => reject(new PeerError("no answer in time"))));
      this.clock.after(LATENCY_MS, () => {
        const to = this.machine(record.name);
        if (this.isCut(from.name, to.name)) return;
        if (to.isKilled || to.record.incarnation !== record.incarnation) {
          if (this.#options.isKillSilent !== true) refuse("refused");
          return;
        }
        to.run(() => {
          if (!to.lists(from.record)) return refuse("stranger");
          serve(to).then(
            (answer) => this.isCut(from.name, to.name) || later(() => resolve(answer)),
            (error) => this.isCut(from.name, to.name) || later(() => reject(error)),
          );
        });
      });
    });
  }

  #tellAll(): void {
    if (this.isAway) return;
    const all = new Map(this.#records);
    for (const machine of this.machines.values()) {
      this.clock.after(LATENCY_MS, () => {
        if (!this.isAway) machine.run(() => machine.see(all));
      });
    }
  }
}

function keyOf(group: string, name: string): string {
  return `${group} ${name}`;
}

function namesOf(view: ReadonlyMap<string, Listed>): string[] {
  return [...new Set([...view.values()].map(({ record }) => record.name))].sort();
}

/** A generator of numbers from 0 to 1 that a seed decides (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
