/** The stream of invalidations over one connection: makes it if there is none, reads its state, and writes to it. */
import {
  DiscardPolicy,
  ErrorCode,
  type JetStreamClient,
  type JetStreamManager,
  type NatsConnection,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from "nats";
import type { Clock } from "../../core/base/clock.ts";
import { UnavailableError } from "../../core/errors.ts";
import { MAX_MESSAGE_BYTES } from "../../core/invalidation/message.ts";
import { codeOf, NatsStream, NO_STREAM_CODE, unavailable } from "../stream/stream.ts";

export interface LogStreamOptions {
  /** The bucket. The stream's name begins with its name. */
  readonly bucket: string;
  /** The number of servers that keep the stream, if this node makes it. */
  readonly replicas: number;
  /** How long one question to the server may take, in ms. */
  readonly requestTimeoutMs: number;
  readonly clock: Clock;
}

/** The leader's state of the stream. */
export interface LogState {
  /** This life of the stream: its creation time in whole microseconds since 1970. */
  readonly epoch: number;
  /** The first message that it still has; the number after the last one if it has none. */
  readonly firstSequence: number;
  readonly lastSequence: number;
  /** The leader's clock at its answer, in Unix milliseconds; `undefined` before nats-server 2.10. */
  readonly serverMs: number | undefined;
  /** In words, the settings that differ from those that this node would make; `undefined` if none does. */
  readonly difference: string | undefined;
}

/**
 * All chosen: a node that was away for a shorter time misses nothing, and there is room for ten thousand invalidations
 * a minute.
 */
const MAX_AGE_MS = 60 * 60 * 1_000;
const MAX_MESSAGES = 1_000_000;
/** The disk space on each server that keeps it. NATS reserves it, so it must fit on small servers. */
const MAX_BYTES = 256 * 1024 * 1024;
/** The server's code for an existing stream with other settings. */
const IN_USE_CODE = 10058;
/** Codes of nats.js for a message that the server or the client itself refused. */
const REFUSALS: ReadonlySet<unknown> = new Set([
  ErrorCode.NoResponders,
  ErrorCode.PermissionsViolation,
  ErrorCode.MaxPayloadExceeded,
]);

/** The stream's name. */
export function logStreamName(bucket: string): string {
  return `${bucket}-invalidations`;
}

/** The part of a subject before the group's name. */
export function logPrefix(bucket: string): string {
  return `${bucket}.invalidate.`;
}

/** The stream over one connection. */
export class LogStream {
  readonly stream: NatsStream;
  readonly #connection: NatsConnection;
  readonly #js: JetStreamClient;
  readonly #manager: JetStreamManager;
  readonly #options: LogStreamOptions;

  private constructor(connection: NatsConnection, manager: JetStreamManager, options: LogStreamOptions) {
    const { bucket, clock, requestTimeoutMs } = options;
    this.#connection = connection;
    this.#js = connection.jetstream({ timeout: requestTimeoutMs });
    this.#manager = manager;
    this.#options = options;
    this.stream = new NatsStream({ connection, manager, name: logStreamName(bucket), clock, requestTimeoutMs });
  }

  /** Sends no question yet. */
  static async over(connection: NatsConnection, options: LogStreamOptions): Promise<LogStream> {
    const manager = await connection.jetstreamManager({ timeout: options.requestTimeoutMs, checkAPI: false });
    return new LogStream(connection, manager, options);
  }

  /**
   * The stream's state from its leader. Makes the stream if there is none.
   *
   * @throws UnavailableError
   */
  async state(): Promise<LogState> {
    try {
      return this.#stateOf(await this.stream.info());
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    await this.#make();
    return this.#stateOf(await this.stream.info());
  }

  /**
   * Adds a message to this life of the stream. Resolves to its sequence.
   *
   * @throws UnavailableError as `InvalidationLog.publish`
   */
  async publish(group: string, data: Uint8Array, epoch: number): Promise<number> {
    const { bucket, requestTimeoutMs: timeout } = this.#options;
    if (this.#connection.isClosed()) throw refused("not connected to NATS");
    let sequence: number;
    try {
      const expect = { streamName: logStreamName(bucket) };
      sequence = (await this.#js.publish(logPrefix(bucket) + group, data, { timeout, expect })).seq;
    } catch (error) {
      const { code, message } = error as { code?: unknown; message: string };
      if (codeOf(error) !== undefined || REFUSALS.has(code)) throw refused(unavailable(error).message, error);
      throw new UnavailableError(`NATS has not said whether it took the invalidation: ${message}`, { cause: error });
    }
    if (await this.#epochNow() !== epoch) {
      throw new UnavailableError("the stream of invalidations was made again at that moment");
    }
    return sequence;
  }

  /** Asks for the life of the stream, as the acknowledgement of a message does not name it. */
  async #epochNow(): Promise<number> {
    try {
      return epochOf((await this.stream.info()).created);
    } catch (error) {
      const reason = (error as Error).message;
      throw new UnavailableError(`NATS took the invalidation, but does not say as which: ${reason}`, { cause: error });
    }
  }

  /** Deletes the stream. @returns whether NATS did it */
  async remove(): Promise<boolean> {
    try {
      return await this.#manager.streams.delete(logStreamName(this.#options.bucket));
    } catch (error) {
      return isMissing(unavailable(error));
    }
  }

  async #make(): Promise<void> {
    try {
      await this.#manager.streams.add(settings(this.#options));
    } catch (error) {
      if (codeOf(error) !== IN_USE_CODE) throw unavailable(error);
    }
  }

  #stateOf({ created, config, state, ts }: StreamInfo & { readonly ts?: string }): LogState {
    return {
      epoch: epochOf(created),
      firstSequence: state.first_seq,
      lastSequence: state.last_seq,
      serverMs: ts === undefined ? undefined : epochOf(ts) / 1_000,
      difference: differenceOf(config, settings(this.#options)),
    };
  }
}

/**
 * The server's time, such as `2026-01-31T12:00:00.123456789Z`, in whole microseconds since 1970. `Date` has only
 * milliseconds, and within one millisecond a stream may be deleted and made again.
 *
 * @throws UnavailableError it is no such time
 */
export function epochOf(created: unknown): number {
  const parts = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(String(created));
  const secondsMs = parts === null ? NaN : Date.parse(`${parts[1]}${parts[3]}`);
  const micros = secondsMs * 1_000 + Number((parts?.[2] ?? "").padEnd(6, "0").slice(0, 6));
  if (Number.isSafeInteger(micros) && micros > 0) return micros;
  throw new UnavailableError(`NATS does not say when the stream was made, but ${String(created).slice(0, 64)}`);
}

function isMissing(error: unknown): boolean {
  return error instanceof UnavailableError && codeOf(error.cause) === NO_STREAM_CODE;
}

function refused(reason: string, cause?: unknown): UnavailableError {
  return new UnavailableError(`${reason}: nothing was invalidated`, { cause, isAmbiguous: false });
}

function settings({ bucket, replicas }: LogStreamOptions) {
  return {
    name: logStreamName(bucket),
    subjects: [`${logPrefix(bucket)}*`],
    storage: StorageType.File,
    num_replicas: replicas,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    max_age: MAX_AGE_MS * 1e6,
    max_msgs: MAX_MESSAGES,
    max_msgs_per_subject: -1,
    max_bytes: MAX_BYTES,
    max_msg_size: 2 * MAX_MESSAGE_BYTES,
    allow_direct: true,
  } satisfies Partial<StreamConfig>;
}

function differenceOf(found: StreamConfig, wanted: ReturnType<typeof settings>): string | undefined {
  const differences = Object.entries(wanted).flatMap(([name, value]) => {
    const other: unknown = found[name as keyof StreamConfig];
    return String(other) === String(value) ? [] : [`${name} is ${String(other)}, not ${String(value)}`];
  });
  return differences.length === 0 ? undefined : differences.join("; ");
}
