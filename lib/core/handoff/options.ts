/**
 * Handoff: values move with their keys. A new owner asks the former owners before the origin (peek.ts). A leaving node
 * sends its values to the next owners (drain.ts). With two replicas a second node keeps a copy (replicas.ts).
 *
 * So a deploy causes no origin loads. No answer depends on a handoff: when it fails, the origin is asked.
 */
import type { Clock } from "../base/clock.ts";
import type { SharedBudget } from "../cache/shared-budget.ts";
import type { LifetimePolicy } from "../lifetime/policy.ts";
import type { PeerPicker } from "../ports.ts";

/** The options that all handoff parts of a group share. */
export interface HandoffOptions {
  readonly group: string;
  readonly picker: PeerPicker;
  readonly caches: SharedBudget;
  readonly clock: Clock;
  /** Bounds the lifetime of values from other nodes. */
  readonly lifetime: LifetimePolicy;
  /** How long a load may take, its peeks included, in milliseconds. */
  readonly loadTimeoutMs: number;
  /** On how many nodes each value is kept: 1, or 2 for the owner and the next in rank. */
  readonly replicas: number;
  /** Counts here. */
  readonly stats: HandoffStats;
}

/** The counters of handoff. */
export interface HandoffStats {
  /** Misses for which other nodes were asked before the origin. */
  peeks: number;
  /** Peeks that found the value. */
  peekHits: number;
  /** Entries that other nodes took from this one. */
  entriesPushed: number;
  /** Entries that this node took from others. */
  entriesTaken: number;
}
