/** What a group asks of its origin at most, and what it does when the origin fails. */
export interface GuardPolicy {
  /** The most requests at the origin at once, of all nodes together; null: no limit. */
  readonly maxConcurrent: number | null;
  /** The most that wait on one node for their turn. */
  readonly maxQueued: number;
  /** The longest wait for a turn, in milliseconds. */
  readonly queueTimeoutMs: number;
  /** The share of failures at which the node stops asking, above 0 to 1; null: never. */
  readonly breakerShare: number | null;
  /** For how long it then does not ask, in milliseconds. */
  readonly breakerPauseMs: number;
  /** How often a load without an answer is tried again. */
  readonly retries: number;
  /** The most retries as a share of the loads. */
  readonly retryBudget: number;
}

/** Of a group that sets nothing. */
export const NO_GUARD: GuardPolicy = {
  maxConcurrent: null,
  maxQueued: 1_000,
  queueTimeoutMs: 5_000,
  breakerShare: null,
  breakerPauseMs: 5_000,
  retries: 0,
  retryBudget: 0.1,
};

/** Whether the policy asks for anything: a group without it pays nothing. */
export function isGuarded({ maxConcurrent, breakerShare, retries }: GuardPolicy): boolean {
  return maxConcurrent !== null || breakerShare !== null || retries > 0;
}
