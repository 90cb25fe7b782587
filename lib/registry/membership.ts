/**
 * Who is in the cluster, as this node knows it, and this node's own place in it. Requests never wait for any of this:
 * they read the roster that stands, and a new one comes whole.
 */
import type { Clock } from "../core/base/clock.ts";
import type { NameTakenError } from "../core/errors.ts";
import type { Log } from "../core/base/log.ts";
import type { PeerRecord, PeerState, Roster } from "../core/roster.ts";
import type { Random } from "../core/base/backoff.ts";
import { Elsewhere } from "./elsewhere.ts";
import { type IsAlive, NameCheck } from "./name-check.ts";
import { Registration } from "./registration.ts";
import { RosterReader } from "./roster-reader.ts";
import { keyOf, type PeerStore } from "./store.ts";

export interface MembershipOptions {
  readonly store: PeerStore;
  /** The groups that this node serves: it is listed in each, and in no other. */
  readonly groups: readonly string[];
  /** This node, as it wants to be listed. */
  readonly self: PeerRecord;
  readonly clock: Clock;
  readonly log: Log;
  /**
   * Whether a node with this record's incarnation answers at its URL. Asked about a record that stands under this node's
   * name, or under one that a later life of its node has as well; five seconds without an answer, or an error, count as no.
   */
  readonly isAlive: IsAlive;
  /** Called with each roster that differs from the one before in its peers or its revision. */
  readonly onRoster: (roster: Roster) => void;
  /** How long a peer stays listed whose record was lost with the bucket, for it to put itself back. @default 10_000 */
  readonly lostGraceMs?: number;
  /** @default Math.random */
  readonly random?: Random;
}

interface Part {
  readonly registration: Registration;
  readonly reader: RosterReader;
  /** Whether those are alive whose name somebody else has as well. */
  readonly namesakes: NameCheck;
  isAsking: boolean;
  /** Of the record that the log tells of as such a one. */
  saidRevision: number | undefined;
}

/** This node's membership in all its groups. */
export class Membership {
  /** Resolves when another live node has this one's name, which only start-up can find. Pending for ever otherwise. */
  readonly failed: Promise<NameTakenError>;
  readonly #options: MembershipOptions;
  readonly #elsewhere: Elsewhere;
  readonly #parts = new Map<string, Part>();
  #self: PeerRecord;
  #isAway = true;
  #isAwaySaid = false;
  #isClosed = false;

  /** @throws TypeError for a `self` that other nodes would refuse */
  constructor(options: MembershipOptions) {
    this.#options = options;
    this.#self = options.self;
    this.#elsewhere = new Elsewhere(options);
    const failed = Promise.withResolvers<NameTakenError>();
    this.failed = failed.promise;
    for (const group of options.groups) this.#parts.set(group, this.#part(group, failed.resolve));
  }

  /** Joins every group, now or as soon as the registry can be reached, and follows their lists. To be called once. */
  start(): void {
    this.#options.store.watch(this.#options.groups, {
      onView: (view) => {
        const part = this.#parts.get(view.group);
        if (part === undefined || this.#isClosed) return;
        part.reader.apply(view);
        // The list is read before this node adds itself: who is listed is asked for keys, and must know whom to ask.
        if (part.registration.isStarted) part.registration.observe(view);
        else part.registration.start();
      },
      onAway: (reason) => this.#setAway(true, reason),
      onBack: () => this.#setAway(false),
    });
  }

  /** Whether the registry cannot be reached at the moment, or was not yet. */
  get isAway(): boolean {
    return this.#isAway;
  }

  /**
   * Whether this node is listed in `group` as it wants to be, for all that is known: while the registry is away, whether
   * it was. False from when its record is seen to be gone or overwritten until it is put back: at once the first time,
   * then after 0.5 s, 1 s, 2 s and so on up to 30 s, and at once again after a quiet minute.
   */
  joined(group: string): boolean {
    return this.#of(group).registration.isListed;
  }

  /** Has the lists looked at now: somebody knows more than they tell. */
  hurry(): void {
    if (!this.#isClosed) this.#options.store.hurry();
  }

  /** The list that stands; before the registry was heard, this node alone at revision 0. */
  roster(group: string): Roster {
    return this.#of(group).reader.roster;
  }

  /**
   * Has this node listed with another state in every group; resolves to whether that was so within `timeoutMs`. When it
   * was not (the registry is away, or the record was just evicted and is not due yet), the state is made up for later,
   * and a record that is put back has it too.
   */
  async setState(state: PeerState, timeoutMs: number): Promise<boolean> {
    this.#self = { ...this.#self, state };
    const changes = [...this.#parts.values()].map(({ registration }) => registration.change(this.#self, timeoutMs));
    return (await Promise.all(changes)).every((isDone) => isDone);
  }

  /**
   * Takes this node out of every list, and puts it back into none from the call on; resolves to whether it is known to
   * be out of all of them within `timeoutMs`. Rosters go on coming until `close`.
   */
  async leave(timeoutMs: number): Promise<boolean> {
    const leaves = [...this.#parts.values()].map(({ registration }) => registration.leave(timeoutMs));
    return (await Promise.all(leaves)).every((isGone) => isGone);
  }

  /**
   * Takes a peer that is dead out of every list of this node in which it stands in this very life. Each record is
   * deleted at the revision that the roster was read at, so one that came back or changed in between survives.
   *
   * @returns whether this call is known to have removed it, everywhere where it stood. False at once for this node
   * itself, for who is not listed, and while the registry is away; false also for a lost race (it came back, or somebody
   * else was faster) and when the answer was lost: the next roster tells. Never rejects.
   */
  async evict(record: PeerRecord): Promise<boolean> {
    if (this.#isAway || this.#isClosed || record.incarnation === this.#self.incarnation) return false;
    const evictions: Promise<boolean>[] = [];
    for (const [group, { reader }] of this.#parts) {
      const revision = reader.revisionOf(record);
      if (revision !== undefined) evictions.push(this.#evictFrom(group, record, revision));
    }
    return evictions.length > 0 && (await Promise.all(evictions)).every((isGone) => isGone);
  }

  /**
   * Takes the earlier lives of a peer, which has answered in this one, out of the lists in which it did not put itself
   * again: it has come back, after a crash, without some of its groups. Nobody polls such a life, as all connections are to
   * the latest. Never rejects.
   */
  async evictEarlierLives(record: PeerRecord): Promise<void> {
    await Promise.all([...this.#parts].map(([group, part]) => this.#evictEarlierLife(group, part, record)));
  }

  /** Ends everything and closes the store; a record that still stands stays. Never throws. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { registration, reader } of this.#parts.values()) {
      registration.close();
      reader.close();
    }
    await this.#options.store.close();
  }

  async #evictEarlierLife(group: string, part: Part, later: PeerRecord): Promise<void> {
    const earlier = part.reader.earlierLife(later);
    if (earlier === undefined || part.isAsking || part.namesakes.takenMs(earlier.revision) > 0) return;
    const { record, revision } = earlier;
    part.isAsking = true;
    // It may be somebody else's, who serves other groups and was given the same name.
    const verdict = await part.namesakes.ask(record, revision);
    part.isAsking = false;
    if (verdict === "free") return void await this.evict(record);
    if (part.saidRevision === revision) return;
    part.saidRevision = revision;
    this.#options.log.warn(`two live nodes are called ${record.name}: ${record.url} of ${group}, and ${later.url}`);
  }

  async #evictFrom(group: string, { name, url }: PeerRecord, revision: number): Promise<boolean> {
    const { store, log } = this.#options;
    try {
      await store.delete(keyOf(group, name), revision);
    } catch {
      return false;
    }
    log.warn(`evicted ${url} from the peer list of ${group} (revision ${revision})`);
    return true;
  }

  #part(group: string, onNameTaken: (error: NameTakenError) => void): Part {
    const { store, clock, log, isAlive, self, onRoster, lostGraceMs = 10_000, random = Math.random } = this.#options;
    return {
      registration: new Registration(self, {
        group,
        store,
        clock,
        log,
        random,
        isAlive,
        isAway: () => this.#isAway,
        namesakeElsewhere: () => this.#elsewhere.look(),
        onNameTaken,
      }),
      reader: new RosterReader({ group, self, clock, log, lostGraceMs, onRoster }),
      namesakes: new NameCheck(clock, isAlive),
      isAsking: false,
      saidRevision: undefined,
    };
  }

  #setAway(isAway: boolean, reason = ""): void {
    if (this.#isClosed) return;
    const { log } = this.#options;
    this.#isAway = isAway;
    if (isAway) log.warn(`NATS is away (${reason}): serving with the last peer list, and trying again`);
    else if (this.#isAwaySaid) log.info("NATS is here: following the peer lists");
    this.#isAwaySaid = isAway;
    for (const { registration, reader } of this.#parts.values()) {
      reader.setAway(isAway);
      if (!isAway) registration.hurry();
    }
  }

  #of(group: string): Part {
    const part = this.#parts.get(group);
    if (part === undefined) throw new RangeError(`Cannot tell about the group ${group}: this node does not serve it`);
    return part;
  }
}
