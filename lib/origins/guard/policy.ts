/** The limits on a group's requests to its origin, and the reaction when the origin fails. */
export interface GuardPolicy {
  /** The most requests at the origin at once, of all nodes together; null: no limit. */
  readonly maxConcurrent: number | null;
  /** The most requests that wait on one node for their turn. */
  readonly maxQueued: number;
  /** The longest wait for a turn, in milliseconds. */
  readonly queueTimeoutMs: number;
  /** The share of failures at which the node stops asking, above 0 to 1; null: never. */
  readonly breakerShare: number | null;
  /** How long it then stops asking, in milliseconds. */
  readonly breakerPauseMs: number;
  /** How often a load without an answer is tried again. */
  readonly retries: number;
  /** The most retries as a share of the loads. */
  readonly retryBudget: number;
}

/** The policy of a group that sets none of these fields. */
export const NO_GUARD: GuardPolicy = {
  maxConcurrent: null,
  maxQueued: 1_000,
  queueTimeoutMs: 5_000,
  breakerShare: null,
  breakerPauseMs: 5_000,
  retries: 0,
  retryBudget: 0.1,
};

/** Whether the policy needs a guard; a group without one pays nothing. */
export function isGuarded({ maxConcurrent, breakerShare, retries }: GuardPolicy): boolean {
  return maxConcurrent !== null || breakerShare !== null || retries > 0;
}
