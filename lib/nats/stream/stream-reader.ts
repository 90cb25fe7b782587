/**
 * Follows some subjects of a JetStream stream. Level-triggered: every look asks the leader what came after the last known
 * message, so a missed event does no harm. Three things start a look:
 *
 * - a bell: a plain subscription to the same subjects, which tells nothing but "look";
 * - a few looks after each bell, since a bell rings before its message is stored;
 * - a check every few seconds, which compares the stream's own figures and also finds purges and a stream made anew.
 *
 * No JetStream consumer is used. A consumer lives on one server of a cluster and dies silently with it, and NATS may place
 * new ones on a dead server for 10 s and more.
 */
import type { StreamInfo } from "nats";
import type { Clock } from "../../core/base/clock.ts";
import { Lookout } from "./lookout.ts";
import type { NatsStream, StreamMessage } from "./stream.ts";

/** What becomes of the messages of one subject. */
export interface Follower {
  /** All messages will be given again, from the first on: `epoch` names this life of the stream. */
  begin(epoch: string): void;
  /** The next message, in the order of the stream. */
  take(message: StreamMessage): void;
  /** Everything that the leader had when it was asked has been taken. */
  settle(): void;
  /** Whether it holds a message up to `lastSequence` whose subject is not among those that the stream still has. */
  misses(lastSequence: number, subjects: ReadonlySet<string>): boolean;
}

export interface StreamReaderOptions {
  readonly stream: NatsStream;
  readonly clock: Clock;
  /** Names the life of the stream that was just opened: when it was made. */
  readonly epoch: string;
  /** A look failed, or found fewer messages than before: a check is wanted soon. */
  readonly onDoubt: () => void;
}

/** Most rounds of a first read in which the leader names ever newer messages; later ones are news like any other. */
const MOST_ROUNDS = 8;

/** Follows any number of subjects of one stream over one connection. */
export class StreamReader {
  readonly #options: StreamReaderOptions;
  readonly #lines = new Map<string, Line>();
  #epoch: string;
  /** The stream's figures at the last check that found all well. */
  #passed = "";

  constructor(options: StreamReaderOptions) {
    this.#options = options;
    this.#epoch = options.epoch;
  }

  /**
   * Reads everything under the subject, then follows it. A read that fails is tried again by the next check.
   *
   * @throws TypeError the subject is followed already
   */
  follow(subject: string, follower: Follower): void {
    if (this.#lines.has(subject)) throw new TypeError(`Cannot follow ${subject} twice`);
    const line = new Line(subject, follower, this.#options);
    this.#lines.set(subject, line);
    line.first = line.readAll(this.#epoch);
    line.first.catch(this.#options.onDoubt);
  }

  /** Nothing more is given to its follower from now on. */
  unfollow(subject: string): void {
    this.#lines.get(subject)?.close();
    this.#lines.delete(subject);
  }

  /**
   * Resolves when every subject that is followed now has been read once.
   *
   * @throws UnavailableError
   */
  async whole(): Promise<void> {
    await Promise.all([...this.#lines.values()].map((line) => line.first));
  }

  /**
   * Compares the stream with the messages that were read, and reads new or doubtful ones. Without a change since the last
   * check this is one small question; the subjects, which may be thousands, are listed only after a change.
   *
   * @throws UnavailableError
   */
  async check(): Promise<void> {
    const { stream } = this.#options;
    const lines = [...this.#lines.values()];
    await Promise.all(lines.map((line) => line.isIdle));
    const figures = figuresOf(await stream.info());
    if (lines.length === 0 || (figures === this.#passed && lines.every((line) => line.isWhole))) return;
    // Taken before the question: what a bell brings meanwhile may be newer than the answer.
    const known = lines.map((line) => line.sequence);
    const info = await stream.info(lines.length === 1 ? lines[0]!.subject : ">");
    const subjects = new Set(Object.keys(info.state.subjects ?? {}));
    this.#epoch = String(info.created);
    await Promise.all(lines.map((line, index) => line.check(info, subjects, known[index]!)));
    this.#passed = figuresOf(info);
  }

  close(): void {
    for (const subject of [...this.#lines.keys()]) this.unfollow(subject);
  }
}

/** Changes with every write, delete and purge. */
function figuresOf({ created, state }: StreamInfo): string {
  return [created, state.first_seq, state.last_seq, state.messages, state.num_deleted ?? 0].join(" ");
}

/** One subject: a name or a pattern. */
class Line {
  readonly subject: string;
  first: Promise<void> = Promise.resolve();
  readonly #follower: Follower;
  readonly #options: StreamReaderOptions;
  /** The life of the stream in which everything was read; `undefined`: not everything was. */
  #epoch: string | undefined;
  /** Of the last message that was taken. */
  #sequence = 0;
  /** Reads come one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #lookout: Lookout;
  #isClosed = false;

  constructor(subject: string, follower: Follower, options: StreamReaderOptions) {
    this.subject = subject;
    this.#follower = follower;
    this.#options = options;
    this.#lookout = new Lookout({ ...options, subject, look: () => this.#look() });
  }

  get isWhole(): boolean {
    return this.#epoch !== undefined;
  }

  /** Resolves when no read is in flight. */
  get isIdle(): Promise<unknown> {
    return this.#turn;
  }

  get sequence(): number {
    return this.#sequence;
  }

  /** Takes everything from the first message on. @throws UnavailableError */
  readAll(epoch: string): Promise<void> {
    return this.#inTurn(async () => {
      this.#epoch = undefined;
      this.#sequence = 0;
      this.#lookout.listen();
      this.#follower.begin(epoch);
      // A key that is written while it is read moves to the end: only a round that finds nothing has seen all.
      for (let round = 0; round < MOST_ROUNDS; round++) if (!await this.#catchUp()) break;
      if (this.#isClosed) return;
      this.#epoch = epoch;
      this.#follower.settle();
    });
  }

  /**
   * Reads new messages, or everything if the stream's figures or subjects contradict the messages that are held.
   *
   * @param known the last sequence that was taken before `info` was asked for
   * @throws UnavailableError
   */
  async check(info: StreamInfo, subjects: ReadonlySet<string>, known: number): Promise<void> {
    const { created, state: { last_seq: lastSequence } } = info;
    const isDoubtful = this.#epoch !== String(created) || lastSequence < known ||
      this.#follower.misses(lastSequence, subjects);
    if (isDoubtful) await this.readAll(String(created));
    else if (lastSequence > this.#sequence) await this.#look();
  }

  close(): void {
    this.#isClosed = true;
    this.#lookout.close();
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T | undefined> {
    const result = this.#turn.then(() => this.#isClosed ? undefined : work());
    this.#turn = result.catch(() => {});
    return await result;
  }

  /** Whether there was news. */
  async #look(): Promise<boolean> {
    const isNews = await this.#inTurn(async () => {
      if (this.#epoch === undefined) return false;
      const isNews = await this.#catchUp();
      if (isNews && !this.#isClosed) this.#follower.settle();
      return isNews;
    });
    return isNews === true;
  }

  /** One question to the leader, and the messages up to its answer. @throws UnavailableError */
  async #catchUp(): Promise<boolean> {
    const { stream, onDoubt } = this.#options;
    const last = await stream.last(this.subject);
    const lastSequence = last?.sequence ?? 0;
    if (lastSequence < this.#sequence) onDoubt();
    if (last === undefined || lastSequence <= this.#sequence) return false;
    if (lastSequence === this.#sequence + 1) this.#take(last);
    else await stream.after(this.#sequence, this.subject, lastSequence, (message) => this.#take(message));
    return true;
  }

  #take(message: StreamMessage): void {
    if (this.#isClosed || message.sequence <= this.#sequence) return;
    this.#sequence = message.sequence;
    this.#follower.take(message);
  }
}
