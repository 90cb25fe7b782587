/** The interfaces that the HTTP edge needs from the rest of the node; lib/node passes them in. */
import type { CancelSignal } from "../core/base/cancel.ts";
import type { Trace } from "../core/base/trace.ts";
import type { Description } from "../core/group/description.ts";
import type { Hit, Loaded } from "../core/group/loaded.ts";
import type { GroupStats } from "../core/group/stats.ts";
import type { Label } from "../core/invalidation/label.ts";
import type { Invalidation } from "../core/invalidation/message.ts";
import type { AnswerMeter } from "../core/measure/answer-meter.ts";
import type { OriginHealthFigures } from "../core/load/origin-health.ts";
import type { Waiter } from "../core/load/flights.ts";
import type { ForwardedAnswer, ForwardedRequest, RequestHead } from "../core/ports.ts";
import type { Fields } from "../core/semantics/fields.ts";
import type {
  Difference,
  GroupAbout,
  GroupFigures,
  GuardFigures,
  NodeFigures,
  NodeReport,
  RecentLine,
  WorkerReport,
} from "./figures.ts";

/** The machine of this worker, for routes that answer for all its workers. */
export interface MachineFace {
  readonly name: string;
  readonly url: string;
  /** The report of every worker, within a bounded time; `own` is this node's. Never rejects. */
  workers(own: NodeReport): Promise<readonly WorkerReport[]>;
}

/** A named cache, as HTTP asks it; a core Group is one. */
export interface CacheGroup {
  readonly name: string;
  /**
   * Main cache, then hot cache, without waiting; `undefined` on a miss. Counts the get.
   *
   * @param request for a site only: its header fields may choose between variants of one key
   */
  lookup(key: string, request?: RequestHead): Hit | undefined;
  /**
   * The rest of a get after a {@linkcode lookup} that found nothing. The get is not counted again. Never throws. The
   * value may be a remembered "not found", with status 404 and without fields.
   */
  load(key: string, waiter: Waiter<Loaded>): void;
  /**
   * A get for a groupcache peer: from a cache or by one load from the origin, never from another peer.
   *
   * @param options.signal aborted when the client has gone
   * @throws NotFoundError, OriginError, OriginTimeoutError, OverloadedError
   */
  getAsOwner(key: string, options: { signal: CancelSignal; trace?: Trace | undefined }): Promise<Loaded>;
  /**
   * Whether this node has applied all invalidations up to the label, so that a get gives nothing older. If not, a
   * promise: the node catches up for 250 ms at most, and it resolves to whether the node has got there.
   */
  reach(label: Label): true | Promise<boolean>;
  /** Like {@linkcode load}, but always from the origin, and no cache keeps the value: for a node that is behind. */
  loadUnkept(key: string, waiter: Waiter<Loaded>): void;
  /** Whether this node cannot read the log of invalidations now, so that it may be behind. */
  readonly isBehind: boolean;
  /** When this node lost its way to the origin, in Unix milliseconds; `undefined`: it has one, as far as it knows. */
  readonly originLostAtMs?: number | undefined;
  /** Counts the answers to clients. */
  readonly answers: AnswerMeter;
  /** Describes what a get of the key would find here, for people. Changes nothing and counts nothing. */
  describe(key: string): Description;
  /** The entries of the main cache, in no order, with their encoded bytes. O(n). */
  resident(): readonly { readonly key: string; readonly bytes: number }[];
  /** The counters, ready for JSON and Prometheus. */
  stats(): Partial<GroupStats>;
}

/** The result of an invalidation. */
export interface Invalidated {
  /** Its place in the log. */
  readonly label: Label;
  /** The names of the listed peers that had applied it when the call ended, including this node. */
  readonly applied: readonly string[];
  /** The names of those that had not. Without a wait only this node is asked. */
  readonly behind: readonly string[];
  /** From the call until the message was durable, and until all nodes had applied it; in milliseconds. */
  readonly durableMs: number;
  readonly appliedMs: number;
}

export interface WaitOptions {
  /** How long to wait until the listed peers have applied it, in milliseconds; 0: do not wait. */
  readonly waitMs: number;
}

/** A value as a client writes it. */
export interface WrittenValue {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly contentType: string;
  /** Its own lifetime, in milliseconds; used only if the group honours such lifetimes. @default the group's */
  readonly ttlMs?: number | undefined;
}

/** Changes that clients may make in a group. */
export interface InvalidationFace {
  /**
   * Resolves when the message is durable and this node has applied it; with `waitMs`, when the listed peers have too.
   *
   * @throws UnavailableError nothing was invalidated, or (`isAmbiguous`) it may still happen
   */
  invalidate(message: Invalidation, options: WaitOptions): Promise<Invalidated>;
  /**
   * Writes a value: takes a place in the log first, then stores the value at the key's owner. Only for a writable
   * group.
   *
   * @throws UnavailableError as `invalidate`; OverloadedError no node has room for it; PeerError the owner cannot be
   * reached
   */
  write(key: string, value: WrittenValue, options: WaitOptions): Promise<Invalidated>;
}

/** The answer to a request that went through. */
export interface SiteAnswer extends ForwardedAnswer {
  /**
   * Set on the answer to a POST if that answer may serve later GETs. Call it once, after `invalidate`. Nothing is kept
   * if the key changes in the meantime, or the body is cut or too long.
   *
   * @param own the result of `invalidate`
   * @returns the body to send to the client in place of the answer's own
   */
  keep?(own: Label | undefined): ReadableStream<Uint8Array>;
}

/** The additional parts of a group whose origin is a site. */
export interface SiteFace {
  /**
   * Any method, streamed both ways, never tried again. A site that stalls ends it, before or in its answer.
   *
   * @throws OriginError, OriginTimeoutError, OverloadedError; RequestBodyError the client's body broke off
   */
  forward(request: ForwardedRequest, signal: AbortSignal): Promise<SiteAnswer>;
  /** Whether requests for this key go straight through for now, because its answers may not be shared. */
  isPassing(key: string): boolean;
  /** Called when an answer for this key could have been kept; the next request may then be a load. */
  passNoMore(key: string): void;
  /**
   * Called when a request has changed the value of this key; the answer's fields may name more keys, and tags.
   * Resolves, within a bounded time, when all reachable nodes have dropped the values. Without NATS only this node
   * drops them. Never rejects.
   *
   * @returns the place of this invalidation in the log, if this node has applied it
   */
  invalidate(key: string, answerFields: Fields): Promise<Label | undefined>;
}

/** A group as the HTTP edge serves it. */
export interface ServedGroup {
  readonly group: CacheGroup;
  /** Whether this node serves the group itself; if not, it asks the peers that do. @default true */
  readonly isServed?: boolean;
  /** For a group whose origin is guarded. */
  readonly guard?: { figures(): GuardFigures } | undefined;
  readonly about?: GroupAbout;
  /** The health of its origin. @default not known */
  readonly health?: { figures(): OriginHealthFigures };
  /** For a group whose origin is a site. */
  readonly site?: SiteFace | undefined;
  readonly invalidation: InvalidationFace;
  /** Whether clients may write and delete its values. */
  readonly isWritable: boolean;
  /** The longest value that it keeps, in bytes. */
  readonly valueBytesMax: number;
}

/**
 * The groups that this node serves now, by name. Every request reads the map again, so an added group is served at
 * once, and a removed group answers 404 at once.
 */
export type ServedGroups = ReadonlyMap<string, ServedGroup>;

/** The group for each host, by host name or `host:port` in lower case. Every request reads the map again. */
export type ServedHosts = ReadonlyMap<string, ServedGroup>;

/** The node, for its probes and its statistics. */
export interface NodeFace {
  readonly name: string;
  readonly incarnation: string;
  readonly version: string;
  readonly runtime: string;
  /** Whether it has joined and serves, and is neither starting nor draining. */
  isReady(): boolean;
  /** The figures of the node, ready for JSON. Fields outside this type are printed too. */
  stats(): NodeFigures;
  /** The peers of a group as this node knows them; `undefined`: none are shown. */
  roster(group: string): GroupFigures["roster"];
  /** The differences between the peers of a group. @default none */
  differences?(group: string): readonly Difference[];
  /** Its recent log lines, the latest first. @default none */
  recent?(): readonly RecentLine[];
  /**
   * The report of a peer, over the link to it; `undefined`: this node knows no peer of that name.
   *
   * @throws PeerError the peer has not sent it
   * @default no peer is known
   */
  reportOfPeer?(name: string): Promise<NodeReport | undefined>;
  /** A peer's `Explanation` of a key (`admin/explain.ts`). As `reportOfPeer`. @throws PeerError */
  explainAtPeer?(name: string, group: string, key: string): Promise<object | undefined>;
}
