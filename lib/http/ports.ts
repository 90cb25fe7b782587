/** What the HTTP edge needs from the rest of the node; lib/node hands it in. */
import type { CancelSignal } from "../core/base/cancel.ts";
import type { Hit, Loaded } from "../core/group.ts";
import type { GroupStats } from "../core/group-stats.ts";
import type { Waiter } from "../core/load/flights.ts";
import type { Roster } from "../core/roster.ts";

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
  /** Main cache, then hot cache, without waiting; `undefined` on a miss. Counts the get. */
  lookup(key: string): Hit | undefined;
  /** The rest of a get after a failed {@linkcode lookup}, which is not counted again. Never throws. */
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

/**
 * The groups that this node serves now, by name. Every request reads it anew: a group that is added is served at once, and
 * a group that is removed answers 404 at once.
 */
export type ServedGroups = ReadonlyMap<string, { readonly group: CacheGroup }>;

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
