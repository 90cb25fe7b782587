/** What the HTTP edge needs from the rest of the node; lib/node hands it in. */
import type { CancelSignal } from "../core/base/cancel.ts";
import type { Hit, Loaded } from "../core/group.ts";
import type { GroupStats } from "../core/group-stats.ts";
import type { Waiter } from "../core/load/flights.ts";
import type { ForwardedAnswer, ForwardedRequest, RequestHead } from "../core/ports.ts";
import type { Roster } from "../core/roster.ts";
import type { Fields } from "../core/semantics/fields.ts";

/** The counters and caches of a group. A missing figure is not shown. */
export type GroupFigures = Partial<GroupStats> & { readonly roster?: Pick<Roster, "revision" | "peers"> };

/** Traffic over the link to one peer: counted since the present connection opened, 0 without one. */
export interface LinkFigures {
  /** The name of the peer. */
  readonly name: string;
  /** `open` when it can be asked. */
  readonly state: string;
  readonly asked: number;
  readonly answered: number;
  readonly asksInFlight: number;
  readonly servedInFlight: number;
  readonly framesOut: number;
  readonly framesIn: number;
  readonly bytesOut: number;
}

/** The figures of the node itself, not of one group. */
export interface NodeFigures {
  /** The answer of `/readyz`. */
  readonly ready?: boolean;
  readonly links?: readonly LinkFigures[];
}

/** One node at one moment: what its `/stats` prints. */
export interface NodeReport extends NodeFigures {
  readonly name: string;
  readonly incarnation: string;
  readonly version: string;
  readonly runtime: string;
  readonly groups: Readonly<Record<string, GroupFigures>>;
}

/** One of the nodes behind a machine's public address: its report, or why there is none. */
export interface WorkerReport {
  readonly name: string;
  /** The address at which this worker alone answers. */
  readonly url?: string;
  readonly report?: NodeReport;
  readonly fault?: string;
}

/** The machine that this node is a worker of, for the routes that answer for all its workers. */
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
   * @param request for a site only: it may tell answers to one key apart
   */
  lookup(key: string, request?: RequestHead): Hit | undefined;
  /**
   * The rest of a get after a failed {@linkcode lookup}, which is not counted again. Never throws. The value may be the
   * memory of a "not found": its status is 404, without fields.
   */
  load(key: string, waiter: Waiter<Loaded>): void;
  /**
   * For a groupcache peer: from a cache or by one load from the origin, never from another peer.
   *
   * @param options.signal aborted when the client has gone
   * @throws NotFoundError, OriginError, OriginTimeoutError, OverloadedError
   */
  getAsOwner(key: string, options: { signal: CancelSignal }): Promise<Loaded>;
  /** The counters, ready for JSON and Prometheus. */
  stats(): Partial<GroupStats>;
}

/** What a group has besides its cache when its origin is a site. */
export interface SiteFace {
  /** Any method, streamed both ways, never tried again. @throws OriginError, OriginTimeoutError, OverloadedError */
  forward(request: ForwardedRequest, signal: AbortSignal): Promise<ForwardedAnswer>;
  /** Whether requests for this key go straight through for now, since its answers may not be shared. */
  isPassing(key: string): boolean;
  /** An answer for this key could have been kept: the next request may be a load. */
  passNoMore(key: string): void;
  /**
   * A request has changed the value of this key; the answer's fields may name more keys. Resolves when all nodes that can be
   * reached have dropped it, within a bounded time. Never rejects.
   */
  invalidate(key: string, answerFields: Fields): Promise<void>;
}

/** A group as the HTTP edge serves it. */
export interface ServedGroup {
  readonly group: CacheGroup;
  /** For a group whose origin is a site. */
  readonly site?: SiteFace | undefined;
}

/**
 * The groups that this node serves now, by name. Every request reads it anew: a group that is added is served at once, and
 * a group that is removed answers 404 at once.
 */
export type ServedGroups = ReadonlyMap<string, ServedGroup>;

/** The groups to which requests for a host go, by host name or `host:port` in lower case; read anew as the groups are. */
export type ServedHosts = ReadonlyMap<string, ServedGroup>;

/** The node, as its probes and its statistics show it. */
export interface NodeFace {
  readonly name: string;
  readonly incarnation: string;
  readonly version: string;
  readonly runtime: string;
  /** Joined and serving, not starting or draining. */
  isReady(): boolean;
  /** The figures of the node, ready for JSON; fields that have no name here are printed too. */
  stats(): NodeFigures;
  /** The peers of a group as this node knows them; `undefined`: none are shown. */
  roster(group: string): GroupFigures["roster"];
}
