/** Reads and writes in one KV bucket over one connection: NATS's answers in, the port's errors out. */
import { headers, type JetStreamClient, type JetStreamManager, type KV, type NatsConnection, StorageType } from "nats";
import type { KvEntry, MsgRequest, StreamInfo } from "nats";
import { WrongRevisionError } from "../core/errors.ts";
import { maxRecordBytes } from "../registry/record.ts";
import { type Entry, maxNamed, UnavailableError } from "../registry/store.ts";

/** How the server says that the named revision is not the last one; the second comes from replicated streams. */
const wrongRevisionCodes: ReadonlySet<unknown> = new Set([10071, 10164]);
const noMessageCode = 10037;
const noStreamCode = 10059;
/** What a bucket that we make takes: twice the longest record, so that its headers fit. */
const maxMessageBytes = 2 * maxRecordBytes;

export interface BucketOptions {
  readonly bucket: string;
  /** How many servers keep it. */
  readonly replicas: number;
  /** How long one question to the server may take. */
  readonly requestTimeoutMs: number;
}

/** One write, as a watch tells it, too. */
export type Change = Pick<KvEntry, "key" | "revision" | "value"> & { readonly operation: string };

/** The KV bucket behind one connection: opening, reading and writing by revision. */
export class NatsBucket {
  readonly kv: KV;
  /** How many servers keep it, whatever was wanted. */
  readonly replicas: number;
  /** What of its settings is not as this node would have made it, in words; `undefined` when all is well. */
  readonly difference: string | undefined;
  readonly #js: JetStreamClient;
  readonly #jsm: JetStreamManager;
  readonly #options: BucketOptions;
  readonly #stream: string;

  private constructor(js: JetStreamClient, jsm: JetStreamManager, kv: KV, info: StreamInfo, options: BucketOptions) {
    this.#js = js;
    this.#jsm = jsm;
    this.kv = kv;
    this.replicas = info.config.num_replicas;
    this.difference = differenceOf(info, options.replicas);
    this.#options = options;
    this.#stream = `KV_${options.bucket}`;
  }

  /**
   * Opens the bucket, and makes it where there is none.
   *
   * @throws UnavailableError also when the server is too old to keep its promises with several replicas
   */
  static async open(connection: NatsConnection, options: BucketOptions): Promise<NatsBucket> {
    const { bucket, replicas, requestTimeoutMs: timeout } = options;
    const version = connection.info?.version ?? "";
    try {
      mustKeepRevisions(version, replicas);
      // Every request less is one less that can be lost while a cluster chooses its leaders.
      const js = connection.jetstream({ timeout, checkAPI: false });
      const jsm = await js.jetstreamManager();
      const info = await infoOrMade(js, jsm, options);
      mustKeepRevisions(version, info.config.num_replicas);
      const kv = await js.views.kv(bucket, { bindOnly: true });
      return new NatsBucket(js, jsm, kv, info, options);
    } catch (error) {
      throw unavailable(error);
    }
  }

  /**
   * The stream as its leader sees it.
   *
   * @param keys which keys to list with it, such as `dict.>`; none when left out
   * @throws UnavailableError
   */
  async info(keys?: string): Promise<StreamInfo> {
    const query = keys === undefined ? undefined : { subjects_filter: this.#subject(keys) };
    try {
      return await this.#jsm.streams.info(this.#stream, query);
    } catch (error) {
      throw unavailable(error);
    }
  }

  /** The keys that `info(keys)` listed. */
  keysOf(info: StreamInfo): Set<string> {
    const prefix = this.#subject("");
    return new Set(Object.keys(info.state.subjects ?? {}).map((subject) => subject.slice(prefix.length)));
  }

  /**
   * Asks the leader, where the client's own `get` may be answered by a replica that lags behind.
   *
   * @throws UnavailableError
   */
  async read(key: string): Promise<Entry> {
    try {
      const message = await this.#jsm.streams.getMessage(this.#stream, { last_by_subj: this.#subject(key) });
      const isDeleted = isDelete(message.header.get("KV-Operation"));
      return { value: isDeleted ? undefined : message.data, revision: message.seq };
    } catch (error) {
      if (codeOf(error) === noMessageCode) return { value: undefined, revision: 0 };
      throw unavailable(error);
    }
  }

  /**
   * The first of the keys' last changes that is later than `revision`, as the leader knows it; `undefined`: there is none.
   *
   * @param keys such as `dict.>`
   * @throws UnavailableError
   */
  async readAfter(revision: number, keys: string): Promise<Change | undefined> {
    // The server's own request; the client's types name only two of its three forms.
    const query = { seq: revision + 1, next_by_subj: this.#subject(keys) } as unknown as MsgRequest;
    try {
      const { subject, seq, header, data } = await this.#jsm.streams.getMessage(this.#stream, query);
      const key = subject.slice(this.#subject("").length);
      return { key, revision: seq, operation: header.get("KV-Operation"), value: data };
    } catch (error) {
      if (codeOf(error) === noMessageCode) return undefined;
      throw unavailable(error);
    }
  }

  /**
   * The revision of the last write to any of the keys, as the leader knows it; 0 when there is none.
   *
   * @param keys such as `dict.>`
   * @throws UnavailableError
   */
  async lastRevisionOf(keys: string): Promise<number> {
    return (await this.read(keys)).revision;
  }

  /**
   * What stands under that name in every group, by whole key; of more than `maxNamed` only some.
   *
   * @throws UnavailableError
   */
  async named(name: string): Promise<ReadonlyMap<string, Uint8Array>> {
    const keys = [...this.keysOf(await this.info(`*.${name}`))].slice(0, maxNamed);
    const entries = await Promise.all(keys.map(async (key) => [key, (await this.read(key)).value] as const));
    return new Map(entries.flatMap(([key, value]) => value === undefined ? [] : [[key, value]]));
  }

  /** @throws WrongRevisionError, UnavailableError */
  put(key: string, value: Uint8Array, replaces: number): Promise<number> {
    return this.#write(key, value, replaces);
  }

  /** @throws WrongRevisionError, UnavailableError */
  delete(key: string, replaces: number): Promise<number> {
    return this.#write(key, undefined, replaces);
  }

  // Straight to the stream: the client's `delete` and `update` read a revision of 0 as "no condition" or throw, and its
  // `create` decides on what any replica tells.
  async #write(key: string, value: Uint8Array | undefined, replaces: number): Promise<number> {
    const marks = headers();
    if (value === undefined) marks.set("KV-Operation", "DEL");
    try {
      const ack = await this.#js.publish(this.#subject(key), value, {
        headers: marks,
        timeout: this.#options.requestTimeoutMs,
        expect: { streamName: this.#stream, lastSubjectSequence: replaces },
      });
      return ack.seq;
    } catch (error) {
      if (wrongRevisionCodes.has(codeOf(error))) {
        throw new WrongRevisionError(`${key} is no longer at revision ${replaces}`);
      }
      throw unavailable(error);
    }
  }

  #subject(key: string): string {
    return `$KV.${this.#options.bucket}.${key}`;
  }
}

/** The stream of the bucket; made where there is none. */
async function infoOrMade(js: JetStreamClient, jsm: JetStreamManager, options: BucketOptions): Promise<StreamInfo> {
  const { bucket, replicas, requestTimeoutMs: timeout } = options;
  try {
    return await jsm.streams.info(`KV_${bucket}`);
  } catch (error) {
    if (codeOf(error) !== noStreamCode) throw error;
  }
  await js.views.kv(bucket, {
    history: 1,
    storage: StorageType.File,
    replicas,
    timeout,
    maxValueSize: maxMessageBytes,
  });
  return await jsm.streams.info(`KV_${bucket}`);
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

/** Whether a KV operation header stands for a delete. */
export function isDelete(operation: string): boolean {
  return operation === "DEL" || operation === "PURGE";
}

/** Whether the error says that there is no bucket: deleted while this node was using it. */
export function isBucketGone(error: unknown): boolean {
  const cause = error instanceof UnavailableError ? error.cause : error;
  return codeOf(cause) === noStreamCode || isUnheard(cause);
}

/** Whether nobody listens to what was asked: JetStream is off, or the bucket gone. */
function isUnheard(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === "503";
}

/** Measured: 2.9.10 acknowledged 2,680 conditional writes to a replicated bucket, of which 2,396 were distinct. */
function mustKeepRevisions(version: string, replicas: number): void {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (replicas <= 1 || major > 2 || (major === 2 && minor >= 10)) return;
  throw new UnavailableError(
    `nats-server ${version} does not keep revisions apart in a bucket with ${replicas} replicas: 2.10 or newer does`,
  );
}

function codeOf(error: unknown): unknown {
  return (error as { api_error?: { err_code?: unknown } } | undefined)?.api_error?.err_code;
}

function unavailable(error: unknown): UnavailableError {
  if (error instanceof UnavailableError) return error;
  if (isUnheard(error)) return new UnavailableError("no JetStream answers", { cause: error });
  return new UnavailableError(error instanceof Error ? error.message : String(error), { cause: error });
}
