/**
 * Bounds every value from another node: an owner's answer, a former owner's value, a handed-over value, a second copy,
 * a written value. This node's policy bounds them, as the policies of nodes may differ.
 */
import type { LifetimePolicy } from "./policy.ts";
import { isUsableOnError, isUsableStale, type Times } from "./times.ts";

/** Which of a value's times came from its origin. The others came from the policy of the node that loaded it. */
export interface OwnTimes {
  readonly hasOwnLifetime: boolean;
  readonly hasOwnStale: boolean;
}

/**
 * The times for which this node may serve a value: the earlier of both ends in each case. A lifetime starts at the
 * value's birth, so the time at the other node counts. Times from the origin stay, if this node honours them.
 *
 * @param lifetimeMs the lifetime of such a value by this node's policy; null: without end
 * @returns `given` itself, if it ends early enough, as always when both nodes have the same policy
 */
export function boundedTimes(given: Times, own: OwnTimes, policy: LifetimePolicy, lifetimeMs: number | null): Times {
  const { honourOrigin, staleWhileRevalidateMs: whileRevalidateMs, staleIfErrorMs: ifErrorMs } = policy;
  const { bornAtMs, freshUntilMs: givenUntilMs } = given;
  const isOwn = lifetimeMs === null || own.hasOwnLifetime && honourOrigin;
  const ownUntilMs = isOwn ? givenUntilMs : bornAtMs + lifetimeMs;
  const freshUntilMs = Math.min(givenUntilMs, ownUntilMs);
  // A value without end is never stale.
  if (freshUntilMs === Infinity) return given;
  const staleMs = (givenMs: number, policyMs: number) => {
    if (own.hasOwnStale && honourOrigin) return givenMs;
    const endsAtMs = ownUntilMs + policyMs;
    if (freshUntilMs === givenUntilMs && endsAtMs >= givenUntilMs + givenMs) return givenMs;
    return Math.max(0, Math.min(givenUntilMs + givenMs, endsAtMs) - freshUntilMs);
  };
  const staleWhileRevalidateMs = staleMs(given.staleWhileRevalidateMs, whileRevalidateMs);
  const staleIfErrorMs = staleMs(given.staleIfErrorMs, ifErrorMs);
  const isSame = freshUntilMs === givenUntilMs && staleWhileRevalidateMs === given.staleWhileRevalidateMs &&
    staleIfErrorMs === given.staleIfErrorMs;
  return isSame ? given : { bornAtMs, freshUntilMs, staleWhileRevalidateMs, staleIfErrorMs };
}

/**
 * Whether the other node may still serve a value in its present state and this node may not, because the policies
 * differ. A value that has ended at the other node, too, was sent for a reason that also holds here.
 */
export function isTooOldHere(given: Times, bounded: Times, nowMs: number): boolean {
  if (bounded === given || isServed(bounded, nowMs)) return false;
  return isServed(given, nowMs) || isUsableOnError(given, nowMs) && !isUsableOnError(bounded, nowMs);
}

function isServed(times: Times, nowMs: number): boolean {
  return times.freshUntilMs > nowMs || isUsableStale(times, nowMs);
}
