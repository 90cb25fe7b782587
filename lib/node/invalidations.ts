/**
 * Invalidations and writes of one node: puts them into the log, applies them here, and waits for the other nodes if the
 * caller wants that.
 */
import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { SayOnce } from "../core/base/logs/say-once.ts";
import { OverloadedError, PeerError, UnavailableError } from "../core/errors.ts";
import type { Group } from "../core/group/group.ts";
import type { Label } from "../core/invalidation/label.ts";
import type { InvalidationLog } from "../core/invalidation/log.ts";
import { encodeInvalidation, type Invalidation, invalidationOf } from "../core/invalidation/message.ts";
import { LogPosition } from "../core/invalidation/position.ts";
import type { Peer, PeerPicker } from "../core/ports.ts";
import type { PeerRecord } from "../core/roster.ts";
import { type About, PLAIN, type Value } from "../core/value.ts";
import { PeerProgress } from "./peer-progress.ts";
import type { LogFigures } from "../http/figures.ts";
import type { Invalidated, WaitOptions, WrittenValue } from "../http/ports.ts";

/** The part of the connections to other nodes that is needed here. */
export interface Peers {
  /** `undefined`: there is no connection. */
  peer(name: string): Peer | undefined;
  /** The position in the log that each peer has reported. */
  applied(): ReadonlyMap<string, Label>;
  announceApplied(label: Label): void;
}

export interface InvalidationsOptions {
  readonly selfName: string;
  readonly log: InvalidationLog;
  readonly peers: Peers;
  /** The listed peers of a group, including this node. */
  readonly listed: (group: string) => readonly PeerRecord[];
  readonly clock: Clock;
  readonly say: Log;
}

/** The part of a group that writes and changes need. */
export interface ChangedGroup {
  readonly group: Group;
  readonly picker: PeerPicker;
  /** Lifetime of a written value, in milliseconds; null: until it is evicted. */
  readonly ttlMs: number | null;
  /** Whether a lifetime given with a written value comes first. */
  readonly honoursOwnTtl: boolean;
}

/** How long this node may take to apply its own message. Chosen: reading the log takes milliseconds. */
const OWN_APPLY_MS = 1_000;
/**
 * The least time between two announcements of this node's position. Chosen: with n nodes, each change costs n² of them.
 */
const ANNOUNCE_MS = 1_000;
/** The time between two tries to publish pending changes. Chosen. */
const RETRY_PENDING_MS = 1_000;
/** How long a node may take to store a written value, and how many nodes are tried. Chosen. */
const WRITE_TIMEOUT_MS = 2_000;
const MAX_WRITE_TRIES = 3;
/** Shared by all values that were written with their own lifetime. */
const WITH_OWN_TTL: About = Object.freeze({ ...PLAIN, hasOwnLifetime: true });
/** How many peers' progress is kept at a time. Chosen: far more than a cluster has. */
const MAX_PEERS = 4_096;

/** Connects one node with the log, and through it with the other nodes. */
export class Invalidations {
  readonly position: LogPosition;
  readonly #options: InvalidationsOptions;
  readonly #groups = new Map<string, ChangedGroup>();
  readonly #progress = new Map<string, PeerProgress>();
  readonly #outages: SayOnce;
  readonly #ended = new AbortController();
  readonly #left = new Promise<false>((leave) => {
    this.#ended.signal.addEventListener("abort", () => leave(false), { once: true });
  });
  readonly #never = new AbortController().signal;
  #lastDurableMs: number | undefined;
  #lastAppliedByAllMs: number | undefined;
  #isAnnouncing = false;
  #isFlushing = false;

  constructor(options: InvalidationsOptions) {
    const { clock, log, say } = options;
    this.#options = options;
    this.#outages = new SayOnce({ clock, maxSaid: 1 });
    this.position = new LogPosition({
      clock,
      log,
      say,
      onMoved: () => this.#announceSoon(),
      onContact: () => void this.#flush(),
    });
  }

  /** Begins to follow the log. */
  start(): void {
    this.#options.log.followLog(this.position);
  }

  add(changed: ChangedGroup): void {
    this.#groups.set(changed.group.name, changed);
  }

  remove(group: string): void {
    this.#groups.delete(group);
  }

  /**
   * Called when the node leaves. Callers that wait for other nodes get the present result. Nothing is retried from now
   * on.
   */
  close(): void {
    this.#ended.abort();
  }

  /** Called for a peer: catches up to the label, if that is possible in time. */
  async catchUp(label: Label, timeoutMs: number): Promise<Label> {
    await this.position.reach(label, timeoutMs);
    return this.position.label;
  }

  /**
   * Resolves when the message is durable and this node has applied it. With `waitMs` it resolves when all listed peers
   * of the group have applied it too, or that time is over.
   *
   * @throws UnavailableError nothing was invalidated, or (`isAmbiguous`) it may still happen; TypeError the message is
   * over its bounds
   */
  async invalidate(group: string, message: Invalidation, { waitMs }: WaitOptions): Promise<Invalidated> {
    const { log, clock } = this.#options;
    const data = encodeInvalidation(message);
    const sinceMs = clock.nowMs();
    const label = await log.publish(group, data);
    const durableMs = clock.nowMs() - sinceMs;
    this.#lastDurableMs = durableMs;
    const { applied, behind } = await this.#appliedBy(group, label, waitMs);
    const appliedMs = clock.nowMs() - sinceMs;
    if (waitMs > 0 && behind.length === 0) this.#lastAppliedByAllMs = appliedMs;
    return { label, applied, behind, durableMs, appliedMs };
  }

  /**
   * Called when values have changed at their origin. Without the log only this node drops them, and publishes the
   * change when the log is back. Never rejects.
   *
   * @returns the place of the change in the log, if this node has applied it
   */
  async changed(group: string, message: Invalidation, options: WaitOptions): Promise<Label | undefined> {
    const { say, selfName } = this.#options;
    try {
      const { label, applied } = await this.invalidate(group, message, options);
      return applied.includes(selfName) ? label : undefined;
    } catch (error) {
      // The message is over its bounds: invalidate everything, since too much is safe and too little is not.
      if (error instanceof TypeError && !message.all) {
        return this.changed(group, invalidationOf({ all: true }), options);
      }
      const reason = error instanceof Error ? error.message : String(error);
      this.#groups.get(group)?.group.validity.addPending(message);
      if (this.#outages.isNews(group)) {
        say.warn(`cannot tell the others what changed in ${group}: ${reason}; they will hear of it later`, {}, {
          group,
          reason,
        });
      }
      this.#flushLater();
      return undefined;
    }
  }

  /**
   * Sends a value that a change has produced to the key's owner. It replaces no value that is as new. Never rejects: if
   * it fails, the next get is a load.
   */
  async give(name: string, key: string, value: Value): Promise<void> {
    const changed = this.#groups.get(name);
    if (changed === undefined || this.#ended.signal.aborted) return;
    const { group, picker } = changed;
    const owner = picker.pick(key);
    try {
      if (owner === undefined) group.accept([{ key, value }], "");
      else await owner.push(name, [{ key, value }], { signal: this.#ended.signal, timeoutMs: WRITE_TIMEOUT_MS });
    } catch {
      // The owner is unreachable. The next get asks it, or another node in its place.
    }
  }

  /**
   * Takes a place in the log for the key, then stores the value at its owner.
   *
   * @throws UnavailableError as `invalidate`; OverloadedError no node keeps it; PeerError no owner can be reached
   */
  async write(name: string, key: string, written: WrittenValue, options: WaitOptions): Promise<Invalidated> {
    const { clock } = this.#options;
    const { group, ttlMs: groupTtlMs, honoursOwnTtl } = this.#groups.get(name)!;
    const ownTtlMs = honoursOwnTtl ? written.ttlMs : undefined;
    const ttlMs = ownTtlMs ?? groupTtlMs;
    const done = await this.invalidate(name, invalidationOf({ keys: [key] }), options);
    const bornAtMs = clock.nowMs();
    const value: Value = {
      body: written.body,
      contentType: written.contentType,
      loadMs: 0,
      about: ownTtlMs === undefined ? PLAIN : WITH_OWN_TTL,
      label: done.label,
      bornAtMs,
      freshUntilMs: ttlMs === null ? Infinity : bornAtMs + ttlMs,
      staleWhileRevalidateMs: 0,
      staleIfErrorMs: 0,
    };
    // If a later change of the key covers the value, it need not be kept: the write has happened and is over.
    if (!await this.#keep(name, key, value) && !group.validity.isCovered(key, value)) {
      throw new OverloadedError(`no node has room for a value of ${written.body.byteLength} bytes`);
    }
    return done;
  }

  figures(): LogFigures {
    const { position } = this;
    const { epoch, sequence } = position.label;
    const told = [...this.#options.peers.applied()].filter(([, label]) => label.epoch === epoch);
    return {
      epoch,
      applied: sequence,
      blindMs: position.isAway ? position.blindMs : 0,
      lag: position.lag.figures(),
      peers: told.map(([name, label]) => ({ name, behindBy: sequence - label.sequence })),
      ...(this.#lastDurableMs !== undefined && { lastDurableMs: this.#lastDurableMs }),
      ...(this.#lastAppliedByAllMs !== undefined && { lastAppliedByAllMs: this.#lastAppliedByAllMs }),
    };
  }

  /** @param waitMs how long to wait for the other nodes; 0: they are not asked */
  async #appliedBy(
    group: string,
    label: Label,
    waitMs: number,
  ): Promise<{ applied: readonly string[]; behind: readonly string[] }> {
    const { selfName, listed } = this.#options;
    const own = Promise.race([this.position.reach(label, Math.max(OWN_APPLY_MS, waitMs)), this.#left]);
    const others = waitMs === 0 ? [] : listed(group).filter(({ name }) => name !== selfName);
    const answers = [
      own.then((isApplied) => ({ name: selfName, isApplied })),
      ...others.map(async ({ name }) => ({
        name,
        isApplied: await this.#progressOf(name).hasApplied(label, waitMs),
      })),
    ];
    const all = await Promise.all(answers);
    const namesOf = (isWanted: boolean) =>
      all.filter(({ isApplied }) => isApplied === isWanted).map(({ name }) => name);
    return { applied: namesOf(true), behind: namesOf(false) };
  }

  #progressOf(name: string): PeerProgress {
    const { peers, clock } = this.#options;
    if (this.#progress.size >= MAX_PEERS) this.#progress.clear();
    const known = this.#progress.get(name) ?? new PeerProgress(() => peers.peer(name), clock, this.#ended.signal);
    this.#progress.set(name, known);
    return known;
  }

  /** @returns whether the owner keeps it */
  async #keep(name: string, key: string, value: Value): Promise<boolean> {
    const { group, picker } = this.#groups.get(name)!;
    const options = { signal: this.#never, timeoutMs: WRITE_TIMEOUT_MS, isWritten: true };
    let fault: unknown = new PeerError("the owner of the key cannot be reached");
    for (const owner of picker.ranked(key, MAX_WRITE_TRIES)) {
      if (owner === undefined) return group.keepWritten(key, value);
      try {
        return await owner.push(name, [{ key, value }], options) > 0;
      } catch (error) {
        // The next in rank answers in its place.
        fault = error;
      }
    }
    throw fault;
  }

  #announceSoon(): void {
    if (this.#isAnnouncing || this.#ended.signal.aborted) return;
    this.#isAnnouncing = true;
    this.#options.clock.after(ANNOUNCE_MS, () => {
      this.#isAnnouncing = false;
      if (!this.#ended.signal.aborted) this.#options.peers.announceApplied(this.position.label);
    });
  }

  #flushLater(): void {
    this.#options.clock.after(RETRY_PENDING_MS, () => void this.#flush());
  }

  /** Publishes the changes that were made while the log was away. */
  async #flush(): Promise<void> {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    try {
      for (const [name, { group }] of this.#groups) {
        for (const message of group.validity.pending) {
          if (this.#ended.signal.aborted) return;
          const { behind } = await this.invalidate(name, message, { waitMs: 0 });
          if (behind.length > 0) throw new UnavailableError("this node has not applied it yet");
          group.validity.settlePending(message);
        }
      }
      this.#outages.forget();
    } catch {
      if (!this.#ended.signal.aborted) this.#flushLater();
    } finally {
      this.#isFlushing = false;
    }
  }
}
