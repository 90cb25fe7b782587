/** This node's position in the log of invalidations, shared by all groups. */
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { SayOnce } from "../base/logs/say-once.ts";
import { Histogram } from "../measure/histogram.ts";
import { BLIND, type Label } from "./label.ts";
import type { InvalidationLog, LogFollower } from "./log.ts";
import { type Invalidation, parseInvalidation } from "./message.ts";

/** A group that receives the messages of the log. */
export interface LogReader {
  /** The node is now at this label. Earlier messages may have been missed, so no earlier value is known to be good. */
  restarted(label: Label): void;
  /** The node's label has moved on. */
  moved(): void;
  /** Called after `moved` if the message at this label is about this group. `undefined`: it cannot be read. */
  told(label: Label, message: Invalidation | undefined, data: Uint8Array): void;
  /** Called at contact with the log, and at its loss. */
  touched(): void;
}

export interface LogPositionOptions {
  readonly clock: Clock;
  /** @default no log: the node's label never moves */
  readonly log?: InvalidationLog;
  /** Gets complaints about messages that cannot be read. */
  readonly say?: Log;
  /** Called when the position has moved. */
  readonly onMoved?: (label: Label) => void;
  /** Called when the log can be read, for the first time or again. */
  readonly onContact?: () => void;
}

/** A caller that waits for a label. */
interface Waiting {
  readonly label: Label;
  readonly resolve: (isReached: boolean) => void;
}

/** The most different complaints about messages to log. Chosen: anybody may publish by hand. */
const MAX_COMPLAINTS = 8;
/** Chosen: about the bound of all flights and asks of a node. */
const MAX_WAITING = 20_000;

/** One node's position in the log. It passes the messages on to the groups. */
export class LogPosition implements LogFollower {
  /** The ages of messages when this node applied them. */
  readonly lag = new Histogram();
  readonly #options: LogPositionOptions;
  readonly #groups = new Map<string, LogReader>();
  readonly #waiting = new Set<Waiting>();
  readonly #complaints: SayOnce;
  /** Everything up to here is applied. Only this class makes such labels, so equal labels are the same object. */
  #label: Label = BLIND;
  /** Whether values labelled before the first contact count as labelled at the start of this life of the log. */
  #keepsBlind = true;
  #isAway = true;
  #contactMs: number;

  constructor(options: LogPositionOptions) {
    this.#options = options;
    const onMore = (count: number) => options.say?.warn(`${count} more invalidations could not be read`, {}, { count });
    this.#complaints = new SayOnce({ clock: options.clock, maxSaid: MAX_COMPLAINTS, onMore });
    this.#contactMs = options.clock.nowMs();
  }

  get label(): Label {
    return this.#label;
  }

  /** Whether the log cannot be reached. Without a log, nothing can be missed. */
  get isAway(): boolean {
    return this.#options.log !== undefined && this.#isAway;
  }

  /** Whether contact to the log can be lost: there is a log, and it is not in this machine's memory. */
  get canBeBlind(): boolean {
    const { log } = this.#options;
    return log !== undefined && log.isLocal !== true;
  }

  /** How long this node has known nothing of the log, in milliseconds. 0 if the log is in this machine's memory. */
  get blindMs(): number {
    return this.canBeBlind ? Math.max(0, this.#options.clock.nowMs() - this.#contactMs) : 0;
  }

  /** @throws TypeError the group is there already */
  add(group: string, reader: LogReader): void {
    if (this.#groups.has(group)) throw new TypeError(`Cannot tell the log to ${group} twice`);
    this.#groups.set(group, reader);
  }

  remove(group: string): void {
    this.#groups.delete(group);
  }

  /** The sequence of a label in this life of the log. -1: it is of another life, so it is before all labels of this one. */
  numberOf({ epoch, sequence }: Label): number {
    if (epoch === this.#label.epoch) return sequence;
    return epoch === 0 && this.#keepsBlind ? 0 : -1;
  }

  /**
   * Whether everything up to the label is applied here. A node that never had contact asks for the current end of the
   * log. A node out of contact does not know that end either, unless it never had contact itself.
   */
  has({ epoch, sequence }: Label): boolean {
    if (epoch === 0) return this.#label.epoch === 0 || !this.isAway;
    return epoch === this.#label.epoch && sequence <= this.#label.sequence;
  }

  /**
   * `true` if the label is applied here. Else it catches up, for at most `timeoutMs`, and resolves to whether it
   * succeeded.
   */
  reach(label: Label, timeoutMs: number): true | Promise<boolean> {
    if (this.has(label)) return true;
    const { clock, log } = this.#options;
    if (log === undefined || this.#waiting.size >= MAX_WAITING) return Promise.resolve(false);
    return new Promise((done) => {
      const resolve = (isReached: boolean): void => {
        cancel();
        this.#waiting.delete(waiting);
        done(isReached);
      };
      const cancel = clock.after(timeoutMs, () => resolve(false));
      const waiting: Waiting = { label, resolve };
      this.#waiting.add(waiting);
      void log.catchUp().then(() => {
        if (this.#isPast(label)) resolve(this.has(label));
      });
    });
  }

  restart(label: Label): void {
    this.#keepsBlind = this.#label.epoch === 0 && label.sequence === 0;
    this.#label = label;
    for (const reader of this.#groups.values()) reader.restarted(label);
    this.#moved();
  }

  take(sequence: number, group: string, data: Uint8Array, ageMs?: number): void {
    if (ageMs !== undefined) this.lag.observe(ageMs);
    this.#move(sequence);
    this.#groups.get(group)?.told(this.#label, this.#parsed(group, sequence, data), data);
    this.#moved();
  }

  settled(sequence: number, askedAtMs: number): void {
    const wasAway = this.#isAway;
    this.#isAway = false;
    this.#contactMs = Math.max(this.#contactMs, askedAtMs);
    if (sequence > this.#label.sequence) {
      this.#move(sequence);
      this.#moved();
    }
    for (const reader of this.#groups.values()) reader.touched();
    if (wasAway) {
      this.#tellWaiting();
      this.#options.onContact?.();
    }
  }

  away(): void {
    this.#isAway = true;
    for (const reader of this.#groups.values()) reader.touched();
  }

  #move(sequence: number): void {
    this.#label = { epoch: this.#label.epoch, sequence };
    for (const reader of this.#groups.values()) reader.moved();
  }

  #tellWaiting(): void {
    for (const { label, resolve } of this.#waiting) {
      if (this.has(label)) resolve(true);
      else if (this.#isPast(label)) resolve(false);
    }
  }

  /** Whether the label is of an earlier life of the log: no node will ever reach it. */
  #isPast({ epoch }: Label): boolean {
    return epoch !== 0 && epoch < this.#label.epoch;
  }

  #moved(): void {
    this.#tellWaiting();
    this.#options.onMoved?.(this.#label);
  }

  /** A message published by hand may be anything. An unreadable one is logged and skipped. */
  #parsed(group: string, sequence: number, data: Uint8Array): Invalidation | undefined {
    try {
      return parseInvalidation(data);
    } catch (error) {
      const reason = (error as Error).message;
      if (this.#complaints.isNews(`${group} ${reason}`)) {
        this.#options.say?.warn(`cannot read invalidation ${sequence} of ${group}: ${reason}`, {}, { group, reason });
      }
      return undefined;
    }
  }
}
