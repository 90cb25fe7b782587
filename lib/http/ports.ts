/** What the HTTP edge needs from the rest of the node; the composition root hands it in. */
import type { CancelSignal } from "../core/base/cancel.ts";
import type { Waiter } from "../core/load/flights.ts";
import type { GroupStats } from "../core/group-stats.ts";
import type { Roster } from "../core/roster.ts";
import type { Value } from "../core/value.ts";
import type { Source } from "./cache/cache-status.ts";

export interface Loaded {
  readonly value: Value;
  /** Where the value was found. */
  readonly source: Source;
  /** Whether this node keeps it. */
  readonly stored: boolean;
}

/** What a group has done and holds. A figure that it leaves out is not shown. */
export type GroupFigures = Partial<GroupStats> & { readonly roster?: Pick<Roster, "revision" | "peers"> };

/** What went over the link to one peer: over the connection that stands, 0 when there is none. */
export interface LinkFigures {
  /** The peer's. */
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

/** Whatever is the node's rather than one group's. */
export interface NodeFigures {
  /** As `/readyz` tells. */
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
  /** Where it answers for itself alone. */
  readonly url?: string;
  readonly report?: NodeReport;
  readonly fault?: string;
}

/** The machine that this node is a worker of, for the routes that answer for all its workers. */
export interface MachineFace {
  readonly name: string;
  readonly url: string;
  /** Everyone's report, within a bounded time; `own` is this node's. Never rejects. */
  workers(own: NodeReport): Promise<readonly WorkerReport[]>;
}

/** A named cache, as far as HTTP asks it. */
export interface CacheGroup {
  readonly name: string;
  /** Main cache, then hot cache, without waiting; `undefined` on a miss. Counts the get. */
  lookup(key: string): { value: Value; from: "main" | "hot" } | undefined;
  /** The rest of a get after a failed {@linkcode lookup}, which is not counted again. Never throws. */
  load(key: string, waiter: Waiter<Loaded>): void;
  /**
   * For a groupcache peer: from a cache or by one load from the origin, never from another peer.
   *
   * @param options.signal aborted when the client has gone
   * @throws NotFoundError, OriginError, OriginTimeoutError, OverloadedError
   */
  getAsOwner(key: string, options: { signal: CancelSignal }): Promise<Loaded>;
  /** Counters, as they are to be printed in JSON and for Prometheus. */
  stats(): GroupFigures;
}

/** The node, as its probes and its statistics show it. */
export interface NodeFace {
  readonly name: string;
  readonly incarnation: string;
  readonly version: string;
  readonly runtime: string;
  /** Joined and serving, not starting or draining. */
  isReady(): boolean;
  /** As they are to be printed in JSON, those that have no name here included. */
  stats(): NodeFigures;
}
