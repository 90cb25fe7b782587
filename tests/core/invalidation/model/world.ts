/** A small cluster in one process. Each event happens when the schedule says so. Every answer of a node is checked. */
import { entryBytes } from "../../../../lib/core/cache/byte-cache.ts";
import { Cancel } from "../../../../lib/core/base/cancel.ts";
import {
  NotFoundError,
  OriginError,
  OriginTimeoutError,
  OverloadedError,
  UnservedError,
} from "../../../../lib/core/errors.ts";
import type { SharedBudget } from "../../../../lib/core/cache/shared-budget.ts";
import { Group } from "../../../../lib/core/group/group.ts";
import type { Loaded } from "../../../../lib/core/group/loaded.ts";
import type { Label } from "../../../../lib/core/invalidation/label.ts";
import { type Invalidation, invalidationOf } from "../../../../lib/core/invalidation/message.ts";
import { LogPosition } from "../../../../lib/core/invalidation/position.ts";
import type { Ask, LoadContext, Origin, Peer } from "../../../../lib/core/ports.ts";
import { RosterPicker } from "../../../../lib/core/placement/picker.ts";
import { type PeerRecord, rosterOf } from "../../../../lib/core/roster.ts";
import { type Answer, isNothingHere, PLAIN, type Value } from "../../../../lib/core/value.ts";
import { ManualClock, settle } from "../../../support/clock.ts";
import { record } from "../../cluster.ts";
import { GROUP, ModelLog, ModelLogView } from "./log.ts";
import { type Item, ModelNetwork, type Service, type Station } from "./network.ts";
import { changed, covers, Demand, History, isThere, KEYS, type Load, type Published } from "./spec.ts";
import { sayMessage, sayPublished, tagsOf, written } from "./spec.ts";

export interface Setup {
  readonly nodes: number;
  /** So many of the nodes, the last ones, do not serve the group: they ask the others. */
  readonly askers: number;
  readonly keys: number;
  readonly replicas: number;
  readonly ttlMs: number | null;
  readonly staleWhileRevalidateMs: number;
  readonly staleIfErrorMs: number;
  readonly softTimeoutMs: number | null;
  readonly refreshAhead: boolean;
  readonly negativeTtlMs: number;
  readonly hotAfterFetches: number;
  readonly budgetBytes: number;
  readonly maxBlindMs: number | null;
  readonly isWriteOnly: boolean;
  /** Of six invalidations, how many are soft. */
  readonly softSixths: number;
  /** What invalidations name. */
  readonly covering: "any" | "names" | "tags";
  /** Whether the origin's answers can be validated later. */
  readonly hasValidators: boolean;
}

/** What a planted fault may do wrong outside of the product: where the product's caller or a frame would be wrong. */
export interface Mistakes {
  /** The label that a get carries. */
  after?(label: Label): Label;
  /** A value is about to be answered to a peer, or pushed to one. */
  handedOver?(value: Value, by: LogPosition): void;
  /** A pushed value has come. */
  taken?(value: Value, by: LogPosition): void;
  /** The label of a written value, where it is stored. */
  written?(label: Label, at: LogPosition): Label;
  /** The value that the origin is given to say whether it is still good. */
  stale?(key: string, node: string, stale: Value | undefined): Value | undefined;
}

const BEGIN_MS = 1_000_000;
const LOAD_TIMEOUT_MS = 1_000;
/** Chosen: of a get when all is quiet. */
const MAX_ROUNDS = 20;
const NAMES = ["A", "B", "C", "D"];
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** One life of a node. */
export class Life implements Station {
  readonly name: string;
  readonly isServed: boolean;
  readonly service: Service;
  readonly history: History;
  readonly view: ModelLogView;
  readonly position: LogPosition;
  readonly picker: RosterPicker;
  readonly group: Group;
  readonly peers = new Map<string, { readonly life: Life; readonly peer: Peer }>();
  isDead = false;
  isDraining = false;
  /** Ends the wait of a drain for the others to know. */
  unasked: () => void = () => {};
  seenRevision = 0;

  constructor(name: string, isServed: boolean, world: World) {
    const { clock, setup } = world;
    this.name = name;
    this.isServed = isServed;
    this.history = new History(clock.nowMs());
    this.view = new ModelLogView(world.log, this.history, () => clock.nowMs(), (askedAtMs) => {
      world.network.items.push({
        what: `${name} looks at the log`,
        run: () => this.isDead || this.view.tell(Infinity, askedAtMs, true),
        lose: () => {},
      });
    });
    this.position = new LogPosition({ clock, log: this.view });
    const peerOf = (peer: string) => world.peerOf(this, peer);
    this.picker = new RosterPicker(GROUP, name, peerOf, clock, { isOwner: isServed });
    this.group = new Group({
      name: GROUP,
      origin: new ModelOrigin(world, this),
      picker: this.picker,
      clock,
      loadTimeoutMs: LOAD_TIMEOUT_MS,
      budgetBytes: setup.budgetBytes,
      costOf: entryBytes,
      position: this.position,
      maxBlindMs: setup.maxBlindMs,
      isWriteOnly: setup.isWriteOnly,
      isServed,
      replicas: setup.replicas,
      hotAfterFetches: setup.hotAfterFetches,
      lifetime: {
        ttlMs: setup.ttlMs,
        ttlJitter: 0,
        staleWhileRevalidateMs: setup.staleWhileRevalidateMs,
        staleIfErrorMs: setup.staleIfErrorMs,
        softTimeoutMs: setup.softTimeoutMs,
        refreshAhead: setup.refreshAhead,
        negativeTtlMs: setup.negativeTtlMs,
      },
      random: world.random,
    });
    this.service = serviceOf(world, this);
    this.view.followLog(this.position);
  }
}

/** A load that waits for the origin. */
interface OriginLoad {
  readonly what: string;
  readonly end: (outcome: "early" | "late" | "fails") => void;
}

class ModelOrigin implements Origin {
  readonly #world: World;
  readonly #life: Life;

  constructor(world: World, life: Life) {
    this.#world = world;
    this.#life = life;
  }

  load(name: string, signal: AbortSignal, { stale: given }: LoadContext = {}): Promise<Answer> {
    const world = this.#world;
    const life = this.#life;
    const key = KEYS.indexOf(name as typeof KEYS[number]);
    if (life.isDead) return new Promise(() => {});
    if (!life.isServed) return Promise.reject(new UnservedError("another node serves it"));
    if (world.setup.isWriteOnly) return Promise.reject(new NotFoundError("it is only written to"));
    const stale = world.mistakes.stale === undefined ? given : world.mistakes.stale(name, life.name, given);
    if (stale !== undefined) world.checkStale(life, key, stale);
    const { load, number } = world.newLoad(key, life);
    const atBegin = load.version;
    return new Promise((resolve, reject) => {
      const what = `load ${number} of ${name} at ${life.name}`;
      world.say(`${what} begins${stale === undefined ? "" : ` with ${decoder.decode(stale.body)}`}`);
      const waiting: OriginLoad = {
        what,
        end: (outcome) => {
          world.loads = world.loads.filter((one) => one !== waiting);
          if (outcome === "fails") {
            world.hasFailed = true;
            return reject(new OriginError("the origin fails"));
          }
          load.version = outcome === "early" ? atBegin : world.versions[key]!;
          if (!isThere(key, load.version)) return reject(new NotFoundError("there is none"));
          // A value that is still good comes again: the same version.
          resolve({
            body: bodyOf(name, load.version, number),
            contentType: "text/plain",
            tags: tagsOf(key, load.version),
            ...(world.setup.hasValidators && { fields: [["etag", `"${load.version}"`]] }),
          });
        },
      };
      world.loads.push(waiting);
      signal.addEventListener("abort", () => {
        world.loads = world.loads.filter((one) => one !== waiting);
        // The end of its deadline counts as a failure of the origin.
        if (signal.reason instanceof OriginTimeoutError) world.hasFailed = true;
        reject(signal.reason);
      });
    });
  }
}

function serviceOf(world: World, life: Life): Service {
  const { group, position } = life;
  const handOver = (demand: Demand, value: Value, how: string) => {
    world.check(life, demand, value, how);
    if (world.mistakes.handedOver === undefined) return value;
    const one = { ...value };
    world.mistakes.handedOver(one, position);
    return one;
  };
  return {
    get: (key, ask) => {
      const after = world.mistakes.after?.(ask.after) ?? ask.after;
      // What the asker has applied binds the asker; this node's own list is enough here.
      const demand = world.demand(life, KEYS.indexOf(key as typeof KEYS[number]));
      const found = group.lookupAsOwner(key, undefined, after)?.value;
      if (found !== undefined) {
        world.checkSight(life, `${life.name} answers a peer with ${sayValue(found)}`);
        return ask.resolve(handOver(demand, found, "to a peer, from memory"));
      }
      const answer: Ask = {
        signal: ask.signal,
        timeoutMs: ask.timeoutMs,
        request: undefined,
        after,
        resolve: (value) => ask.resolve(handOver(demand, value, "to a peer")),
        reject: (error) => ask.reject(error),
      };
      group.loadAsOwner(key, answer);
    },
    peek: (key, signal, { resolve, reject }) => {
      const demand = world.demand(life, KEYS.indexOf(key as typeof KEYS[number]));
      const found = group.peek(key, { signal });
      if (found instanceof Promise) {
        found.then((value) => resolve(value && handOver(demand, value, "to a peek")), reject);
      } else resolve(found && handOver(demand, found, "to a peek, from memory"));
    },
    push: (entries, from, isWritten) => {
      for (const { value } of entries) world.mistakes.taken?.(value, position);
      return group.accept(
        entries.map(({ key, value }) => ({ key, value: isWritten ? world.asWritten(value, position) : value })),
        from,
        isWritten,
      );
    },
    catchUp: async (label, timeoutMs) => {
      await position.reach(label, timeoutMs);
      return position.label;
    },
  };
}

/** A get of a client that has no answer yet. */
interface Asking {
  readonly life: Life;
  readonly what: string;
  readonly cancel: Cancel;
}

/** What the answers came from, over one run. */
export interface Tally {
  answers: number;
  hits: number;
  stale: number;
  nothing: number;
  errors: number;
}

export class World {
  readonly setup: Setup;
  readonly mistakes: Mistakes;
  readonly random: () => number;
  readonly clock = new ManualClock(BEGIN_MS);
  readonly log = new ModelLog();
  readonly network: ModelNetwork;
  readonly versions: number[] = KEYS.map(() => 1);
  /** Changes at the origin whose invalidation was not published yet. */
  unpublished: Invalidation[] = [];
  loads: OriginLoad[] = [];
  hasFailed = false;
  /** The latest life of each name. */
  readonly lives: Life[] = [];
  readonly tally: Tally = { answers: 0, hits: 0, stale: 0, nothing: 0, errors: 0 };
  asking = new Set<Asking>();
  /** The step that runs. */
  at = 0;
  violation: string | undefined;
  readonly #loadsByNumber: Load[] = [];
  #records: PeerRecord[] = [];
  #revision = 1;
  #incarnations = 0;
  readonly #say: ((line: string) => void) | undefined;

  constructor(setup: Setup, random: () => number, mistakes: Mistakes = {}, say?: (line: string) => void) {
    this.setup = setup;
    this.random = random;
    this.mistakes = mistakes;
    this.#say = say;
    this.network = new ModelNetwork(this.clock);
    for (let i = 0; i < setup.nodes; i++) this.#start(i, true);
    for (const life of this.lives) this.see(life);
  }

  say(line: string): void {
    this.#say?.(`      ${line}`);
  }

  get isSilent(): boolean {
    return this.#say === undefined;
  }

  fail(text: string): void {
    this.violation ??= text;
  }

  // Nodes and rosters.

  #start(index: number, isToldAtOnce: boolean): void {
    const name = NAMES[index]!;
    const isServed = index < this.setup.nodes - this.setup.askers;
    const life = new Life(name, isServed, this);
    this.lives[index] = life;
    this.#records = this.#records.filter((one) => one.name !== name);
    if (isServed) this.#records.push({ ...record(name), incarnation: String(++this.#incarnations) });
    this.#revision++;
    if (isToldAtOnce) life.view.tell(Infinity, this.clock.nowMs(), true);
  }

  peerOf(self: Life, name: string): Peer | undefined {
    const life = this.lives[NAMES.indexOf(name)];
    const known = self.peers.get(name);
    if (known !== undefined && known.life === life) return known.peer;
    if (life === undefined || life.isDead) return known?.peer;
    const peer = this.network.peer(self, life);
    self.peers.set(name, { life, peer });
    return peer;
  }

  /** A node sees the roster as it is now. */
  see(life: Life): void {
    if (life.isDead || life.seenRevision === this.#revision) return;
    life.seenRevision = this.#revision;
    this.say(
      `${life.name} sees ${
        this.#records.map(({ name, state }) => `${name}${state === "draining" ? " (draining)" : ""}`)
      }`,
    );
    life.picker.swap(rosterOf(GROUP, this.#revision, this.#records));
    void life.group.ownersChanged();
  }

  kill(life: Life): void {
    if (life.isDead) return;
    life.isDead = true;
    life.group.close();
    // What only this node knew is lost with it: somebody must tell it anew.
    for (const { message } of life.history.pending) this.unpublished.push(message);
    for (const one of this.asking) if (one.life === life) this.asking.delete(one);
  }

  /** The registry lists a dead node no longer. */
  evict(life: Life): void {
    if (!life.isDead || !this.#records.some(({ name }) => name === life.name)) return;
    this.#records = this.#records.filter(({ name }) => name !== life.name);
    this.#revision++;
  }

  restart(index: number, isToldAtOnce: boolean): void {
    this.kill(this.lives[index]!);
    this.#start(index, isToldAtOnce);
    this.see(this.lives[index]!);
  }

  drain(life: Life): void {
    if (life.isDead || life.isDraining) return;
    life.isDraining = true;
    this.#records = this.#records.map((one) => one.name === life.name ? { ...one, state: "draining" as const } : one);
    this.#revision++;
    void life.group.drain(new AbortController().signal, new Promise((resolve) => life.unasked = resolve));
  }

  // The origin, and what is told of its changes.

  newLoad(key: number, life: Life, epoch = life.history.epoch): { load: Load; number: number } {
    const load: Load = {
      key,
      node: life.name,
      begunAt: this.at,
      epoch,
      version: this.versions[key]!,
    };
    return { load, number: this.#loadsByNumber.push(load) - 1 };
  }

  /** @param isChange whether the values have changed that the message covers; else it is a word too many */
  change(message: Invalidation, isChange: boolean): void {
    if (!isChange) return;
    for (const key of KEYS.keys()) {
      if (covers(message, key, this.versions[key]!)) this.versions[key] = changed(this.versions[key]!);
    }
    this.say(`versions ${this.versions}`);
  }

  publish(message: Invalidation): Published {
    const published = this.log.publish(message, this.versions);
    this.say(`the log takes ${sayPublished(published)}`);
    return published;
  }

  /** A change that is known to one node alone, as the log is away. */
  changeUnlogged(life: Life, message: Invalidation): void {
    this.change(message, true);
    const sequence = 0;
    const data = encoder.encode("");
    life.history.pending.add({
      epoch: 0,
      sequence,
      message,
      versions: [...this.versions],
      data,
      lastAppliedMs: -Infinity,
    });
    life.group.validity.addPending(message);
  }

  /** The log takes what is pending; the node may not go on without it before it has applied it. */
  flush(life: Life): void {
    if (life.view.isCut || life.history.pending.size === 0) return;
    const [one] = life.history.pending;
    this.publish(one!.message);
    life.view.tell(Infinity, this.clock.nowMs(), true);
    life.history.pending.delete(one!);
    life.group.validity.settlePending(one!.message);
  }

  /** A client writes at a node: the value takes its place in the log, then goes to the key's owner. */
  write(life: Life, key: number, isToldAtOnce: boolean): void {
    const name = KEYS[key]!;
    if (life.view.isCut) return;
    this.versions[key] = written(this.versions[key]!);
    const { epoch, sequence } = this.publish(invalidationOf({ keys: [name] }));
    if (isToldAtOnce) life.view.tell(Infinity, this.clock.nowMs(), true);
    const { load, number } = this.newLoad(key, life, epoch);
    const bornAtMs = this.clock.nowMs();
    const { ttlMs } = this.setup;
    const value: Value = {
      body: bodyOf(name, load.version, number),
      contentType: "text/plain",
      loadMs: 0,
      about: PLAIN,
      label: { epoch, sequence },
      bornAtMs,
      freshUntilMs: ttlMs === null ? Infinity : bornAtMs + ttlMs,
      staleWhileRevalidateMs: 0,
      staleIfErrorMs: 0,
    };
    this.say(`${life.name} writes ${sayValue(value)}`);
    void this.#keep(life, name, value);
  }

  async #keep(life: Life, key: string, value: Value): Promise<void> {
    const options = { signal: new Cancel(), timeoutMs: LOAD_TIMEOUT_MS, isWritten: true };
    for (const owner of life.picker.ranked(key, 3)) {
      if (owner === undefined) return void life.group.keepWritten(key, this.asWritten(value, life.position));
      try {
        return void await owner.push(GROUP, [{ key, value }], options);
      } catch {
        // The next in rank.
      }
    }
  }

  asWritten(value: Value, at: LogPosition): Value {
    return this.mistakes.written === undefined ? value : { ...value, label: this.mistakes.written(value.label, at) };
  }

  // Gets, and what may be answered.

  demand(life: Life, key: number, after?: Label): Demand {
    return new Demand(life.history, key, this.at, after && this.log.upTo(after));
  }

  get(life: Life, key: number, after?: Label): void {
    const what = `get ${KEYS[key]} at ${life.name}${
      after === undefined ? "" : ` after ${after.epoch}/${after.sequence}`
    }`;
    const demand = this.demand(life, key, after);
    const cancel = new Cancel();
    const asking = { life, what, cancel };
    this.asking.add(asking);
    const mark = this.at;
    const ended = () => !life.isDead && this.asking.delete(asking);
    life.group.get(KEYS[key]!, { signal: cancel, after }).then(
      (loaded) => ended() && this.#answered(life, demand, loaded, `${what} (step ${mark})`),
      (error) => ended() && this.#failed(demand, error, `${what} (step ${mark})`),
    );
  }

  #answered(life: Life, demand: Demand, { value, source }: Loaded, what: string): void {
    this.tally.answers++;
    const isHit = source === "main" || source === "hot";
    if (isHit) this.tally.hits++;
    if (value.freshUntilMs <= this.clock.nowMs()) this.tally.stale++;
    this.say(`${what}: ${sayValue(value)} from ${source}`);
    this.check(life, demand, value, `${what} from ${source}`);
    if (isHit) this.checkSight(life, `${what}: ${sayValue(value)}`);
  }

  #failed(demand: Demand, error: unknown, what: string): void {
    this.say(`${what}: ${error}`);
    if (error instanceof NotFoundError) {
      this.tally.nothing++;
      return this.checkNothing(demand, what);
    }
    this.tally.errors++;
    const isAllowed = error instanceof OriginError || error instanceof OverloadedError || error === LEFT;
    if (!isAllowed) this.fail(`${what} fails with ${error instanceof Error ? error.stack : error}`);
  }

  /** All is quiet: the newest value is answered, and the owner has kept it. */
  async getNewest(life: Life, key: number, end: () => Promise<void>): Promise<void> {
    const name = KEYS[key]!;
    const version = this.versions[key]!;
    const get = async () => {
      let got: unknown;
      const ended = (result: unknown) => void (got = result);
      life.group.get(name).then(ended, ended);
      for (let round = 0; round < MAX_ROUNDS && got === undefined; round++) {
        await end();
        // An owner may wait for the log first.
        if (got === undefined) await this.clock.advance(250);
      }
      return got;
    };
    const isNewest = (got: unknown) => {
      if (got instanceof NotFoundError) return this.setup.isWriteOnly || !isThere(key, version);
      return isLoaded(got) && this.#loadsByNumber[numberOf(got.value)]!.version === version;
    };
    for (const which of ["first", "second"] as const) {
      const got = await get();
      const what = `${which} get of ${name} at ${life.name} when all is quiet`;
      if (!isNewest(got)) {
        return this.fail(`${what}: ${isLoaded(got) ? sayValue(got.value) : got}, which is not version ${version}`);
      }
      if (!isLoaded(got) || which === "first") continue;
      const isKept = life.picker.pick(name) === undefined && this.setup.budgetBytes > 1_000;
      if (isKept && got.source !== "main" && got.source !== "hot") this.fail(`${what}: it comes from ${got.source}`);
    }
  }

  /** "There is no such value" must be true of a version that may be answered. */
  checkNothing(demand: Demand, what: string): void {
    if (this.setup.isWriteOnly) return;
    const { key } = demand;
    for (let version = this.versions[key]!; version > 0; version--) {
      if (!isThere(key, version) && demand.forbids(version) === undefined) return;
    }
    this.fail(`${what}: there was such a value all the time`);
  }

  /** Whether a node may answer with this value. */
  check(life: Life, demand: Demand, value: Value, what: string): void {
    if (isNothingHere(value)) return this.checkNothing(demand, what);
    const number = numberOf(value);
    const load = this.#loadsByNumber[number]!;
    const { version } = load;
    if (load.key !== demand.key) return this.fail(`${what}: ${sayValue(value)}, which is of another key`);
    const by = demand.forbids(version);
    if (by !== undefined) {
      return this.fail(`${what}: ${sayValue(value)} is older than ${sayPublished(by)}, which ${life.name} had applied`);
    }
    if (demand.isOfAnotherLife(load)) {
      return this.fail(
        `${what}: ${sayValue(value)} was loaded in epoch ${load.epoch}, ${life.name} was in ${demand.epoch}`,
      );
    }
    this.#checkSoft(life, demand, value, version, what);
  }

  #checkSoft(life: Life, demand: Demand, value: Value, version: number, what: string): void {
    const soft = demand.softens(version);
    if (soft === undefined) return;
    const { staleWhileRevalidateMs, staleIfErrorMs, softTimeoutMs } = this.setup;
    // A value comes with the end that its owner gave it, which may have applied the message later than this node.
    const sinceMs = soft.lastAppliedMs;
    const name = `${sayPublished(soft)}, which ${life.name} had applied, and the last node at ${sinceMs}`;
    if (value.freshUntilMs > sinceMs) {
      return this.fail(`${what}: ${sayValue(value)} is fresh until ${value.freshUntilMs}, in spite of ${name}`);
    }
    // A stale value may stand in for an origin that has failed or was too slow, or come from a peek of its owner.
    const isOnError = this.hasFailed || softTimeoutMs !== null || this.clock.nowMs() >= BEGIN_MS + LOAD_TIMEOUT_MS ||
      this.setup.nodes > 1;
    const mostMs = isOnError ? Math.max(staleWhileRevalidateMs, staleIfErrorMs) : staleWhileRevalidateMs;
    if (this.clock.nowMs() >= sinceMs + mostMs) {
      this.fail(`${what}: ${sayValue(value)} at ${this.clock.nowMs()} is ${mostMs} ms older than ${name}`);
    }
  }

  /** The origin is given a value, to say whether it is still good. */
  checkStale(life: Life, key: number, stale: Value): void {
    const demand = this.demand(life, key);
    if (isNothingHere(stale)) return;
    const load = this.#loadsByNumber[numberOf(stale)]!;
    const by = demand.forbids(load.version);
    if (by !== undefined) {
      this.fail(`the origin is given ${sayValue(stale)} by ${life.name}, which had applied ${sayPublished(by)}`);
    }
    if (demand.isOfAnotherLife(load)) this.fail(`the origin is given ${sayValue(stale)} of epoch ${load.epoch}`);
  }

  /** A value from a cache needs a node that has been in touch with the log. */
  checkSight({ history, name }: Life, what: string): void {
    const { maxBlindMs } = this.setup;
    const blindMs = this.clock.nowMs() - history.contactMs;
    // To the millisecond after it, the values still count.
    if (maxBlindMs !== null && blindMs > maxBlindMs + 1) {
      this.fail(`${what}, though ${name} is blind for ${blindMs} ms`);
    }
  }

  /** Lets everything end that waits for nothing but its turn. */
  async settle(): Promise<void> {
    await settle(24);
  }

  /** A later label is not overwritten by an earlier one, nor by the same load with a longer life. */
  store({ main, hot, validity }: SharedBudget, key: string, store: () => boolean): boolean {
    const find = () => main.peek(key) ?? hot.peek(key);
    const held = find();
    if (held === undefined) return store();
    const { label, freshUntilMs } = held;
    const isStored = store();
    const now = find();
    if (now === undefined || now === held || isNothingHere(now) || isNothingHere(held)) return isStored;
    const { epoch, sequence } = validity.applied;
    const what = `${sayValue(now)} takes the place of ${
      decoder.decode(held.body)
    } (label ${label.epoch}/${label.sequence})`;
    // What is ahead of this node is good by all that it knows.
    const isAhead = label.epoch === epoch && label.sequence > Math.max(sequence, now.label.sequence);
    if (isAhead && validity.pending.length === 0) this.fail(`${what}, which is later`);
    if (numberOf(now) === numberOf(held) && now.freshUntilMs > freshUntilMs) {
      this.fail(`${what}, and lives until ${now.freshUntilMs} instead of ${freshUntilMs}`);
    }
    return isStored;
  }

  take(item: Item, isLost: boolean): void {
    const { network } = this;
    network.items = network.items.filter((one) => one !== item);
    this.say(`${isLost ? "lost: " : ""}${item.what}`);
    if (isLost) item.lose();
    else item.run();
  }
}

/** Why a client leaves. */
export const LEFT = new DOMException("the client has left", "AbortError");

function isLoaded(got: unknown): got is Loaded {
  return typeof got === "object" && got !== null && "value" in got;
}

function bodyOf(name: string, version: number, number: number): Uint8Array<ArrayBuffer> {
  return encoder.encode(`${name}:${version}#${number}`);
}

function numberOf({ body }: Value): number {
  const text = decoder.decode(body);
  return Number(text.slice(text.indexOf("#") + 1));
}

export function sayValue(value: Value): string {
  const { epoch, sequence } = value.label;
  return `${decoder.decode(value.body)} (label ${epoch}/${sequence})`;
}

export { sayMessage };
