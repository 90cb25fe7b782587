/**
 * Values that come from other nodes, whatever the way: an owner's answer, what a former owner still has, a handed-over value, a
 * second copy, a written one. This node's own policy bounds them, as nodes may be given different ones.
 */
import type { LifetimePolicy } from "./policy.ts";
import { isUsableOnError, isUsableStale, type Times } from "./times.ts";

/** Which of a value's times its origin has named itself. The policy of the node that loaded it gave the others. */
export interface OwnTimes {
  readonly hasOwnLifetime: boolean;
  readonly hasOwnStale: boolean;
}

/**
 * The times for which this node may serve a value: of each end, the sooner one. A lifetime is counted from the value's birth,
 * so the time at the other node counts. What the origin has named stays, if this node honours that.
 *
 * @param lifetimeMs how long this node's policy lets such a value live; null: without end
 * @returns `given` itself, if it ends soon enough. So it is where both nodes have the same policy
 */
export function boundedTimes(given: Times, own: OwnTimes, policy: LifetimePolicy, lifetimeMs: number | null): Times {
  const { honourOrigin, staleWhileRevalidateMs: whileRevalidateMs, staleIfErrorMs: ifErrorMs } = policy;
  const { bornAtMs, freshUntilMs: givenUntilMs } = given;
  const isOwn = lifetimeMs === null || own.hasOwnLifetime && honourOrigin;
  const ownUntilMs = isOwn ? givenUntilMs : bornAtMs + lifetimeMs;
  const freshUntilMs = Math.min(givenUntilMs, ownUntilMs);
  // Without end: it is never stale.
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
 * Whether the other node may still serve a value in its present state, and this one may not: the policies differ. A value
 * that has ended at the other node too was given for a reason that holds here as well.
 */
export function isTooOldHere(given: Times, bounded: Times, nowMs: number): boolean {
  if (bounded === given || isServed(bounded, nowMs)) return false;
  return isServed(given, nowMs) || isUsableOnError(given, nowMs) && !isUsableOnError(bounded, nowMs);
}

function isServed(times: Times, nowMs: number): boolean {
  return times.freshUntilMs > nowMs || isUsableStale(times, nowMs);
}
