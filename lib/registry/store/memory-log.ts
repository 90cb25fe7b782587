/**
 * The log of invalidations for a machine that runs alone (`--nats off`), and a fake JetStream for tests. It obeys the
 * real rules: it passes the same contract suite as a real nats-server.
 */
import type { Clock } from "../../core/base/clock.ts";
import { UnavailableError } from "../../core/errors.ts";
import { BLIND, type Label } from "../../core/invalidation/label.ts";
import type { InvalidationLog, LogFollower } from "../../core/invalidation/log.ts";

interface Message {
  readonly sequence: number;
  readonly group: string;
  readonly data: Uint8Array;
  /** When the log took it, in Unix milliseconds. */
  readonly atMs: number;
}

/** Both chosen: followers get messages within a turn of the event loop, so only tests need more than a few. */
const MAX_MESSAGES = 10_000;
const MAX_BYTES = 16 * 1024 * 1024;

/** The log that the nodes of a machine or a test share in place of a server. Some methods break it on purpose. */
export class MemoryStream {
  readonly #clock: Clock;
  readonly #maxMessages: number;
  readonly #followers = new Set<MemoryLog>();
  #epoch: number;
  #last = 0;
  /** The latest messages, without a gap. */
  #kept: Message[] = [];
  #keptBytes = 0;
  #isAway = false;

  /** @param options.maxMessages how many messages are kept; a follower that lags by more has a gap. @default 10_000 */
  constructor(clock: Clock, { maxMessages = MAX_MESSAGES }: { maxMessages?: number } = {}) {
    this.#clock = clock;
    this.#maxMessages = maxMessages;
    this.#epoch = this.#nowMicros();
  }

  /** Opens this stream for one more node. */
  open(): MemoryLog {
    return new MemoryLog(this, this.#clock);
  }

  get isAway(): boolean {
    return this.#isAway;
  }

  /** The label of the last message. */
  get label(): Label {
    return { epoch: this.#epoch, sequence: this.#last };
  }

  /** The messages after the sequence; `undefined`: some of them are no longer kept. */
  after(sequence: number): readonly Message[] | undefined {
    if (sequence > this.#last || sequence < this.#last - this.#kept.length) return undefined;
    return this.#kept.slice(this.#kept.length - (this.#last - sequence));
  }

  add(group: string, data: Uint8Array): Label {
    this.#kept.push({ sequence: ++this.#last, group, data: data.slice(), atMs: this.#clock.nowMs() });
    this.#keptBytes += data.byteLength;
    while (this.#kept.length > this.#maxMessages || this.#keptBytes > MAX_BYTES) this.#drop();
    this.#tell();
    return this.label;
  }

  enter(follower: MemoryLog): void {
    this.#followers.add(follower);
  }

  exit(follower: MemoryLog): void {
    this.#followers.delete(follower);
  }

  /** Simulates a killed server. */
  goAway(): void {
    this.#isAway = true;
    this.#tell();
  }

  comeBack(): void {
    this.#isAway = false;
    this.#tell();
  }

  /** Simulates a stream that is deleted and made again: another life. */
  lose(): void {
    this.#epoch = Math.max(this.#epoch + 1, this.#nowMicros());
    this.#last = 0;
    this.forget();
  }

  /** Simulates that the oldest messages expired or were purged. @param count @default all */
  forget(count = this.#kept.length): void {
    for (let i = 0; i < count && this.#kept.length > 0; i++) this.#drop();
    this.#tell();
  }

  #drop(): void {
    this.#keptBytes -= this.#kept.shift()!.data.byteLength;
  }

  #tell(): void {
    for (const follower of this.#followers) follower.look();
  }

  #nowMicros(): number {
    return Math.round(this.#clock.nowMs() * 1_000);
  }
}

/** One node's connection to a log in memory. */
export class MemoryLog implements InvalidationLog {
  readonly isLocal = true;
  readonly #stream: MemoryStream;
  readonly #clock: Clock;
  #follower: LogFollower | undefined;
  #told: Label = BLIND;
  #isAway = false;
  #isAnswerLost = false;
  #isClosed = false;
  /** The look that is due. */
  #look: Promise<void> | undefined;
  /** Set while the node lags; resolves when it no longer does. */
  #held: PromiseWithResolvers<void> | undefined;

  constructor(stream: MemoryStream, clock: Clock) {
    this.#stream = stream;
    this.#clock = clock;
  }

  followLog(follower: LogFollower): void {
    if (this.#follower !== undefined) throw new TypeError("Cannot follow the log twice");
    this.#follower = follower;
    this.#stream.enter(this);
    this.look();
  }

  async publish(group: string, data: Uint8Array): Promise<Label> {
    const refused = (reason: string) =>
      new UnavailableError(`${reason}: nothing was invalidated`, { isAmbiguous: false });
    if (this.#isClosed) throw refused("closed");
    if (this.#stream.isAway) throw refused("the log is away");
    const label = this.#stream.add(group, data);
    if (!this.#isAnswerLost) return label;
    this.#isAnswerLost = false;
    throw new UnavailableError("the answer was lost");
  }

  catchUp(): Promise<void> {
    return this.look();
  }

  /** Stops following: the follower is not called from now on. */
  close(): void {
    this.#isClosed = true;
    this.#stream.exit(this);
    this.release();
  }

  /** Makes the follower lag: it is not called until `release`. */
  hold(): void {
    this.#held ??= Promise.withResolvers();
  }

  release(): void {
    this.#held?.resolve();
    this.#held = undefined;
  }

  /** The next message will be added, but its answer lost. */
  loseNextAnswer(): void {
    this.#isAnswerLost = true;
  }

  /** Delivers the messages to the follower a little later, as a network would: the caller finishes first. */
  look(): Promise<void> {
    return this.#look ??= Promise.resolve().then(async () => {
      while (this.#held !== undefined) await this.#held.promise;
      this.#look = undefined;
      if (!this.#isClosed && this.#follower !== undefined) this.#tell(this.#follower);
    });
  }

  #tell(follower: LogFollower): void {
    if (this.#stream.isAway) {
      if (!this.#isAway) follower.away();
      this.#isAway = true;
      return;
    }
    this.#isAway = false;
    const { label } = this.#stream;
    const messages = label.epoch === this.#told.epoch ? this.#stream.after(this.#told.sequence) : undefined;
    this.#told = label;
    if (messages === undefined) follower.restart(label);
    for (const { sequence, group, data, atMs } of messages ?? []) {
      // The follower may have closed it.
      if (this.#isClosed) return;
      follower.take(sequence, group, data, this.#clock.nowMs() - atMs);
    }
    if (!this.#isClosed) follower.settled(label.sequence, this.#clock.nowMs());
  }
}
