/**
 * Writes this node's record in one group and keeps it as wanted until the node leaves. Each step reads the key from the
 * leader and decides only by that; after a failure the next step reads again.
 */
import type { Clock } from "../core/base/clock.ts";
import { type NameTakenError, WrongRevisionError } from "../core/errors.ts";
import type { Log } from "../core/base/log.ts";
import type { PeerRecord } from "../core/roster.ts";
import { type Backoff, backoffMs, type Random } from "../core/base/time/backoff.ts";
import { withTimeout } from "../core/base/time/timeout.ts";
import { depart } from "./departure.ts";
import type { NameGuard } from "./name-guard.ts";
import { PutBackPace } from "./put-back-pace.ts";
import { encodeRecord, isSameBytes, recordIn } from "./record.ts";
import { type Entry, keyOf, listText, type PeerStore, type View } from "./store/store.ts";

export interface RegistrationOptions {
  readonly group: string;
  readonly store: PeerStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: Random;
  readonly guard: NameGuard;
  /** Whether the group was added to a running node: another live node under its name there does not end this node. */
  readonly isAddedLater: boolean;
  /** Whether a removal of this node from the group was cut short: its record may still be there. */
  readonly mayStand: boolean;
  /** Whether the store is known to be out of reach, and this was logged. */
  readonly isAway: () => boolean;
  /** Called if another live node had the name when this node came. */
  readonly onNameTaken: (error: NameTakenError) => void;
  /** Called before the record is put back. */
  readonly onPutBack: () => void;
  /** Called when `isListed` has changed. */
  readonly onListed: (isListed: boolean) => void;
}

/** Chosen. */
const RETRY: Backoff = { firstMs: 100, mostMs: 2_000 };
/** How long a view may lag behind an answered write before the leader is asked. Chosen. */
const LAG_MS = 2_000;
/** The most replaced lives to remember. Chosen: two nodes with one name need one. */
const MAX_REPLACED = 16;

/** This node's record in one group. */
export class Registration {
  readonly #options: RegistrationOptions;
  readonly #key: string;
  readonly #ending = new AbortController();
  #wanted: PeerRecord;
  #bytes: Uint8Array;
  #isStarted = false;
  #isRunning = false;
  #isAgain = false;
  #cancelRetry = (): void => {};
  #cancelLagCheck: (() => void) | undefined;
  #failures = 0;
  /** The revision of this node's record, as last read or written; `undefined` while it is not known to be listed. */
  #revision: number | undefined;
  #epoch: string | undefined;
  #hasStood = false;
  /** Whether this loss was logged. Without it each failed attempt would log a line. */
  #isLossSaid = false;
  /** Whether the wanted record changed since it was last listed: the listed one may be this node's former record. */
  #isChanging = false;
  readonly #pace = new PutBackPace();
  /** Whether a lost record waits until it may be put back. */
  #isResting = false;
  /** The revision that an unanswered write of this node replaces. That write may still be applied. */
  #unanswered: number | undefined;
  #saidTaken: number | undefined;
  /** Lives under this node's name with a record that it replaced, and the revision of each; the latest last. */
  readonly #replaced = new Map<string, number>();
  #waiters: (() => void)[] = [];

  /** @throws TypeError other nodes would refuse the record */
  constructor(record: PeerRecord, options: RegistrationOptions) {
    this.#options = options;
    this.#key = keyOf(options.group, record.name);
    this.#wanted = record;
    this.#bytes = encodeRecord(options.group, record);
  }

  get isStarted(): boolean {
    return this.#isStarted;
  }

  /** Whether this node knows that the registry holds its record as wanted. */
  get isListed(): boolean {
    return this.#revision !== undefined;
  }

  /** Joins the group; a second call does nothing. */
  start(): void {
    if (this.#isStarted || this.#ending.signal.aborted) return;
    this.#isStarted = true;
    this.#poke();
  }

  /** Changes the wanted record. Resolves to whether the registry held it within `timeoutMs`. */
  async change(record: PeerRecord, timeoutMs: number): Promise<boolean> {
    this.#wanted = record;
    this.#bytes = encodeRecord(this.#options.group, record);
    this.#setRevision(undefined);
    this.#isChanging = true;
    if (!this.#isStarted || this.#ending.signal.aborted) return false;
    const bytes = this.#bytes;
    const stands = new Promise<void>((resolve) => this.#waiters.push(resolve));
    this.#poke();
    await withTimeout(this.#options.clock, timeoutMs, () => stands, undefined);
    return this.#revision !== undefined && this.#bytes === bytes;
  }

  /** Compares a view with the wanted record. A view may be older than this node's last write or read. */
  observe(view: View): void {
    if (!this.#isStarted) return;
    const isNewBucket = this.#epoch !== undefined && this.#epoch !== view.epoch;
    this.#epoch = view.epoch;
    const own = view.entries.get(this.#key);
    const isBehind = !isNewBucket && this.#revision !== undefined && this.#revision > view.revision;
    if (own !== undefined && isSameBytes(own.value, this.#bytes) && !isBehind) {
      this.#cancelLagCheck?.();
      this.#cancelLagCheck = undefined;
      // The record was seen, so it is listed, even if the answer to the write was lost. A running step decides by itself.
      if (!this.#isRunning) this.#stands(own.revision);
      return;
    }
    if (isBehind) {
      this.#cancelLagCheck ??= this.#options.clock.after(LAG_MS, () => {
        this.#cancelLagCheck = undefined;
        this.#poke();
      });
      return;
    }
    // A key without even a marker may have been left out of a list that is too long. So ask the leader.
    if (isNewBucket || own !== undefined) this.#setRevision(undefined);
    this.#poke();
  }

  /** Ends the wait of a lost record, at most once in a while. */
  endRest(): void {
    if (!this.#isResting || !this.#pace.endRest(this.#options.clock.nowMs())) return;
    this.#poke();
  }

  /** To be called when the store is back: shortens a long wait. */
  hurry(): void {
    if (this.#failures === 0 || this.#isRunning) return;
    this.#later(this.#options.random() * RETRY.firstMs * 5);
  }

  /** Stops putting the record back, even if a write is in flight. */
  close(): void {
    this.#ending.abort();
    this.#cancelRetry();
    this.#cancelLagCheck?.();
    for (const resolve of this.#waiters.splice(0)) resolve();
  }

  /** Removes the record before the node exits. Resolves to whether it is known to be gone within `timeoutMs`. */
  async leave(timeoutMs: number): Promise<boolean> {
    const { clock, group, log } = this.#options;
    const late = new AbortController();
    const outcome = await withTimeout(clock, timeoutMs, () => this.depart(late.signal, " before exiting"), "late");
    late.abort();
    if (outcome === "late") {
      log.warn(`could not remove myself from the ${listText(group)} within ${timeoutMs} ms`, {}, { group });
    }
    return outcome !== "late";
  }

  /** Removes the record, and tries again until it is known to be gone or `late` is aborted. Never puts it back. */
  async depart(late: AbortSignal, why = ""): Promise<"removed" | "absent" | "late"> {
    const { store, clock, random, group, log, mayStand } = this.#options;
    this.close();
    if (!this.#isStarted && !mayStand) return "absent";
    const outcome = await depart({
      store,
      key: this.#key,
      clock,
      random,
      hasStood: this.#hasStood,
      isOurs: (entry) => this.#ownerOf(entry)?.incarnation === this.#wanted.incarnation,
      unanswered: () => this.#unanswered,
    }, late);
    this.#setRevision(undefined);
    if (outcome === "removed") log.info(`removed myself from the ${listText(group)}${why}`, {}, { group });
    return outcome;
  }

  #poke(): void {
    if (!this.#isStarted || this.#ending.signal.aborted) return;
    this.#cancelRetry();
    if (this.#isRunning) {
      this.#isAgain = true;
      return;
    }
    this.#isRunning = true;
    this.#reconcile().finally(() => {
      this.#isRunning = false;
      if (this.#isAgain) this.#poke();
    });
  }

  #later(delayMs: number): void {
    this.#cancelRetry();
    this.#cancelRetry = this.#options.clock.after(delayMs, () => this.#poke());
  }

  async #reconcile(): Promise<void> {
    this.#isAgain = false;
    try {
      await this.#step();
      this.#failures = 0;
    } catch (error) {
      if (this.#ending.signal.aborted) return;
      // After a lost race decide again soon. While the store is away the waits grow.
      const { group, log, random, isAway } = this.#options;
      this.#later(backoffMs(this.#failures++, RETRY, random));
      // A short trouble is not worth a line, and an outage is logged elsewhere.
      if (this.#failures === 5 && !isAway()) {
        const reason = (error as Error).message;
        log.warn(`still cannot list myself in ${group}, trying again: ${reason}`, {}, { group, reason });
      }
    }
  }

  async #step(): Promise<void> {
    const { store, clock, random } = this.#options;
    const entry = await store.read(this.#key);
    if (this.#ending.signal.aborted) return;
    if (isSameBytes(entry.value, this.#bytes)) return this.#stands(entry.revision);
    const owner = this.#ownerOf(entry);
    const isOurs = owner?.incarnation === this.#wanted.incarnation;
    const isOwnChange = this.#isChanging && isOurs;
    if (!isOwnChange) {
      this.#setRevision(undefined);
      const restMs = this.#hasStood ? this.#pace.restMs(clock.nowMs(), random) : 0;
      this.#isResting = restMs > 0;
      if (restMs > 0) return this.#later(restMs);
      const namesake = this.#hasStood ? undefined : await this.#options.guard.elsewhere();
      if (namesake !== undefined) return this.#giveUp(namesake);
      if (owner !== undefined && !(await this.#mayTakeOver(owner, entry.revision))) return;
      if (this.#ending.signal.aborted) return;
      if (this.#hasStood && !this.#isLossSaid) {
        this.#sayPutBack(entry);
        this.#options.onPutBack();
      }
    }
    const bytes = this.#bytes;
    this.#unanswered = entry.revision;
    let revision: number;
    try {
      revision = await store.put(this.#key, bytes, entry.revision);
    } catch (error) {
      if (error instanceof WrongRevisionError) this.#unanswered = undefined;
      throw error;
    }
    this.#unanswered = undefined;
    this.#pace.wrote(clock.nowMs(), this.#hasStood && !isOwnChange);
    if (bytes === this.#bytes) this.#stands(revision);
    else this.#isAgain = true;
  }

  #sayPutBack(entry: Entry): void {
    this.#isLossSaid = true;
    const { log, group } = this.#options;
    const what = entry.value === undefined ? "is gone" : "was overwritten";
    log.warn(`my record in the ${listText(group)} ${what}: putting it back`, { revision: entry.revision }, {
      group,
    });
  }

  /** Whether the record under this node's key may be replaced: it is this node's own, or no live node has it. */
  async #mayTakeOver(record: PeerRecord, revision: number): Promise<boolean> {
    if (record.incarnation === this.#wanted.incarnation) return true;
    const { log, group, guard, isAddedLater } = this.#options;
    const standing = { group, record, revision };
    const takenMs = guard.takenMs(standing);
    if (takenMs > 0) {
      this.#later(takenMs);
      return false;
    }
    // Only a live node writes a replaced record again, even if this node cannot reach it.
    const isAlive = revision > (this.#replaced.get(record.incarnation) ?? Infinity);
    const error = isAlive ? guard.liveNode(standing) : await guard.objection(standing, this.#wanted, this.#hasStood);
    if (this.#ending.signal.aborted) return false;
    const { name, url, incarnation } = record;
    const fields = { group, name, url, incarnation, revision };
    if (error === undefined) {
      this.#noteReplaced(incarnation, revision);
      log.info(`taking over the record of an earlier ${name} in the ${listText(group)}`, {}, fields);
      return true;
    }
    if (!this.#hasStood && !isAddedLater) {
      this.#giveUp(error);
      return false;
    }
    // The other node came while this node was cut off. Do not overwrite its record: two nodes would overwrite each
    // other forever.
    if (this.#saidTaken !== revision) log.error(error.message, {}, fields);
    this.#saidTaken = revision;
    this.#later(guard.takenMs(standing));
    return false;
  }

  #noteReplaced(incarnation: string, revision: number): void {
    const [oldest] = this.#replaced.keys();
    if (this.#replaced.size >= MAX_REPLACED) this.#replaced.delete(oldest!);
    this.#replaced.set(incarnation, revision);
  }

  #setRevision(revision: number | undefined): void {
    const wasListed = this.isListed;
    this.#revision = revision;
    if (this.isListed !== wasListed) this.#options.onListed(this.isListed);
  }

  #giveUp(error: NameTakenError): void {
    if (!this.#ending.signal.aborted) this.#options.onNameTaken(error);
    this.close();
  }

  /** The peer in the entry; `undefined` for no bytes or an invalid record. */
  #ownerOf(entry: Entry): PeerRecord | undefined {
    return entry.value === undefined ? undefined : recordIn(this.#options.group, this.#key, entry.value);
  }

  #stands(revision: number): void {
    if (this.#ending.signal.aborted) return;
    const { group, log } = this.#options;
    const isNews = this.#revision !== revision;
    this.#isChanging = false;
    this.#isLossSaid = false;
    this.#setRevision(revision);
    if (this.#unanswered !== undefined && this.#unanswered < revision) this.#unanswered = undefined;
    for (const resolve of this.#waiters.splice(0)) resolve();
    if (!isNews) return;
    const state = this.#wanted.state === "serving" ? "" : ` as ${this.#wanted.state}`;
    const { name, url, incarnation } = this.#wanted;
    const fields = { group, revision, name, url, incarnation, state: this.#wanted.state };
    log.info(`added myself to the ${listText(group)}${state} (revision ${revision})`, {}, fields);
    this.#hasStood = true;
  }
}
