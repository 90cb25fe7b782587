/** Reads and writes one KV bucket over one connection, and turns NATS's answers into the port's errors. */
import {
  headers,
  type JetStreamClient,
  type JetStreamManager,
  type NatsConnection,
  StorageType,
  type StreamInfo,
} from "nats";
import type { Clock } from "../../core/base/clock.ts";
import { UnavailableError, WrongRevisionError } from "../../core/errors.ts";
import { maxRecordBytes } from "../../registry/record.ts";
import { type Entry, maxNamed } from "../../registry/store/store.ts";
import type { Seal } from "../seal.ts";
import { codeOf, NatsStream, NO_STREAM_CODE, unavailable } from "../stream/stream.ts";

/** The server's codes for "the named revision is not the last one". The second comes from replicated streams. */
const WRONG_REVISION_CODES: ReadonlySet<unknown> = new Set([10071, 10164]);
/** The longest message of a bucket that a node makes. Derived: twice the longest record, so that headers fit. */
const MAX_MESSAGE_BYTES = 2 * maxRecordBytes;

export interface BucketOptions {
  readonly bucket: string;
  /** The number of servers that keep it. */
  readonly replicas: number;
  /** How long one question to the server may take, in ms. */
  readonly requestTimeoutMs: number;
  readonly clock: Clock;
  readonly seal: Seal;
}

/** The KV bucket over one connection: opens it, and reads and writes by revision. */
export class NatsBucket {
  readonly stream: NatsStream;
  /** Identifies this life of the bucket. */
  readonly epoch: string;
  /** In words, the settings that differ from those that this node would make; `undefined` if none does. */
  readonly difference: string | undefined;
  /** The part of the stream's subjects before a key. */
  readonly prefix: string;
  readonly #js: JetStreamClient;
  readonly #options: BucketOptions;

  private constructor(js: JetStreamClient, stream: NatsStream, info: StreamInfo, options: BucketOptions) {
    this.#js = js;
    this.stream = stream;
    this.epoch = String(info.created);
    this.difference = differenceOf(info, options.replicas);
    this.prefix = `$KV.${options.bucket}.`;
    this.#options = options;
  }

  /**
   * Opens the bucket, or makes it if there is none.
   *
   * @throws UnavailableError also if the server is too old to keep revisions apart with several replicas
   */
  static async open(connection: NatsConnection, options: BucketOptions): Promise<NatsBucket> {
    const { bucket, replicas, requestTimeoutMs, clock } = options;
    const version = connection.info?.version ?? "";
    try {
      mustKeepRevisions(version, replicas);
      // `checkAPI` off: each question less is one less that can be lost while a cluster chooses its leaders.
      const js = connection.jetstream({ timeout: requestTimeoutMs, checkAPI: false });
      const manager = await js.jetstreamManager();
      const info = await infoOrMade(js, manager, options);
      mustKeepRevisions(version, info.config.num_replicas);
      const stream = new NatsStream({ connection, manager, name: `KV_${bucket}`, clock, requestTimeoutMs });
      return new NatsBucket(js, stream, info, options);
    } catch (error) {
      throw unavailable(error);
    }
  }

  /**
   * The last write to a key, read from the leader.
   *
   * @throws UnavailableError
   */
  async read(key: string): Promise<Entry> {
    const message = await this.stream.last(this.prefix + key);
    if (message === undefined) return { value: undefined, revision: 0 };
    const isDeleted = isDelete(message.header.get("KV-Operation"));
    const { seal } = this.#options;
    return { value: isDeleted ? undefined : seal.open(message.subject, message.data), revision: message.sequence };
  }

  /**
   * The records under this name in every group, by whole key; of more than `maxNamed` only some.
   *
   * @throws UnavailableError
   */
  async named(name: string): Promise<ReadonlyMap<string, Uint8Array>> {
    const { state } = await this.stream.info(`${this.prefix}*.${name}`);
    const keys = Object.keys(state.subjects ?? {}).map((subject) => subject.slice(this.prefix.length));
    const entries = await Promise.all(
      keys.slice(0, maxNamed).map(async (key) => [key, (await this.read(key)).value] as const),
    );
    return new Map(entries.flatMap(([key, value]) => value === undefined ? [] : [[key, value]]));
  }

  /** @throws WrongRevisionError, UnavailableError */
  put(key: string, value: Uint8Array, replaces: number): Promise<number> {
    return this.#write(key, this.#options.seal.sign(this.prefix + key, value), replaces);
  }

  /** @throws WrongRevisionError, UnavailableError */
  delete(key: string, replaces: number): Promise<number> {
    return this.#write(key, undefined, replaces);
  }

  // Writes directly to the stream: the client's `delete` and `update` take revision 0 as "no condition" or throw, and
  // its `create` decides by the answer of any replica.
  async #write(key: string, value: Uint8Array | undefined, replaces: number): Promise<number> {
    const { bucket, requestTimeoutMs: timeout } = this.#options;
    const marks = headers();
    if (value === undefined) marks.set("KV-Operation", "DEL");
    try {
      const ack = await this.#js.publish(this.prefix + key, value, {
        headers: marks,
        timeout,
        expect: { streamName: `KV_${bucket}`, lastSubjectSequence: replaces },
      });
      return ack.seq;
    } catch (error) {
      if (WRONG_REVISION_CODES.has(codeOf(error))) {
        throw new WrongRevisionError(`${key} is no longer at revision ${replaces}`);
      }
      throw unavailable(error);
    }
  }
}

/** The stream of the bucket. Makes it if there is none. */
async function infoOrMade(js: JetStreamClient, manager: JetStreamManager, options: BucketOptions): Promise<StreamInfo> {
  const { bucket, replicas, requestTimeoutMs: timeout } = options;
  try {
    return await manager.streams.info(`KV_${bucket}`);
  } catch (error) {
    if (codeOf(error) !== NO_STREAM_CODE) throw error;
  }
  await js.views.kv(bucket, {
    history: 1,
    storage: StorageType.File,
    replicas,
    timeout,
    maxValueSize: MAX_MESSAGE_BYTES,
  });
  return await manager.streams.info(`KV_${bucket}`);
}

function differenceOf(info: StreamInfo, wantedReplicas: number): string | undefined {
  const { max_msgs_per_subject: history, storage, num_replicas: replicas, max_age: maxAge } = info.config;
  const differences = [
    history === 1 ? "" : `history is ${history}, not 1`,
    storage === StorageType.File ? "" : `storage is ${storage}, not file: it is lost when the server stops`,
    replicas === wantedReplicas ? "" : `replicas is ${replicas}, not ${wantedReplicas}`,
    maxAge === 0 ? "" : `records expire after ${Math.round(maxAge / 1e6)} ms: live peers will come and go`,
  ].filter((difference) => difference !== "");
  return differences.length === 0 ? undefined : differences.join("; ");
}

/** Whether a KV operation header means a delete. */
export function isDelete(operation: string): boolean {
  return operation === "DEL" || operation === "PURGE";
}

/**
 * Refuses old servers for replicated buckets. Version 2.9.10 acknowledged 2,680 conditional writes, but only 2,396 of
 * them were distinct (measured).
 */
function mustKeepRevisions(version: string, replicas: number): void {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (replicas <= 1 || major > 2 || (major === 2 && minor >= 10)) return;
  throw new UnavailableError(
    `nats-server ${version} does not keep revisions apart in a bucket with ${replicas} replicas: 2.10 or newer does`,
  );
}
