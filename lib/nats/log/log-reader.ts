/**
 * Reads the stream of invalidations over one connection, from where the connection before got. It differs from the reader
 * of the list of peers: history is not read, every message counts, and a missing one is a gap.
 */
import type { Clock } from "../../core/base/clock.ts";
import { UnavailableError } from "../../core/errors.ts";
import type { LogFollower } from "../../core/invalidation/log.ts";
import { areSame, type Label } from "../../core/invalidation/label.ts";
import { Lookout } from "../stream/lookout.ts";
import { epochOf, type LogState, type LogStream } from "./log-stream.ts";
import type { Seal } from "../seal.ts";
import type { StreamMessage } from "../stream/stream.ts";

/** Every message of the stream, also one under a subject that somebody has added: its number counts. */
const ALL = ">";

/** What was told so far; it outlives the connections. */
export interface Telling extends LogFollower {
  /** The last that was told. */
  readonly label: Label;
  /** The next message is none of ours: the follower hears of it by the next `settled`. */
  pass(sequence: number): void;
}

export interface LogReaderOptions {
  readonly log: LogStream;
  /** What stands before the name of the group in a subject. */
  readonly prefix: string;
  readonly seal: Seal;
  readonly clock: Clock;
  readonly told: Telling;
  /** What each look finds. */
  readonly onState: (state: LogState) => void;
  /** A look failed: another is wanted soon. */
  readonly onDoubt: () => void;
}

/** What comes into the stream, over one connection. */
export class LogReader {
  readonly #options: LogReaderOptions;
  readonly #lookout: Lookout;
  /** The look in flight. */
  #current: Promise<unknown> = Promise.resolve();
  /** The one that all wait for who came after it was sent. */
  #next: Promise<boolean> | undefined;
  /** The last look found fewer messages than were told. */
  #wasBehind = false;
  #isClosed = false;

  constructor(options: LogReaderOptions) {
    const { log, prefix, clock, onDoubt } = options;
    this.#options = options;
    const look = () => this.look();
    this.#lookout = new Lookout({ stream: log.stream, subject: `${prefix}*`, clock, look, onDoubt });
  }

  /**
   * Asks the leader, and tells what came. Calls while a look is in flight share the next one.
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
      // Both times are the leader's, so that no other clock counts.
      const ageOf = ({ time }: StreamMessage) =>
        serverMs && Math.max(0, serverMs - epochOf(time) / 1_000) + clock.nowMs() - answeredAtMs;
      await log.stream.after(before.sequence, ALL, lastSequence, (message) => this.#take(message, ageOf));
      if (this.#isClosed) return false;
      // Between what was told and the last one, messages were deleted.
      if (told.label.sequence < lastSequence) told.restart({ epoch, sequence: lastSequence });
    }
    told.settled(told.label.sequence, askedAtMs);
    return !areSame(told.label, before);
  }

  /**
   * Whether the stream has lost its last messages, as when its server's machine crashed. A leader that has just lost its
   * place may say so too: only a second answer counts.
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
   * Its next messages would have the numbers of lost ones, and a value that was good up to a lost one would seem to be good
   * after a new one. So the stream is made anew, which all nodes notice.
   *
   * @throws UnavailableError always: the next look makes it
   */
  async #endLife(): Promise<never> {
    const isGone = await this.#options.log.remove();
    const what = isGone ? "it is made anew" : "it must be deleted, which this node may not do";
    throw new UnavailableError(`the stream of invalidations has lost messages: ${what}`);
  }

  /** After a gap it takes nothing more: the messages after it are for the next look, or for nobody. */
  #take(message: StreamMessage, ageOf: (message: StreamMessage) => number | undefined): void {
    const { sequence, subject, data } = message;
    const { told, prefix, seal } = this.#options;
    if (this.#isClosed || sequence !== told.label.sequence + 1) return;
    // One that does not verify is told as such: all nodes move on by it alike.
    if (subject.startsWith(prefix)) {
      told.take(sequence, subject.slice(prefix.length), seal.open(subject, data), ageOf(message));
    } else told.pass(sequence);
  }
}
