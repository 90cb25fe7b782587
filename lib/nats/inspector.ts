/** Reads NATS without changing anything; for commands, not for nodes. */
import { ErrorCode, headers, type JetStreamManager, type NatsConnection, type StreamInfo } from "nats";
import type { NatsLogin } from "../config/texts/nats-login.ts";
import type { Clock } from "../core/base/clock.ts";
import { pause } from "../core/base/time/timeout.ts";
import { UnavailableError } from "../core/errors.ts";
import { parseRecord } from "../registry/record.ts";
import type { PeerRecord } from "../core/roster.ts";
import { isDelete } from "./buckets/bucket.ts";
import { connectOnce, parseNatsUrls } from "./connect/connection.ts";
import { logPrefix, logStreamName } from "./log/log-stream.ts";
import type { Seal } from "./seal.ts";
import { codeOf, NatsStream, NO_STREAM_CODE, type StreamMessage, unavailable } from "./stream/stream.ts";
import { type Follower, StreamReader } from "./stream/stream-reader.ts";

export interface InspectorOptions {
  readonly urls: readonly string[];
  readonly login: NatsLogin;
  readonly bucket: string;
  readonly seal: Seal;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** The time for one question, in ms. */
  readonly timeoutMs: number;
}

/** The facts about a stream, from its leader. */
export interface StreamFacts {
  readonly name: string;
  readonly messages: number;
  readonly replicas: number;
  readonly isOnDisk: boolean;
  /** The names of the servers of a replicated stream that do not keep up with its leader. */
  readonly lagging: readonly string[];
  /** How far the server's clock is ahead of this machine's, in ms; `undefined`: the server is too old to tell. */
  readonly clockAheadMs: number | undefined;
}

/** One key of the bucket. */
export interface Listed {
  readonly group: string;
  readonly name: string;
  readonly revision: number;
  /** Either the record or its fault. */
  readonly record?: PeerRecord;
  readonly fault?: string;
}

/** Whether this login may write to a subject. */
export type Right = "yes" | "no" | "unknown";

/** No message has this number, so the stream refuses a write that names it; a login without the right is refused earlier. */
const NO_REVISION = Number.MAX_SAFE_INTEGER;
const WRONG_REVISION_CODES: ReadonlySet<unknown> = new Set([10071, 10164]);
/** How often the read keys are compared with the stream, in ms. Chosen. */
const CHECK_MS = 3_000;
/** The most keys to list. Chosen: as many as a node holds of one group. */
const MAX_LISTED = 10_000;

/** One connection. */
export class Inspector {
  readonly #connection: NatsConnection;
  readonly #options: InspectorOptions;

  private constructor(connection: NatsConnection, options: InspectorOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /** @throws UnavailableError no server greets, or none accepts the login; TypeError for invalid URLs */
  static async open(options: InspectorOptions): Promise<Inspector> {
    const { urls, login, clock, signal, timeoutMs } = options;
    const target = { ...parseNatsUrls(urls), login };
    try {
      const how = { name: "muster: a look", timeoutMs, clock, signal };
      const { connection } = await connectOnce(target, new Set(), how);
      return new Inspector(connection, options);
    } catch (error) {
      throw unavailable(error);
    }
  }

  /** The connected server. */
  get server(): { readonly name: string; readonly version: string } {
    const { server_name: name = "", version = "" } = this.#connection.info ?? {};
    return { name, version };
  }

  /** Resolves to the reason when the connection is lost. */
  async lost(): Promise<string> {
    const error = await this.#connection.closed();
    return error instanceof Error ? error.message : "the connection was closed";
  }

  /**
   * The existing streams among those of the nodes: the list of peers, invalidations, defined groups.
   *
   * @throws UnavailableError JetStream is off, or this login may not use it
   */
  async streams(): Promise<ReadonlyMap<"peers" | "invalidations" | "groups", StreamFacts>> {
    const { bucket } = this.#options;
    const names = [
      ["peers", `KV_${bucket}`],
      ["invalidations", logStreamName(bucket)],
      ["groups", `KV_${bucket}-groups`],
    ] as const;
    const found = await Promise.all(names.map(async ([what, name]) => [what, await this.#facts(name)] as const));
    return new Map(found.flatMap(([what, facts]) => facts === undefined ? [] : [[what, facts]]));
  }

  /** Whether this login may write a record of `name` and an invalidation. It writes nothing. */
  async mayWrite(group: string, name: string): Promise<{ readonly peers: Right; readonly invalidations: Right }> {
    const { bucket } = this.#options;
    const [peers, invalidations] = await Promise.all([
      this.#right(`$KV.${bucket}.${group}.${name}`),
      this.#right(logPrefix(bucket) + group),
    ]);
    return { peers, invalidations };
  }

  /**
   * Reads every list. With `onChange` it continues until the signal is aborted.
   *
   * @param onChange the keys that changed since the last call, in order; a key without record and fault was deleted
   * @throws UnavailableError also if there is no such bucket or the connection is lost
   */
  async listed(onChange?: (changes: readonly Listed[]) => void): Promise<readonly Listed[]> {
    const { bucket, clock, timeoutMs, seal, signal } = this.#options;
    const manager = await this.#manager();
    const name = `KV_${bucket}`;
    let info: StreamInfo;
    try {
      info = await manager.streams.info(name);
    } catch (error) {
      if (codeOf(error) === NO_STREAM_CODE) {
        throw new UnavailableError(`NATS has no bucket ${bucket}: no node has joined yet`);
      }
      throw unavailable(error);
    }
    const stream = new NatsStream({ connection: this.#connection, manager, name, clock, requestTimeoutMs: timeoutMs });
    const keys = new Keys(`$KV.${bucket}.`, seal);
    const reader = new StreamReader({ stream, epoch: String(info.created), clock, onDoubt: () => {} });
    try {
      reader.follow(`$KV.${bucket}.>`, keys);
      await reader.whole();
      const all = keys.all();
      if (onChange === undefined) return all;
      keys.onChange = onChange;
      onChange(all);
      const over = new AbortController();
      let reason = "";
      void this.lost().then((lost) => {
        reason = lost;
        over.abort();
      });
      const ended = AbortSignal.any([over.signal, signal]);
      while (!ended.aborted) {
        await pause(clock, CHECK_MS, ended);
        if (!ended.aborted) await reader.check();
      }
      if (!signal.aborted) throw new UnavailableError(reason);
      return keys.all();
    } finally {
      reader.close();
    }
  }

  /** Never throws. */
  async close(): Promise<void> {
    await this.#connection.close().catch(() => {});
  }

  #manager(): Promise<JetStreamManager> {
    return this.#connection.jetstreamManager({ timeout: this.#options.timeoutMs, checkAPI: false });
  }

  async #facts(name: string): Promise<StreamFacts | undefined> {
    const { clock } = this.#options;
    const manager = await this.#manager();
    const askedMs = clock.nowMs();
    try {
      // Since 2.10 the server's answer has the time; the client's type lacks it.
      const info = await manager.streams.info(name) as StreamInfo & { readonly ts?: string };
      const theirsMs = Date.parse(info.ts ?? "");
      const oursMs = (askedMs + clock.nowMs()) / 2;
      return {
        name,
        messages: info.state.messages,
        replicas: info.config.num_replicas,
        isOnDisk: info.config.storage === "file",
        lagging: (info.cluster?.replicas ?? []).filter(({ current }) => !current).map((replica) => replica.name),
        clockAheadMs: Number.isNaN(theirsMs) ? undefined : theirsMs - oursMs,
      };
    } catch (error) {
      if (codeOf(error) === NO_STREAM_CODE) return undefined;
      throw unavailable(error);
    }
  }

  async #right(subject: string): Promise<Right> {
    const marks = headers();
    marks.set("Nats-Expected-Last-Subject-Sequence", String(NO_REVISION));
    try {
      const answer = await this.#connection.request(subject, new Uint8Array(0), {
        headers: marks,
        timeout: this.#options.timeoutMs,
      });
      const { error } = JSON.parse(new TextDecoder().decode(answer.data)) as { error?: { err_code?: number } };
      return WRONG_REVISION_CODES.has(error?.err_code) ? "yes" : "unknown";
    } catch (error) {
      return (error as { code?: unknown }).code === ErrorCode.PermissionsViolation ? "no" : "unknown";
    }
  }
}

/** All keys of the bucket, bounded, as anybody may write there. */
class Keys implements Follower {
  readonly #prefix: string;
  readonly #seal: Seal;
  #held = new Map<string, Listed>();
  #changes: Listed[] = [];
  onChange: ((changes: readonly Listed[]) => void) | undefined;

  constructor(prefix: string, seal: Seal) {
    this.#prefix = prefix;
    this.#seal = seal;
  }

  begin(): void {
    this.#held = new Map();
    this.#changes = [];
  }

  take({ subject, sequence: revision, header, data }: StreamMessage): void {
    const key = subject.slice(this.#prefix.length);
    const at = key.indexOf(".");
    const place = { group: key.slice(0, at), name: key.slice(at + 1), revision };
    if (isDelete(header.get("KV-Operation"))) {
      this.#held.delete(key);
      this.#changes.push(place);
      return;
    }
    if (this.#held.size >= MAX_LISTED && !this.#held.has(key)) return;
    const listed = { ...place, ...readRecord(place.group, key, this.#seal.open(subject, data.slice())) };
    this.#held.set(key, listed);
    this.#changes.push(listed);
  }

  settle(): void {
    const changes = this.#changes;
    this.#changes = [];
    if (changes.length > 0) this.onChange?.(changes);
  }

  misses(lastSequence: number, subjects: ReadonlySet<string>): boolean {
    return [...this.#held].some(([key, { revision }]) => revision <= lastSequence && !subjects.has(this.#prefix + key));
  }

  all(): readonly Listed[] {
    return [...this.#held.values()].sort((a, b) => (a.group + a.name < b.group + b.name ? -1 : 1));
  }
}

function readRecord(group: string, key: string, bytes: Uint8Array): Pick<Listed, "record" | "fault"> {
  try {
    return { record: parseRecord(group, key, bytes) };
  } catch (error) {
    return { fault: (error as Error).message };
  }
}
