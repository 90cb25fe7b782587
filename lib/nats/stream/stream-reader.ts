/**
 * Follows some subjects of a JetStream stream. It is level-triggered: every look asks the leader for the messages after
 * the last known one, so a missed event does no harm. Three things start a look:
 *
 * - a bell: a plain subscription to the same subjects, whose messages only say "look";
 * - a few looks after each bell, as a bell rings before its message is stored;
 * - a check every few seconds, which compares the stream's own figures and also finds purges and a stream that was made again.
 *
 * It uses no JetStream consumer. A consumer lives on one server of a cluster and dies silently with it. For 10 s or
 * more NATS may even place new ones on a dead server.
 */
import type { StreamInfo } from "nats";
import type { Clock } from "../../core/base/clock.ts";
import { Lookout } from "./lookout.ts";
import type { NatsStream, StreamMessage } from "./stream.ts";

/** Receives the messages of one subject. */
export interface Follower {
  /** All messages will come again, from the first on. `epoch` identifies this life of the stream. */
  begin(epoch: string): void;
  /** The next message in the order of the stream. */
  take(message: StreamMessage): void;
  /** All messages that the leader had at the question were taken. */
  settle(): void;
  /** Whether it holds a message up to `lastSequence` with a subject that the stream no longer has. */
  misses(lastSequence: number, subjects: ReadonlySet<string>): boolean;
}

export interface StreamReaderOptions {
  readonly stream: NatsStream;
  readonly clock: Clock;
  /** Identifies the life of the just opened stream, by its creation time. */
  readonly epoch: string;
  /** Called when a look failed or found fewer messages than before: a check should follow soon. */
  readonly onDoubt: () => void;
}

/**
 * The most rounds of a first read, if the leader names newer messages each time. Later messages are ordinary news.
 * Chosen.
 */
const MOST_ROUNDS = 8;

/** Follows several subjects of one stream over one connection. */
export class StreamReader {
  readonly #options: StreamReaderOptions;
  readonly #lines = new Map<string, Line>();
  #epoch: string;
  /** The stream's figures at the last successful check. */
  #passed = "";

  constructor(options: StreamReaderOptions) {
    this.#options = options;
    this.#epoch = options.epoch;
  }

  /**
   * Reads everything under the subject, then follows it. The next check repeats a failed read.
   *
   * @throws TypeError the subject is already followed
   */
  follow(subject: string, follower: Follower): void {
    if (this.#lines.has(subject)) throw new TypeError(`Cannot follow ${subject} twice`);
    const line = new Line(subject, follower, this.#options);
    this.#lines.set(subject, line);
    line.first = line.readAll(this.#epoch);
    line.first.catch(this.#options.onDoubt);
  }

  /** Stops calling the subject's follower. */
  unfollow(subject: string): void {
    this.#lines.get(subject)?.close();
    this.#lines.delete(subject);
  }

  /**
   * Resolves when every subject that is followed now was read once.
   *
   * @throws UnavailableError
   */
  async whole(): Promise<void> {
    await Promise.all([...this.#lines.values()].map((line) => line.first));
  }

  /**
   * Compares the stream with the messages that were read, and reads new or doubtful ones. Without a change since the
   * last check this is one small question. Only after a change it lists the subjects, which may be thousands.
   *
   * @throws UnavailableError
   */
  async check(): Promise<void> {
    const { stream } = this.#options;
    const lines = [...this.#lines.values()];
    await Promise.all(lines.map((line) => line.isIdle));
    const figures = figuresOf(await stream.info());
    if (lines.length === 0 || (figures === this.#passed && lines.every((line) => line.isWhole))) return;
    // Get this before the question, as messages after a bell may be newer than the answer.
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

/** Figures that change with every write, delete and purge. */
function figuresOf({ created, state }: StreamInfo): string {
  return [created, state.first_seq, state.last_seq, state.messages, state.num_deleted ?? 0].join(" ");
}

/** One subject: a name or a pattern. */
class Line {
  readonly subject: string;
  first: Promise<void> = Promise.resolve();
  readonly #follower: Follower;
  readonly #options: StreamReaderOptions;
  /** The life of the stream that was read completely; `undefined`: none yet. */
  #epoch: string | undefined;
  /** The sequence of the last taken message. */
  #sequence = 0;
  /** The last read; reads run one after the other. */
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

  /** Reads everything from the first message on. @throws UnavailableError */
  readAll(epoch: string): Promise<void> {
    return this.#inTurn(async () => {
      this.#epoch = undefined;
      this.#sequence = 0;
      this.#lookout.listen();
      this.#follower.begin(epoch);
      // A key that is written during the read moves to the end, so only a round without news has seen all.
      for (let round = 0; round < MOST_ROUNDS; round++) if (!await this.#catchUp()) break;
      if (this.#isClosed) return;
      this.#epoch = epoch;
      this.#follower.settle();
    });
  }

  /**
   * Reads new messages, or everything if the stream's figures or subjects contradict the held messages.
   *
   * @param known the last sequence taken before the question for `info`
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

  /** Looks once. @returns whether there was news */
  async #look(): Promise<boolean> {
    const isNews = await this.#inTurn(async () => {
      if (this.#epoch === undefined) return false;
      const isNews = await this.#catchUp();
      if (isNews && !this.#isClosed) this.#follower.settle();
      return isNews;
    });
    return isNews === true;
  }

  /** Asks the leader once and reads the messages up to its answer. @throws UnavailableError */
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
