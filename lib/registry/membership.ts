/**
 * The peers of each group as this node knows them, and this node's own record among them. Requests never wait for the
 * registry: they read the current roster, and a new one replaces it as a whole.
 */
import type { Random } from "../core/base/time/backoff.ts";
import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { withTimeout } from "../core/base/time/timeout.ts";
import type { NameTakenError } from "../core/errors.ts";
import type { PeerRecord, PeerState, Roster } from "../core/roster.ts";
import { Cleaner } from "./cleaner.ts";
import { type IsAlive, NameGuard } from "./name-guard.ts";
import { Registration } from "./registration.ts";
import { RosterReader } from "./roster-reader.ts";
import { listText, type PeerStore, type View } from "./store/store.ts";

/** The part of a node's record that is about one group. */
export type GroupFacts = Pick<PeerRecord, "policy" | "origin">;

export interface MembershipOptions {
  readonly store: PeerStore;
  /** The groups that this node serves from the start. It is listed in these, and in others only after `addGroup`. */
  readonly groups: readonly string[];
  /** Lists that it reads from the start without being listed in them. @default none */
  readonly watched?: readonly string[];
  /** This node, as it wants to be listed. */
  readonly self: PeerRecord;
  /** Further facts for this node's record in a group. @default none */
  readonly factsOf?: (group: string) => GroupFacts | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /**
   * Whether a node with this record's incarnation answers at its URL. It is asked about a record under this node's
   * name, and about an earlier life of a listed name. Five seconds without an answer, or an error, count as no.
   */
  readonly isAlive: IsAlive;
  /** Why this node must not connect to the URL of a record. Such a record is ignored. @default all are allowed */
  readonly faultOf?: (url: string) => string | undefined;
  /** Called with each roster that differs from the last one in its peers or its revision. */
  readonly onRoster: (roster: Roster) => void;
  /** Called after the first read of a list, and when the registry is found to be away. @default nothing */
  readonly onKnown?: () => void;
  /**
   * Called after `onRoster` for each peer that wrote its record again in the same life, as this proves that it lives.
   *
   * @default nothing
   */
  readonly onWroteAgain?: (record: PeerRecord) => void;
  /** Called before this node writes its record again after it was removed or overwritten. @default nothing */
  readonly onPutBack?: (group: string) => void;
  /** Called whenever `joined(group)` changes. */
  readonly onListed?: (group: string, isListed: boolean) => void;
  /**
   * How long a peer stays listed after its record was lost with the bucket, in milliseconds: it may put itself back.
   *
   * @default 10_000
   */
  readonly lostGraceMs?: number;
  /** @default Math.random */
  readonly random?: Random;
}

/** The most ignored records to report per list. Chosen: the first few show what to repair. */
const MAX_IGNORED_SHOWN = 20;

interface Part {
  /** `undefined`: this node only watches the list. */
  readonly registration: Registration | undefined;
  readonly reader: RosterReader;
  /** Resolves when an earlier removal of the same group has ended; `undefined`: there is none. */
  readonly isFree: Promise<unknown> | undefined;
}

interface Departure {
  readonly over: Promise<"removed" | "absent" | "late">;
  stop(): void;
}

/** This node's membership in all its groups. */
export class Membership {
  /** Resolves if another live node has this node's name at the start. Otherwise it stays pending forever. */
  readonly failed: Promise<NameTakenError>;
  readonly #options: MembershipOptions;
  readonly #failed = Promise.withResolvers<NameTakenError>();
  readonly #guard: NameGuard;
  readonly #cleaner: Cleaner;
  readonly #parts = new Map<string, Part>();
  /** Removals in progress. Each continues until it is known to be done or the group is added again. */
  readonly #departures = new Map<string, Departure>();
  #self: PeerRecord;
  #isStarted = false;
  #isAway = true;
  #isAwaySaid = false;
  #isLeaving = false;
  #isClosed = false;

  /** @throws TypeError for a `self` that other nodes would refuse */
  constructor(options: MembershipOptions) {
    const { store, log, clock, isAlive, self, groups, watched = [] } = options;
    this.#options = options;
    this.#self = self;
    this.failed = this.#failed.promise;
    this.#guard = new NameGuard({ store, clock, isAlive, name: self.name, groups: () => this.#joining });
    const readers = () => [...this.#parts].map(([group, { reader }]) => [group, reader] as const);
    const mayEvict = ({ incarnation }: PeerRecord) =>
      !this.#isAway && !this.#isClosed && incarnation !== self.incarnation;
    this.#cleaner = new Cleaner({ store, log, guard: this.#guard, mayEvict, readers });
    for (const group of groups) this.addGroup(group);
    for (const list of watched) this.watchList(list);
  }

  /** The lists that must contain this node. */
  get #joining(): string[] {
    return [...this.#parts].filter(([, { registration }]) => registration !== undefined).map(([group]) => group);
  }

  /** Joins every group, now or as soon as the registry can be reached, and follows its list. To be called once. */
  start(): void {
    const { store } = this.#options;
    this.#isStarted = true;
    for (const group of this.#parts.keys()) store.follow(group);
    store.watch({
      onView: (view) => this.#show(view),
      onAway: (reason) => this.#setAway(true, reason),
      onBack: () => this.#setAway(false),
    });
  }

  /**
   * Serves one more group: follows its list and, after `start`, joins it. If a removal of the same group is in
   * progress, it ends first. A node that leaves or has left joins no group.
   *
   * @throws TypeError the group is served already, or other nodes would refuse this node's record in it
   */
  addGroup(group: string): void {
    this.#refuseTwice(group);
    const former = this.#departures.get(group);
    const part = this.#part(group, former?.over);
    former?.stop();
    if (this.#isLeaving) part.registration?.close();
    this.#follow(group, part);
  }

  /**
   * Reads one more list without being in it. It removes a record of an earlier life of this node.
   *
   * @throws TypeError the list is read already
   */
  watchList(list: string): void {
    this.#refuseTwice(list);
    this.#follow(list, { registration: undefined, reader: this.#reader(list, undefined), isFree: undefined });
  }

  #refuseTwice(group: string): void {
    if (this.#parts.has(group)) throw new TypeError(`Cannot add the group ${group}: this node has it already`);
  }

  #follow(list: string, part: Part): void {
    this.#parts.set(list, part);
    part.reader.setAway(this.#isAway);
    if (this.#isStarted && !this.#isClosed) this.#options.store.follow(list);
  }

  /**
   * Stops following the group's list, and removes this node's record from it. Resolves to whether the record is known
   * to be gone within `timeoutMs`. A longer removal continues until it is done, even if NATS is away.
   *
   * @throws RangeError the group is not served
   */
  async removeGroup(group: string, timeoutMs: number): Promise<boolean> {
    const { registration, reader, isFree } = this.#of(group);
    const { store, clock, log, onListed } = this.#options;
    const wasJoined = this.joined(group);
    this.#parts.delete(group);
    if (wasJoined) onListed?.(group, false);
    if (this.#isStarted) store.unfollow(group);
    reader.close();
    if (registration === undefined) return true;
    registration.close();
    const ending = new AbortController();
    const over = (async () => {
      await isFree;
      return await registration.depart(ending.signal);
    })();
    const departure = { over, stop: () => ending.abort() };
    this.#departures.set(group, departure);
    void over.then(() => {
      if (this.#departures.get(group) === departure) this.#departures.delete(group);
    });
    const outcome = await withTimeout(clock, timeoutMs, () => over, undefined);
    if (outcome === undefined) {
      log.warn(`could not remove myself from the ${listText(group)} within ${timeoutMs} ms: trying again`, {}, {
        group,
      });
    }
    return outcome === "removed" || outcome === "absent";
  }

  /** Whether this node reads the list: it was added and not removed since. */
  has(group: string): boolean {
    return this.#parts.has(group);
  }

  /** The broken records of all lists and their faults; at most 20 per list. */
  get ignored(): { readonly key: string; readonly fault: string }[] {
    return [...this.#parts.values()].flatMap(({ reader }) => reader.ignored(MAX_IGNORED_SHOWN));
  }

  /** Whether the registry cannot be reached now, or was not reached yet. */
  get isAway(): boolean {
    return this.#isAway;
  }

  /** Whether the registry was tried and cannot be reached now. */
  get isKnownAway(): boolean {
    return this.#isAwaySaid;
  }

  /** Whether this life of the node has read the list. @throws RangeError the list was not added */
  isRead(list: string): boolean {
    return this.#of(list).reader.isRead;
  }

  /**
   * Whether this node is listed in `group` as wanted; while the registry is away, whether it was; for a watched list,
   * whether it was read. False after its record was lost or overwritten, until it is put back: at once the first time,
   * then after 0.5 s, 1 s, 2 s and so on up to 30 s, and at once again after a quiet minute.
   *
   * @throws RangeError the group is not served
   */
  joined(group: string): boolean {
    const { registration, reader } = this.#of(group);
    return registration?.isListed ?? reader.isRead;
  }

  /**
   * To be called when this node and a peer reach each other again. A record of this node that waits to be put back is
   * written now, as the cause of its loss may have ended.
   */
  reachedPeer(): void {
    for (const { registration } of this.#parts.values()) registration?.endRest();
  }

  /** Reads the lists now, as a peer knows something newer. */
  hurry(): void {
    if (!this.#isClosed) this.#options.store.hurry();
  }

  /**
   * The current list. Before the first answer of the registry: this node alone at revision 0.
   *
   * @throws RangeError the group is not served
   */
  roster(group: string): Roster {
    return this.#of(group).reader.roster;
  }

  /**
   * Changes this node's state in every group. Resolves to whether the lists had it within `timeoutMs`. If not, it follows
   * later: the registry is away, or the record was just evicted and must wait to be written again.
   */
  async setState(state: PeerState, timeoutMs: number): Promise<boolean> {
    this.#self = { ...this.#self, state };
    const changes = [...this.#parts].map(([group, { registration }]) =>
      registration?.change(this.#recordFor(group), timeoutMs) ?? true
    );
    return (await Promise.all(changes)).every((isDone) => isDone);
  }

  /**
   * Removes this node from every list, and never puts it back. Resolves to whether it is known to be out of all lists
   * within `timeoutMs`. New rosters still come until `close`.
   */
  async leave(timeoutMs: number): Promise<boolean> {
    this.#isLeaving = true;
    const isOut = ({ over }: Departure) => withTimeout(this.#options.clock, timeoutMs, () => over, "late" as const);
    const removals = [...this.#departures.values()].map(async (departure) => await isOut(departure) !== "late");
    const leaves = [...this.#parts.values()].map(({ registration }) => registration?.leave(timeoutMs) ?? true);
    return (await Promise.all([...leaves, ...removals])).every((isGone) => isGone);
  }

  /**
   * Removes this life of a dead peer from every list of this node. Each record is deleted at the revision at which the
   * roster was read, so a record that came back or changed in between survives.
   *
   * @returns whether this call removed all its records for certain. False at once for this node itself, for an unlisted
   * peer, and while the registry is away. Also false for a lost race (the peer came back, or another node was faster)
   * and for a lost answer: the next roster shows the outcome. Never rejects.
   */
  evict(record: PeerRecord): Promise<boolean> {
    return this.#cleaner.evict(record);
  }

  /**
   * Removes earlier lives of a peer that answered in a later one: the peer came back after a crash without some of its
   * groups. No node probes an earlier life, as all connections are to the latest. Never rejects.
   */
  evictEarlierLives(record: PeerRecord): Promise<void> {
    return this.#cleaner.evictEarlierLives(record);
  }

  /** Ends everything and closes the store. A record that is still listed stays. Never throws. */
  async close(): Promise<void> {
    this.#isLeaving = this.#isClosed = true;
    for (const { registration, reader } of this.#parts.values()) {
      registration?.close();
      reader.close();
    }
    for (const departure of this.#departures.values()) departure.stop();
    await this.#options.store.close();
  }

  #show(view: View): void {
    const part = this.#parts.get(view.group);
    if (part === undefined || this.#isClosed) return;
    const { reader, registration, isFree } = part;
    const wasRead = reader.isRead;
    reader.apply(view);
    if (!wasRead) this.#options.onKnown?.();
    if (registration === undefined) return this.#watched(view.group, reader, wasRead);
    // Read the list before this node adds itself: a listed node is asked for keys and must know which peers to ask.
    if (registration.isStarted) registration.observe(view);
    else if (isFree === undefined) registration.start();
    else void isFree.then(() => registration.start());
  }

  /**
   * This node's earlier life may have served a group that it now only asks for. No other node may be there to remove
   * that record.
   */
  #watched(list: string, reader: RosterReader, wasRead: boolean): void {
    if (!wasRead) this.#options.onListed?.(list, true);
    if (!this.#isAway && !this.#isLeaving) void this.#cleaner.evictEarlierLifeIn(list, reader, this.#self);
  }

  #reader(group: string, self: PeerRecord | undefined): RosterReader {
    const { clock, log, onRoster, onWroteAgain, faultOf, lostGraceMs = 10_000 } = this.#options;
    return new RosterReader({ group, self, clock, log, lostGraceMs, faultOf, onRoster, onWroteAgain });
  }

  #part(group: string, isFree: Promise<unknown> | undefined): Part {
    const { store, clock, log, onListed, onPutBack, random = Math.random } = this.#options;
    const self = this.#recordFor(group);
    const registration = new Registration(self, {
      group,
      store,
      clock,
      log,
      random,
      guard: this.#guard,
      isAddedLater: this.#isStarted,
      mayStand: isFree !== undefined,
      isAway: () => this.#isAway,
      onNameTaken: (error) => this.#failed.resolve(error),
      onPutBack: () => onPutBack?.(group),
      onListed: (isListed) => {
        // The removal of a group calls `onListed` itself.
        if (this.#parts.get(group)?.registration === registration) onListed?.(group, isListed);
      },
    });
    return { registration, reader: this.#reader(group, self), isFree };
  }

  /**
   * Writes this node's record in a group again after its facts changed. Resolves to whether this is known to be done.
   *
   * @throws RangeError this node is not in the group
   */
  async relist(group: string, timeoutMs: number): Promise<boolean> {
    const registration = this.#parts.get(group)?.registration;
    if (registration === undefined) {
      throw new RangeError(`Cannot relist this node in ${group}: it is not in that group`);
    }
    return await registration.change(this.#recordFor(group), timeoutMs);
  }

  #recordFor(group: string): PeerRecord {
    return { ...this.#self, ...this.#options.factsOf?.(group) };
  }

  #setAway(isAway: boolean, reason = ""): void {
    if (this.#isClosed) return;
    const { log } = this.#options;
    this.#isAway = isAway;
    if (isAway) log.warn(`NATS is away (${reason}): serving with the last peer list, and trying again`, {}, { reason });
    else if (this.#isAwaySaid) log.info("NATS is here: following the peer lists");
    this.#isAwaySaid = isAway;
    if (isAway) this.#options.onKnown?.();
    for (const [list, { registration, reader }] of this.#parts) {
      reader.setAway(isAway);
      if (isAway) continue;
      if (registration === undefined) this.#watched(list, reader, true);
      else registration.hurry();
    }
  }

  #of(group: string): Part {
    const part = this.#parts.get(group);
    if (part === undefined) throw new RangeError(`Cannot tell about the group ${group}: this node does not serve it`);
    return part;
  }
}
