/**
 * The registry in NATS KV, and the log of invalidations over the same connection. Start and reconnect are one path:
 * connect, open the bucket, read every group, check every few seconds until something breaks, and begin again. Nothing
 * survives a broken connection, so none of its writes can be sent late.
 */
import { UnavailableError } from "../core/errors.ts";
import type { NatsConnection } from "nats";
import type { NatsLogin } from "../config/texts/nats-login.ts";
import { type Clock, fineClock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { SayOnce } from "../core/base/logs/say-once.ts";
import { pause, withTimeout } from "../core/base/time/timeout.ts";
import { backoffMs, type Random } from "../core/base/time/backoff.ts";
import type { Label } from "../core/invalidation/label.ts";
import type { InvalidationLog, LogFollower } from "../core/invalidation/log.ts";
import { withAdvice } from "./advice.ts";
import { NatsBucket } from "./buckets/bucket.ts";
import { connectOnce, learnGossip, type NatsTarget, parseNatsUrls } from "./connect/connection.ts";
import { GroupKeys } from "./buckets/group-keys.ts";
import { NatsDefinitions } from "./buckets/definitions.ts";
import { NatsLog } from "./log/nats-log.ts";
import { Seal } from "./seal.ts";
import { isStreamGone } from "./stream/stream.ts";
import { StreamReader } from "./stream/stream-reader.ts";
import type { DefinitionStore, DefinitionsView } from "../registry/store/definitions.ts";
import type { Entry, PeerStore, StoreContact, StoreListener, View } from "../registry/store/store.ts";

export interface NatsStoreOptions {
  /** `nats://host:port`, with `user:password@` or `token@` if the server requires it. */
  readonly urls: readonly string[];
  /** The files of the login, if it is not in the URLs. @default none */
  readonly login?: NatsLogin;
  /** Signs written messages and checks read ones. @default no signatures */
  readonly seal?: Seal;
  /** @default "peers" */
  readonly bucket?: string;
  /** How many servers of a NATS cluster keep the bucket. @default 1 */
  readonly replicas?: number;
  /** The name of this connection at the server. @default "muster" */
  readonly connectionName?: string;
  readonly clock: Clock;
  readonly log: Log;
  /**
   * The least time for one question, in ms. The time is eight round trips if these take longer, but at most 10 s. A
   * cluster answers nothing while it chooses a leader, so it is better to ask again.
   *
   * @default 1_000
   */
  readonly requestTimeoutMs?: number;
  /** How often the reader is compared with the stream, in ms, plus or minus a fifth. @default 3_000 */
  readonly checkIntervalMs?: number;
  /** The same for the log of invalidations. @default `checkIntervalMs` */
  readonly logCheckIntervalMs?: number;
  /** The longest wait between two attempts to connect, in ms. @default 1_000 */
  readonly retryMostMs?: number;
  /** @default Math.random */
  readonly random?: Random;
}

/** The first wait between two attempts to connect. Chosen. */
const RETRY_FIRST_MS = 200;
/** Chosen: a stopping node has little time. */
const CLOSE_TIMEOUT_MS = 1_000;
/** So many failed checks in a row end the connection. Chosen: one may fail while the stream chooses a leader. */
const MAX_FAILED_CHECKS = 2;
/** The most reasons to log per outage, as some are texts of a server. Chosen. */
const MAX_REASONS = 8;

/** The bucket of one connection, and the groups that are read from it. */
class Session {
  readonly reader: StreamReader;
  readonly bucket: NatsBucket;
  readonly #seal: Seal;
  readonly #onView: (view: View) => void;

  constructor(bucket: NatsBucket, seal: Seal, clock: Clock, onView: (view: View) => void, onDoubt: () => void) {
    const { stream, epoch } = bucket;
    this.reader = new StreamReader({ stream, epoch, clock, onDoubt });
    this.bucket = bucket;
    this.#seal = seal;
    this.#onView = onView;
  }

  follow(group: string): void {
    const { prefix } = this.bucket;
    this.reader.follow(this.#subject(group), new GroupKeys({ group, prefix, seal: this.#seal, onView: this.#onView }));
  }

  unfollow(group: string): void {
    this.reader.unfollow(this.#subject(group));
  }

  #subject(group: string): string {
    return `${this.bucket.prefix}${group}.>`;
  }
}

/** The peer store in NATS KV and the log in JetStream. It keeps a connection from `watch` until `close`. */
export class NatsStore implements PeerStore, InvalidationLog, DefinitionStore {
  readonly #options: Required<NatsStoreOptions>;
  readonly #target: NatsTarget;
  readonly #gossip = new Set<string>();
  readonly #closing = new AbortController();
  readonly #groups = new Set<string>();
  readonly #log: NatsLog;
  readonly #definitions: NatsDefinitions;
  #listener: StoreListener | undefined;
  /** The working connection, if there is one. */
  #session: Session | undefined;
  #isAway = false;
  #roundTripMs = 0;
  readonly #fineMs: () => number;
  #contact: StoreContact;
  /** The logged reasons of this outage. */
  readonly #reasons: SayOnce;
  #running: Promise<void> | undefined;
  #saidDifference: string | undefined;
  /** Ends the wait for the next check or the next attempt to connect. */
  #hurry = new AbortController();

  /** @throws TypeError for invalid URLs */
  constructor(options: NatsStoreOptions) {
    this.#target = { ...parseNatsUrls(options.urls), login: options.login ?? {} };
    this.#reasons = new SayOnce({ clock: options.clock, maxSaid: MAX_REASONS });
    this.#options = {
      login: {},
      seal: new Seal(),
      bucket: "peers",
      replicas: 1,
      connectionName: "muster",
      requestTimeoutMs: 1_000,
      checkIntervalMs: 3_000,
      retryMostMs: 1_000,
      random: Math.random,
      logCheckIntervalMs: options.checkIntervalMs ?? 3_000,
      ...options,
    };
    this.#fineMs = fineClock(options.clock);
    const sinceMs = options.clock.nowMs();
    this.#contact = { isConnected: false, sinceMs, roundTripMs: undefined, connections: 0 };
    this.#log = new NatsLog(this.#options);
    this.#definitions = new NatsDefinitions(this.#options);
  }

  /** The round trip to the server of the last connection. */
  get roundTripMs(): number {
    return this.#roundTripMs;
  }

  get contact(): StoreContact {
    return this.#contact;
  }

  read(key: string): Promise<Entry> {
    return this.#ask((bucket) => bucket.read(key));
  }

  named(name: string): Promise<ReadonlyMap<string, Uint8Array>> {
    return this.#ask((bucket) => bucket.named(name));
  }

  put(key: string, value: Uint8Array, replaces: number): Promise<number> {
    return this.#ask((bucket) => bucket.put(key, value, replaces));
  }

  delete(key: string, replaces: number): Promise<number> {
    return this.#ask((bucket) => bucket.delete(key, replaces));
  }

  followDefinitions(onView: (view: DefinitionsView) => void): void {
    this.#definitions.follow(onView);
  }

  watch(listener: StoreListener): void {
    if (this.#listener !== undefined) throw new TypeError("Cannot watch twice");
    this.#listener = listener;
    this.#running = Promise.resolve().then(() => this.#run());
  }

  follow(group: string): void {
    if (this.#groups.has(group)) return;
    this.#groups.add(group);
    this.#session?.follow(group);
  }

  unfollow(group: string): void {
    if (this.#groups.delete(group)) this.#session?.unfollow(group);
  }

  hurry(): void {
    this.#hurry.abort();
  }

  followLog(follower: LogFollower): void {
    this.#log.followLog(follower);
  }

  publish(group: string, data: Uint8Array): Promise<Label> {
    return this.#log.publish(group, data);
  }

  catchUp(): Promise<void> {
    return this.#log.catchUp();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#log.close();
    this.#definitions.detach();
    this.#hurry.abort();
    if (this.#running === undefined) return;
    // Connecting to a silent server cannot be cancelled: such a connection is closed when it comes.
    const running = this.#running;
    await withTimeout(this.#options.clock, CLOSE_TIMEOUT_MS, () => running, undefined);
  }

  async #ask<T>(question: (bucket: NatsBucket) => Promise<T>): Promise<T> {
    // A write must not wait for a connection: it might be sent when this node no longer wants it.
    if (this.#session === undefined) throw new UnavailableError("not connected to NATS");
    try {
      return await question(this.#session.bucket);
    } catch (error) {
      if (isStreamGone(error)) this.#hurry.abort();
      if (!(error instanceof UnavailableError)) throw error;
      const { message, cause, isAmbiguous } = error;
      throw new UnavailableError(withAdvice(message), { cause, isAmbiguous });
    }
  }

  async #run(): Promise<void> {
    const { clock, retryMostMs, random } = this.#options;
    let attempt = 0;
    while (!this.#closing.signal.aborted) {
      let reason: string;
      try {
        reason = await this.#connected(() => attempt = 0);
      } catch (error) {
        reason = reasonOf(error);
      }
      if (this.#closing.signal.aborted) return;
      this.#setAway(withAdvice(reason));
      this.#hurry = new AbortController();
      await pause(
        clock,
        backoffMs(attempt++, { firstMs: RETRY_FIRST_MS, mostMs: retryMostMs }, random),
        this.#hurry.signal,
      );
    }
  }

  /** Runs one connection from start to end. Resolves to the reason of its end. */
  async #connected(onWorking: () => void): Promise<string> {
    const { connectionName: name, requestTimeoutMs: timeoutMs, clock } = this.#options;
    const how = { name, timeoutMs, clock, signal: this.#closing.signal };
    const { connection, requestTimeoutMs, roundTripMs } = await connectOnce(this.#target, this.#gossip, how);
    let session: Session | undefined;
    try {
      // Connecting cannot be cancelled, so the connection may have come too late.
      if (this.#closing.signal.aborted) return "closed";
      learnGossip(connection, this.#gossip);
      this.#roundTripMs = roundTripMs;
      const bucket = await NatsBucket.open(connection, { ...this.#options, requestTimeoutMs });
      this.#sayDifference(bucket.difference);
      session = new Session(bucket, this.#options.seal, clock, (view) => this.#show(view), () => this.#hurry.abort());
      for (const group of this.#groups) session.follow(group);
      // Allow reads and writes before the first view: a node that the view does not list may act on it at once.
      this.#session = session;
      this.#log.attach(connection, requestTimeoutMs);
      this.#definitions.attach(connection, requestTimeoutMs);
      await session.reader.whole();
      if (this.#closing.signal.aborted) return "closed";
      onWorking();
      this.#setBack();
      return await this.#attend(connection, session.reader);
    } finally {
      this.#session = undefined;
      this.#log.detach();
      this.#definitions.detach();
      session?.reader.close();
      await connection.close().catch(() => {});
    }
  }

  #show(view: View): void {
    if (!this.#closing.signal.aborted) this.#listener?.onView(view);
  }

  /** Checks the read keys again and again, until the connection is lost or does not answer any more. */
  async #attend(connection: NatsConnection, reader: StreamReader): Promise<string> {
    const { clock, checkIntervalMs, random } = this.#options;
    let lost: string | undefined;
    const gone = connection.closed().then((error) => {
      lost = error === undefined || error === null ? "the connection was closed" : reasonOf(error);
      this.#hurry.abort();
    });
    let failedChecks = 0;
    while (lost === undefined && !this.#closing.signal.aborted) {
      void this.#measure(connection);
      const isUrgent = this.#hurry.signal.aborted || failedChecks > 0;
      this.#hurry = new AbortController();
      const restMs = (isUrgent ? checkIntervalMs / 10 : checkIntervalMs) * (0.8 + 0.4 * random());
      await pause(clock, restMs, this.#hurry.signal);
      if (lost !== undefined || this.#closing.signal.aborted) break;
      try {
        await reader.check();
        failedChecks = 0;
      } catch (error) {
        // The next session makes the bucket again.
        if (isStreamGone(error)) return `the bucket ${this.#options.bucket} is gone`;
        if (++failedChecks >= MAX_FAILED_CHECKS) return reasonOf(error);
      }
    }
    if (lost === undefined) await connection.close().catch(() => {});
    await gone;
    return lost ?? "closed";
  }

  /** Measures a ping. */
  async #measure(connection: NatsConnection): Promise<void> {
    const askedMs = this.#fineMs();
    try {
      await connection.flush();
      this.#contact = { ...this.#contact, roundTripMs: this.#fineMs() - askedMs };
    } catch { /* the connection is lost, which is told elsewhere */ }
  }

  #setAway(reason: string): void {
    this.#log.detach();
    const { clock } = this.#options;
    if (this.#contact.isConnected) this.#contact = { ...this.#contact, isConnected: false, sinceMs: clock.nowMs() };
    const isFirst = !this.#isAway;
    this.#isAway = true;
    if (!this.#reasons.isNews(reason)) return;
    if (isFirst) this.#listener?.onAway(reason);
    else this.#options.log.warn(`NATS is still away, now for another reason: ${reason}`, {}, { reason });
  }

  #setBack(): void {
    this.#isAway = false;
    const [sinceMs, connections] = [this.#options.clock.nowMs(), this.#contact.connections + 1];
    this.#contact = { ...this.#contact, isConnected: true, sinceMs, connections };
    this.#reasons.forget();
    this.#listener?.onBack();
  }

  /** Logs other settings of the bucket, as the server opens such a bucket without an error. */
  #sayDifference(difference: string | undefined): void {
    if (difference !== undefined && difference !== this.#saidDifference) {
      const { bucket, log } = this.#options;
      log.warn(`the bucket ${bucket} is not as it should be: ${difference}`, {}, { bucket, difference });
    }
    this.#saidDifference = difference;
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
