import type { Clock } from "../base/clock.ts";
import type { Tracing } from "../base/trace.ts";
import type { CostOf } from "../cache/memory.ts";
import type { SharedBudget } from "../cache/shared-budget.ts";
import type { LogPosition } from "../invalidation/position.ts";
import type { LifetimePolicy } from "../lifetime/policy.ts";
import type { LoadingBytes } from "../load/loading-bytes.ts";
import type { OriginHealth } from "../load/origin-health.ts";
import type { Reachability } from "../load/reachability.ts";
import type { StartGate } from "../load/start-gate.ts";
import type { Origin, PeerPicker } from "../ports.ts";

/** The caches of a group, and its place in the log of invalidations. */
export interface GroupMemory {
  readonly position: LogPosition;
  /** Both caches, with the check whether their values are still good. */
  readonly caches: SharedBudget;
}

/** One group of this node: its origin, its peers, and its policy. */
export interface GroupOptions {
  readonly name: string;
  readonly origin: Origin;
  readonly picker: PeerPicker;
  readonly clock: Clock;
  /** For the main and the hot cache together: the bytes of memory that their entries may cost. See cache/memory.ts. */
  readonly budgetBytes: number;
  /** Whether the caches find entries by the hash of their key: see ByteCache. @default false */
  readonly isHashed?: boolean;
  /** The cost of an entry against the budget: see cache/memory.ts. @default as on the runtime that needs more */
  readonly costOf?: CostOf;
  /** For how long values may be served. @default DEFAULT_LIFETIME */
  readonly lifetime?: Partial<LifetimePolicy>;
  /** This node's position in the log of invalidations. @default nothing is ever invalidated */
  readonly position?: LogPosition;
  /** After this long without contact to the log, in milliseconds, the caches are not used. null: no limit. @default null */
  readonly maxBlindMs?: number | null;
  /** The former group of this name: the new group takes over its values. @default it begins empty */
  readonly takesOver?: { readonly memory: GroupMemory } | undefined;
  /** Whether the group has no origin and is only written to: a value that no node holds does not exist. @default false */
  readonly isWriteOnly?: boolean;
  /** Tracks whether this node reaches the origin. @default the group's own tracker, without a watcher */
  readonly reachability?: Reachability;
  /** Records how each load from the origin ended. @default none */
  readonly health?: OriginHealth | undefined;
  /**
   * Whether this node serves the group. If not, it asks the peers that serve it, its origin refuses every load, and the
   * picker never picks this node.
   *
   * @default true
   */
  readonly isServed?: boolean;
  /** Holds this node's own misses while it is closed. Asks that come from peers do not wait. @default no gate */
  readonly gate?: StartGate | undefined;
  /** How long a load from the origin may take, in milliseconds. */
  readonly loadTimeoutMs: number;
  /** On how many nodes each value is kept, 1 or 2. @default 1 */
  readonly replicas?: number;
  /**
   * A key that was fetched from its owner this many times recently is popular: its hot copy may evict others. Any copy
   * may fill spare room. 0: no hot copies. @default 2
   */
  readonly hotAfterFetches?: number;
  /** The most loads in flight, and the most fetches from peers in flight. @default 10_000 */
  readonly maxFlights?: number;
  /** Bounds the bodies that all groups of this process are loading. @default no bound */
  readonly loading?: LoadingBytes | undefined;
  /** Records each ask of a peer and each load. @default no records */
  readonly tracing?: Tracing | undefined;
  /** Makes an entity tag for a body that came without one, for HTTP origins. @default no tag */
  readonly etagOf?: (body: Uint8Array<ArrayBuffer>) => string;
  /** From 0 to 1. @default Math.random */
  readonly random?: () => number;
}
