/**
 * The groups that operators define, from the bucket `<bucket>-groups`, over changing connections. Its faults affect
 * nothing else.
 */
import { type JetStreamClient, type NatsConnection, StorageType } from "nats";
import type { Random } from "../../core/base/time/backoff.ts";
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";
import { SayOnce } from "../../core/base/logs/say-once.ts";
import { pause } from "../../core/base/time/timeout.ts";
import { type DefinitionsView, maxDefinitionBytes, maxDefinitions } from "../../registry/store/definitions.ts";
import { withAdvice } from "../advice.ts";
import { isDelete } from "./bucket.ts";
import { type Seal, SEAL_BYTES } from "../seal.ts";
import { isStreamGone, NatsStream, type StreamMessage, unavailable } from "../stream/stream.ts";
import { type Follower, StreamReader } from "../stream/stream-reader.ts";

export interface NatsDefinitionsOptions {
  /** The bucket of the peers; `-groups` is added. */
  readonly bucket: string;
  readonly replicas: number;
  readonly checkIntervalMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: Random;
  readonly seal: Seal;
}

/** How many versions of a definition `nats kv history` shows. Chosen. */
const HISTORY = 10;
/** The most reasons to log per outage. Chosen. */
const MAX_REASONS = 8;
const TOO_LONG = new Uint8Array(maxDefinitionBytes + 1);

interface Session {
  readonly connection: NatsConnection;
  readonly requestTimeoutMs: number;
  reader?: StreamReader;
  hurry: AbortController;
  isOver: boolean;
}

/** One node's view of the bucket. It borrows connections. */
export class NatsDefinitions {
  readonly #options: NatsDefinitionsOptions;
  readonly #reasons: SayOnce;
  #onView: ((view: DefinitionsView) => void) | undefined;
  #session: Session | undefined;

  constructor(options: NatsDefinitionsOptions) {
    this.#options = options;
    this.#reasons = new SayOnce({ clock: options.clock, maxSaid: MAX_REASONS });
  }

  /** @throws TypeError it is already followed */
  follow(onView: (view: DefinitionsView) => void): void {
    if (this.#onView !== undefined) throw new TypeError("Cannot follow the definitions twice");
    this.#onView = onView;
    if (this.#session !== undefined) void this.#attend(this.#session);
  }

  /** Uses a connection until `detach`. @param requestTimeoutMs how long a question over it may take */
  attach(connection: NatsConnection, requestTimeoutMs: number): void {
    const session = this.#session = { connection, requestTimeoutMs, hurry: new AbortController(), isOver: false };
    if (this.#onView !== undefined) void this.#attend(session);
  }

  /** To be called when the connection is lost or the node stops. */
  detach(): void {
    const session = this.#session;
    this.#session = undefined;
    if (session === undefined) return;
    session.isOver = true;
    session.reader?.close();
    session.hurry.abort();
  }

  /** Looks again and again until the session ends. Never rejects. */
  async #attend(session: Session): Promise<void> {
    const { clock, checkIntervalMs, random, log, bucket } = this.#options;
    while (!session.isOver) {
      try {
        session.reader ??= await this.#open(session);
        await session.reader.check();
        this.#reasons.forget();
      } catch (error) {
        const reason = withAdvice(error instanceof Error ? error.message : String(error));
        if (isStreamGone(error)) this.#close(session);
        if (!session.isOver && this.#reasons.isNews(reason)) {
          log.warn(`cannot read the bucket ${bucket}-groups: ${reason}; the groups stay as they are`, {}, { reason });
        }
      }
      if (session.isOver) return;
      session.hurry = new AbortController();
      await pause(clock, checkIntervalMs * (0.8 + 0.4 * random()), session.hurry.signal);
    }
  }

  #close(session: Session): void {
    session.reader?.close();
    delete session.reader;
  }

  async #open(session: Session): Promise<StreamReader> {
    const { clock } = this.#options;
    const { connection, requestTimeoutMs } = session;
    const name = `KV_${this.#options.bucket}-groups`;
    try {
      const js = connection.jetstream({ timeout: requestTimeoutMs, checkAPI: false });
      const manager = await js.jetstreamManager();
      await this.#make(js, requestTimeoutMs);
      const stream = new NatsStream({ connection, manager, name, clock, requestTimeoutMs });
      const epoch = String((await stream.info()).created);
      const reader = new StreamReader({ stream, epoch, clock, onDoubt: () => session.hurry.abort() });
      const prefix = `$KV.${this.#options.bucket}-groups.`;
      reader.follow(
        `${prefix}>`,
        new Definitions(prefix, this.#options.seal, (view) => session.isOver || this.#onView!(view)),
      );
      if (session.isOver) reader.close();
      return reader;
    } catch (error) {
      throw unavailable(error);
    }
  }

  /** Makes the bucket. The server opens an existing one with its own settings. */
  async #make(js: JetStreamClient, timeout: number): Promise<void> {
    const { bucket, replicas } = this.#options;
    const maxValueSize = 2 * maxDefinitionBytes;
    await js.views.kv(`${bucket}-groups`, {
      history: HISTORY,
      storage: StorageType.File,
      replicas,
      timeout,
      maxValueSize,
    });
  }
}

/** The keys of the bucket, bounded. */
class Definitions implements Follower {
  readonly #prefix: string;
  readonly #seal: Seal;
  readonly #onView: (view: DefinitionsView) => void;
  #definitions = new Map<string, Uint8Array | undefined>();
  #revision = 0;

  constructor(prefix: string, seal: Seal, onView: (view: DefinitionsView) => void) {
    this.#prefix = prefix;
    this.#seal = seal;
    this.#onView = onView;
  }

  begin(): void {
    this.#definitions = new Map();
    this.#revision = 0;
  }

  take({ subject, sequence, header, data }: StreamMessage): void {
    this.#revision = sequence;
    const name = subject.slice(this.#prefix.length);
    if (this.#definitions.size >= maxDefinitions && !this.#definitions.has(name)) return;
    const isDeleted = isDelete(header.get("KV-Operation"));
    const isTooLong = data.byteLength > maxDefinitionBytes + SEAL_BYTES;
    const value = isTooLong ? TOO_LONG : this.#seal.open(subject, data.slice());
    this.#definitions.set(name, isDeleted ? undefined : value);
  }

  settle(): void {
    this.#onView({ revision: this.#revision, definitions: this.#definitions });
  }

  misses(_lastSequence: number, subjects: ReadonlySet<string>): boolean {
    for (const name of this.#definitions.keys()) if (!subjects.has(this.#prefix + name)) return true;
    return false;
  }
}
