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
  /** With the rules by which their values are still good. */
  readonly caches: SharedBudget;
}

/** One group of this node: its origin, its peers, and its policy. */
export interface GroupOptions {
  readonly name: string;
  readonly origin: Origin;
  readonly picker: PeerPicker;
  readonly clock: Clock;
  /** For the main and the hot cache together: what their entries cost in memory, in bytes. See cache/memory.ts. */
  readonly budgetBytes: number;
  /** Whether the caches find entries by the hash of their key: see ByteCache. @default false */
  readonly isHashed?: boolean;
  /** What an entry counts against the budget: see cache/memory.ts. @default as on the runtime that needs more */
  readonly costOf?: CostOf;
  /** For how long values may be served. @default DEFAULT_LIFETIME */
  readonly lifetime?: Partial<LifetimePolicy>;
  /** Where this node is in the log of invalidations. @default nothing is ever invalidated */
  readonly position?: LogPosition;
  /** Without contact with the log for so long, in milliseconds, the caches are not used; null: they are. @default null */
  readonly maxBlindMs?: number | null;
  /** The group of this name so far: this one goes on with its values. @default it begins empty */
  readonly takesOver?: { readonly memory: GroupMemory } | undefined;
  /** Whether it is only written to, so that what no node holds can be had nowhere. @default false */
  readonly isWriteOnly?: boolean;
  /** Whether this node reaches the origin. @default it finds out, and tells nobody */
  readonly reachability?: Reachability;
  /** Told how each load from the origin ended. @default nobody is */
  readonly health?: OriginHealth | undefined;
  /**
   * Whether this node serves the group. If not, it asks the peers that do, and its origin refuses every load; the picker never
   * picks this node.
   *
   * @default true
   */
  readonly isServed?: boolean;
  /** Holds this node's own misses while it is closed; what peers ask does not wait. @default nothing is held */
  readonly gate?: StartGate | undefined;
  /** How long a load from the origin may take, in milliseconds. */
  readonly loadTimeoutMs: number;
  /** On how many nodes each value is kept, 1 or 2. @default 1 */
  readonly replicas?: number;
  /**
   * A key fetched from its owner this many times recently is popular: its hot copy may displace others. Spare room is filled
   * with any copy. 0: no hot copies. @default 2
   */
  readonly hotAfterFetches?: number;
  /** The most loads in flight, and the most fetches from peers in flight. @default 10_000 */
  readonly maxFlights?: number;
  /** Bounds the bodies that all groups of this process are loading. @default nothing does */
  readonly loading?: LoadingBytes | undefined;
  /** Records each ask of a peer and each load. @default nobody does */
  readonly tracing?: Tracing | undefined;
  /** Makes an entity tag for a body that came without one, for HTTP origins. @default none is made */
  readonly etagOf?: (body: Uint8Array<ArrayBuffer>) => string;
  /** From 0 to 1. @default Math.random */
  readonly random?: () => number;
}
