/** The log of invalidations in JetStream, over changing connections. Its faults do not affect the list of peers. */
import type { NatsConnection } from "nats";
import type { Random } from "../../core/base/time/backoff.ts";
import type { Log } from "../../core/base/log.ts";
import { SayOnce } from "../../core/base/logs/say-once.ts";
import { pause } from "../../core/base/time/timeout.ts";
import { UnavailableError } from "../../core/errors.ts";
import { BLIND, type Label } from "../../core/invalidation/label.ts";
import type { InvalidationLog, LogFollower } from "../../core/invalidation/log.ts";
import { withAdvice } from "../advice.ts";
import { LogReader, type Telling } from "./log-reader.ts";
import type { Seal } from "../seal.ts";
import { logPrefix, type LogState, LogStream, logStreamName, type LogStreamOptions } from "./log-stream.ts";

export interface NatsLogOptions extends Omit<LogStreamOptions, "requestTimeoutMs"> {
  readonly log: Log;
  /** How often the reader is compared with the stream, in ms, plus or minus a fifth. */
  readonly logCheckIntervalMs: number;
  readonly random: Random;
  readonly seal: Seal;
}

/**
 * After so many failed checks in a row invalidations count as away. Chosen: one may fail while the stream chooses a
 * leader.
 */
const MAX_FAILED_CHECKS = 2;
/** The most reasons to log per outage, as some are texts of a server. Chosen. */
const MAX_REASONS = 8;

/** The state of one connection. */
interface Session {
  readonly connection: NatsConnection;
  readonly requestTimeoutMs: number;
  log?: LogStream;
  reader?: LogReader;
  /** The last seen life of the stream. */
  epoch?: number;
  /** Ends the wait for the next check. */
  hurry: AbortController;
  isOver: boolean;
}

/** The log of one node. It borrows connections. */
export class NatsLog implements InvalidationLog {
  readonly #options: NatsLogOptions;
  /** The logged reasons why invalidations are away now while NATS is not. */
  readonly #reasons: SayOnce;
  #isSaid = false;
  #told: Told | undefined;
  #session: Session | undefined;
  #saidDifference: string | undefined;
  #isClosed = false;

  constructor(options: NatsLogOptions) {
    this.#options = options;
    this.#reasons = new SayOnce({ clock: options.clock, maxSaid: MAX_REASONS });
  }

  followLog(follower: LogFollower): void {
    if (this.#told !== undefined) throw new TypeError("Cannot follow the log twice");
    this.#told = new Told(follower);
    if (this.#session !== undefined) void this.#attend(this.#session, this.#told);
  }

  async publish(group: string, data: Uint8Array): Promise<Label> {
    const { log, epoch, hurry } = this.#session ?? {};
    if (log === undefined || epoch === undefined) {
      throw new UnavailableError("not connected to NATS: nothing was invalidated", { isAmbiguous: false });
    }
    try {
      return { epoch, sequence: await log.publish(group, this.#sealed(group, data), epoch) };
    } catch (error) {
      // The stream may be gone; the next look makes it again.
      hurry?.abort();
      throw error;
    }
  }

  #sealed(group: string, data: Uint8Array): Uint8Array {
    return this.#options.seal.sign(logPrefix(this.#options.bucket) + group, data);
  }

  async catchUp(): Promise<void> {
    const session = this.#session;
    try {
      await session?.reader?.look();
    } catch {
      session?.hurry.abort();
    }
  }

  /** Uses a connection until `detach`. @param requestTimeoutMs how long a question over it may take */
  attach(connection: NatsConnection, requestTimeoutMs: number): void {
    if (this.#isClosed) return;
    const session = this.#session = { connection, requestTimeoutMs, hurry: new AbortController(), isOver: false };
    if (this.#told !== undefined) void this.#attend(session, this.#told);
  }

  /** To be called when the connection is lost or none was found. */
  detach(): void {
    const session = this.#session;
    this.#session = undefined;
    if (session !== undefined) {
      session.isOver = true;
      session.reader?.close();
      session.hurry.abort();
    }
    this.#told?.away();
  }

  /** Stops calling the follower. */
  close(): void {
    this.#isClosed = true;
    this.#told?.close();
    this.detach();
  }

  /** Looks again and again until the session ends. Never rejects. */
  async #attend(session: Session, told: Told): Promise<void> {
    const { clock, logCheckIntervalMs, random } = this.#options;
    let failed = 0;
    while (!session.isOver) {
      try {
        session.reader ??= await this.#open(session, told);
        await session.reader.look();
        failed = 0;
        if (!session.isOver) this.#setBack();
      } catch (error) {
        failed++;
        if (!session.isOver && (session.epoch === undefined || failed >= MAX_FAILED_CHECKS)) this.#setAway(error, told);
      }
      if (session.isOver) return;
      const isUrgent = session.hurry.signal.aborted || failed === 1;
      session.hurry = new AbortController();
      const restMs = (isUrgent ? logCheckIntervalMs / 10 : logCheckIntervalMs) * (0.8 + 0.4 * random());
      await pause(clock, restMs, session.hurry.signal);
    }
  }

  async #open(session: Session, told: Told): Promise<LogReader> {
    const { bucket, clock, seal } = this.#options;
    const { connection, requestTimeoutMs } = session;
    const log = session.log = await LogStream.over(connection, { ...this.#options, requestTimeoutMs });
    const onState = (state: LogState): void => {
      session.epoch = state.epoch;
      this.#sayDifference(state.difference);
    };
    const onDoubt = () => session.hurry.abort();
    const reader = new LogReader({ log, prefix: logPrefix(bucket), seal, clock, told, onState, onDoubt });
    if (session.isOver) reader.close();
    return reader;
  }

  /** Logs the outage: the list of peers may work although the stream cannot be made or read (other rights, or no room). */
  #setAway(error: unknown, told: Told): void {
    const reason = withAdvice(error instanceof Error ? error.message : String(error));
    if (this.#reasons.isNews(reason)) {
      this.#isSaid = true;
      this.#options.log.warn(`invalidations are away: ${reason}`, { stream: this.#stream }, { reason });
    }
    told.away();
  }

  #setBack(): void {
    this.#reasons.forget();
    if (this.#isSaid) this.#options.log.info("invalidations are back", { stream: this.#stream });
    this.#isSaid = false;
  }

  /** Logs other settings, as somebody else may have made or changed the stream. */
  #sayDifference(difference: string | undefined): void {
    if (difference !== undefined && difference !== this.#saidDifference) {
      const stream = this.#stream;
      this.#options.log.warn(`the stream ${stream} is not as it should be: ${difference}`, {}, { stream, difference });
    }
    this.#saidDifference = difference;
  }

  get #stream(): string {
    return logStreamName(this.#options.bucket);
  }
}

/** Passes calls on to the follower, remembers its progress, and reports once that the log is away. */
class Told implements Telling {
  label: Label = BLIND;
  #follower: LogFollower | undefined;
  #isAway = false;

  constructor(follower: LogFollower) {
    this.#follower = follower;
  }

  restart(label: Label): void {
    this.label = label;
    this.#follower?.restart(label);
  }

  take(sequence: number, group: string, data: Uint8Array, ageMs?: number): void {
    this.label = { epoch: this.label.epoch, sequence };
    this.#follower?.take(sequence, group, data, ageMs);
  }

  pass(sequence: number): void {
    this.label = { epoch: this.label.epoch, sequence };
  }

  settled(sequence: number, askedAtMs: number): void {
    this.#isAway = false;
    this.#follower?.settled(sequence, askedAtMs);
  }

  away(): void {
    if (!this.#isAway) this.#follower?.away();
    this.#isAway = true;
  }

  close(): void {
    this.#follower = undefined;
  }
}
