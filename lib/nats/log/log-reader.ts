/**
 * Reads the stream of invalidations over one connection, from where the former connection ended. Unlike the reader of
 * the list of peers, it reads no history, every message counts, and a missing one is a gap.
 */
import type { Clock } from "../../core/base/clock.ts";
import { UnavailableError } from "../../core/errors.ts";
import type { LogFollower } from "../../core/invalidation/log.ts";
import { areSame, type Label } from "../../core/invalidation/label.ts";
import { Lookout } from "../stream/lookout.ts";
import { epochOf, type LogState, type LogStream } from "./log-stream.ts";
import type { Seal } from "../seal.ts";
import type { StreamMessage } from "../stream/stream.ts";

/** Every message of the stream, even under a subject that somebody added, as its number counts. */
const ALL = ">";

/** The progress of the follower; it outlives the connections. */
export interface Telling extends LogFollower {
  /** The last label that the follower got. */
  readonly label: Label;
  /** The next message is not for groups. The follower learns its number by the next `settled`. */
  pass(sequence: number): void;
}

export interface LogReaderOptions {
  readonly log: LogStream;
  /** The part of a subject before the group's name. */
  readonly prefix: string;
  readonly seal: Seal;
  readonly clock: Clock;
  readonly told: Telling;
  /** Called with the result of each look. */
  readonly onState: (state: LogState) => void;
  /** Called when a look failed: another one should follow soon. */
  readonly onDoubt: () => void;
}

/** Reads the stream over one connection. */
export class LogReader {
  readonly #options: LogReaderOptions;
  readonly #lookout: Lookout;
  /** The look in flight. */
  #current: Promise<unknown> = Promise.resolve();
  /** The next look: all callers wait for it that came after the current one was sent. */
  #next: Promise<boolean> | undefined;
  /** Whether the last look found fewer messages than the follower got. */
  #wasBehind = false;
  #isClosed = false;

  constructor(options: LogReaderOptions) {
    const { log, prefix, clock, onDoubt } = options;
    this.#options = options;
    const look = () => this.look();
    this.#lookout = new Lookout({ stream: log.stream, subject: `${prefix}*`, clock, look, onDoubt });
  }

  /**
   * Asks the leader and delivers new messages. Calls during a look share the next one.
   *
   * @returns whether there was news
   * @throws UnavailableError
   */
  look(): Promise<boolean> {
    return this.#next ??= this.#current.then(() => {
      this.#next = undefined;
      const look = this.#look();
      this.#current = look.catch(() => {});
      return look;
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#lookout.close();
  }

  async #look(): Promise<boolean> {
    const { log, told, clock, onState } = this.#options;
    if (this.#isClosed) throw new UnavailableError("closed");
    this.#lookout.listen();
    const before = told.label;
    const askedAtMs = clock.nowMs();
    const state = await log.state();
    const answeredAtMs = clock.nowMs();
    if (this.#isClosed) return false;
    onState(state);
    const { epoch, firstSequence, lastSequence, serverMs } = state;
    const isSameLife = epoch === before.epoch;
    if (isSameLife && this.#isSetBack(state)) return await this.#endLife();
    if (!isSameLife || firstSequence > before.sequence + 1) {
      told.restart({ epoch, sequence: lastSequence });
    } else if (lastSequence > before.sequence) {
      // Both times are from the leader, so that no other clock matters.
      const ageOf = ({ time }: StreamMessage) =>
        serverMs && Math.max(0, serverMs - epochOf(time) / 1_000) + clock.nowMs() - answeredAtMs;
      await log.stream.after(before.sequence, ALL, lastSequence, (message) => this.#take(message, ageOf));
      if (this.#isClosed) return false;
      // Messages between the last delivered one and the last of the stream were deleted.
      if (told.label.sequence < lastSequence) told.restart({ epoch, sequence: lastSequence });
    }
    told.settled(told.label.sequence, askedAtMs);
    return !areSame(told.label, before);
  }

  /**
   * Whether the stream has lost its last messages, for example in a crash of its server's machine. A leader that was
   * just replaced may also answer so, so only a second answer counts.
   *
   * @throws UnavailableError at the first such answer
   */
  #isSetBack({ lastSequence }: LogState): boolean {
    const isBehind = lastSequence < this.#options.told.label.sequence;
    const wasBehind = this.#wasBehind;
    this.#wasBehind = isBehind && !wasBehind;
    if (this.#wasBehind) throw new UnavailableError("the stream of invalidations has fewer messages than before");
    return isBehind;
  }

  /**
   * The next messages would get the numbers of lost ones. Then a value that was good up to a lost message would seem to
   * be good up to a new one. So the stream is made again, which all nodes notice.
   *
   * @throws UnavailableError always: the next look makes the stream
   */
  async #endLife(): Promise<never> {
    const isGone = await this.#options.log.remove();
    const what = isGone ? "it is made again" : "it must be deleted, which this node may not do";
    throw new UnavailableError(`the stream of invalidations has lost messages: ${what}`);
  }

  /** After a gap it takes nothing more. The next look gets the messages after it, if they are still needed. */
  #take(message: StreamMessage, ageOf: (message: StreamMessage) => number | undefined): void {
    const { sequence, subject, data } = message;
    const { told, prefix, seal } = this.#options;
    if (this.#isClosed || sequence !== told.label.sequence + 1) return;
    // A message with a bad signature is delivered as `UNSIGNED`, so that it moves all nodes on alike.
    if (subject.startsWith(prefix)) {
      told.take(sequence, subject.slice(prefix.length), seal.open(subject, data), ageOf(message));
    } else told.pass(sequence);
  }
}
