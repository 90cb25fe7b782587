/**
 * Handoff: values move with their keys. A new owner asks the former owners before the origin (peek.ts); a node that leaves
 * sends its values to the next owners (drain.ts); with two replicas a second node keeps a copy (replicas.ts).
 *
 * So a deploy costs the origin nothing. No answer depends on it: when a handoff fails, the origin is asked.
 */
import type { Clock } from "../base/clock.ts";
import type { SharedBudget } from "../cache/shared-budget.ts";
import type { LifetimePolicy } from "../lifetime/policy.ts";
import type { PeerPicker } from "../ports.ts";

/** What the parts of one group's handoff share. */
export interface HandoffOptions {
  readonly group: string;
  readonly picker: PeerPicker;
  readonly caches: SharedBudget;
  readonly clock: Clock;
  /** Bounds the lifetime of what other nodes send. */
  readonly lifetime: LifetimePolicy;
  /** How long a load may take, its peeks included, in milliseconds. */
  readonly loadTimeoutMs: number;
  /** On how many nodes each value is kept: 1, or 2 for the owner and the next in rank. */
  readonly replicas: number;
  /** Counts here. */
  readonly stats: HandoffStats;
}

/** What handoff counts. */
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
