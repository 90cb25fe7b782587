/** How far this node is in the log of invalidations: the part of it that all groups share. */
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { SayOnce } from "../base/logs/say-once.ts";
import { Histogram } from "../measure/histogram.ts";
import { BLIND, type Label } from "./label.ts";
import type { InvalidationLog, LogFollower } from "./log.ts";
import { type Invalidation, parseInvalidation } from "./message.ts";

/** A group, as the log is told to it. */
export interface LogReader {
  /** The node is at this label, and nothing before it can be vouched for. */
  restarted(label: Label): void;
  /** The node has moved on. */
  moved(): void;
  /** After `moved`: the message there is about this group; `undefined`: it cannot be read. */
  told(label: Label, message: Invalidation | undefined, data: Uint8Array): void;
  /** Contact with the log, or its loss. */
  touched(): void;
}

export interface LogPositionOptions {
  readonly clock: Clock;
  /** @default none: the node is blind for good */
  readonly log?: InvalidationLog;
  /** For messages that cannot be read. */
  readonly say?: Log;
  /** The position has moved. */
  readonly onMoved?: (label: Label) => void;
  /** The log can be read, for the first time or again. */
  readonly onContact?: () => void;
}

/** Who waits for a label. */
interface Waiting {
  readonly label: Label;
  readonly resolve: (isReached: boolean) => void;
}

/** Most different complaints about messages that are told. Chosen: anybody may publish by hand. */
const MAX_COMPLAINTS = 8;
/** Chosen: the bound of all flights and asks of a node is in this range. */
const MAX_WAITING = 20_000;

/** One node's place in the log, and the groups to which the messages go. */
export class LogPosition implements LogFollower {
  /** How long messages had been in the log when they were applied here. */
  readonly lag = new Histogram();
  readonly #options: LogPositionOptions;
  readonly #groups = new Map<string, LogReader>();
  readonly #waiting = new Set<Waiting>();
  readonly #complaints: SayOnce;
  /** How far everything is applied. Only this class makes labels for it, so equal ones are the same object. */
  #label: Label = BLIND;
  /** What was labelled before the first contact counts as being at the start of this life of the log. */
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

  /** Whether the log can get out of touch: there is one, and it is not this machine's own. */
  get canBeBlind(): boolean {
    const { log } = this.#options;
    return log !== undefined && log.isLocal !== true;
  }

  /** For how long nothing is known of the log, in milliseconds: 0 where it is this machine's own. */
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

  /** Where a label is in this life of the log; -1: it is of another life, older than all that counts here. */
  numberOf({ epoch, sequence }: Label): number {
    if (epoch === this.#label.epoch) return sequence;
    return epoch === 0 && this.#keepsBlind ? 0 : -1;
  }

  /**
   * Whether everything up to the label is applied here. A node that has not been in touch with the log asks for what stands
   * in it now: a node that is out of touch does not know that either, unless it has never been in touch itself.
   */
  has({ epoch, sequence }: Label): boolean {
    if (epoch === 0) return this.#label.epoch === 0 || !this.isAway;
    return epoch === this.#label.epoch && sequence <= this.#label.sequence;
  }

  /** `true` when the label is applied here; else this catches up, for `timeoutMs` at most, and tells whether it has. */
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

  /** Of an earlier life of the log: no node will ever come there. */
  #isPast({ epoch }: Label): boolean {
    return epoch !== 0 && epoch < this.#label.epoch;
  }

  #moved(): void {
    this.#tellWaiting();
    this.#options.onMoved?.(this.#label);
  }

  /** A message by hand may be anything. It is passed over, and said. */
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
