/** Decides which incoming values a group keeps, and to which other nodes it sends them. */
import { cacheKeyFor, cacheKeyOf, findFor, storeVariant } from "../cache/variants.ts";
import { HotCopies } from "../cache/hot-copies.ts";
import type { SharedBudget } from "../cache/shared-budget.ts";
import { NotFoundError } from "../errors.ts";
import { accept } from "../handoff/accept.ts";
import { Drain } from "../handoff/drain.ts";
import type { HandoffOptions } from "../handoff/options.ts";
import { Pusher } from "../handoff/push.ts";
import { Replicas } from "../handoff/replicas.ts";
import type { Validity } from "../invalidation/validity.ts";
import { isTooOldHere } from "../lifetime/bounds.ts";
import type { PassedKeys } from "../lifetime/passed-keys.ts";
import type { ReceivedBy } from "../load/failover.ts";
import { isFailureStatus, isWorthKeeping, type OriginLoads } from "../load/origin-loads.ts";
import type { Entry, RequestHead } from "../ports.ts";
import { type Value, within } from "../value.ts";
import { asLoaded, type Loaded } from "./loaded.ts";

export interface KeepingOptions {
  /** The caches and the rules for moving values between nodes. */
  readonly handoff: HandoffOptions;
  /** Learns which keys got a fresh value, and decides whether a stale value may replace a failed load. */
  readonly origin: OriginLoads;
  /** The keys whose answers may not be shared. */
  readonly passed: PassedKeys;
  /** Whether this node serves the group: see GroupOptions. */
  readonly isServed: boolean;
  /** See GroupOptions. */
  readonly hotAfterFetches: number;
}

/**
 * Values come from the origin (`loaded`), from peers that this node asked (`received`, `keepFromPeer`), from peers that
 * push (`accept`), and from clients that write (`keepAsOwner`). A value that an invalidation covers is never kept.
 */
export class Keeping {
  readonly #options: KeepingOptions;
  readonly #caches: SharedBudget;
  readonly #validity: Validity;
  readonly #copies: HotCopies;
  readonly #replicas: Replicas;
  readonly #drain: Drain;
  readonly #storeInMain = (cacheKey: string, value: Value) => this.#caches.store(this.#caches.main, cacheKey, value);

  constructor(options: KeepingOptions) {
    const { handoff, hotAfterFetches } = options;
    this.#options = options;
    this.#caches = handoff.caches;
    this.#validity = handoff.caches.validity;
    this.#copies = new HotCopies(handoff.caches, handoff.lifetime, hotAfterFetches);
    const pusher = new Pusher(handoff);
    this.#replicas = new Replicas(handoff, pusher);
    this.#drain = new Drain(handoff, pusher);
  }

  /** The value itself, if it is fresh. */
  fresh(value: Value | undefined): Value | undefined {
    return value !== undefined && value.freshUntilMs > this.#options.handoff.clock.nowMs() ? value : undefined;
  }

  /** A fresh value in the main cache, as the result of a load. */
  present(key: string, request: RequestHead | undefined): Loaded | undefined {
    const hit = findFor(this.#caches, cacheKeyFor(this.#caches, key, request), request);
    const value = hit?.from === "main" ? this.fresh(hit.value) : undefined;
    return value && { value, source: "main", stored: true };
  }

  /** Takes the origin's new answer. Even if it is not kept, it removes the older value, unless the origin failed. */
  loaded(key: string, value: Value, hasOlder: boolean): boolean {
    const { handoff, passed } = this.#options;
    if (value.about.isPrivate) passed.add(key);
    // The key was invalidated after the load began, so the cache may already hold a newer value.
    if (this.#validity.isCovered(key, value)) return false;
    if (isWorthKeeping(value, handoff.clock.nowMs())) return this.keepAsOwner(key, value);
    if (hasOlder && !isFailureStatus(value.about.status)) this.#caches.remove(cacheKeyOf(key, value));
    return false;
  }

  /**
   * Takes the owner's answer. The owner vouches that the value is good at least up to `after`.
   *
   * @returns `undefined`: the value is older than this ask, and this node's policy forbids serving it. It may still be
   * kept, for use when the origin fails or for validation
   */
  received(key: string, given: Value, { after, askedAtMs, isElsewhere }: ReceivedBy): Loaded | undefined {
    const { handoff: { picker, clock, lifetime }, origin, passed, isServed } = this.#options;
    // A node that has seen no log asks with an empty label, so the answer vouches for nothing.
    const isLower = after.epoch > 0 && this.#validity.compare(given.label, after) < 0;
    const bounded = within(lifetime, given);
    const value = isLower ? { ...bounded, label: after } : bounded;
    const nowMs = clock.nowMs();
    const isTooOld = isServed && given.bornAtMs < askedAtMs && isTooOldHere(given, bounded, nowMs);
    const answer = (stored: boolean): Loaded | undefined => isTooOld ? undefined : { value, source: "peer", stored };
    const { isPrivate, status } = value.about;
    if (isPrivate) passed.add(key);
    else if (!isServed) passed.delete(key);
    if (value.freshUntilMs > nowMs) origin.succeeded(cacheKeyOf(key, value));
    if (this.#validity.isCovered(key, value)) return answer(false);
    if (isWorthKeeping(value, nowMs)) {
      return answer(this.keepFromPeer(key, value, isElsewhere && picker.pick(key) === undefined));
    }
    if (!isFailureStatus(status)) this.#forgetStale(cacheKeyOf(key, value));
    return answer(false);
  }

  /** Keeps a peer's value: the owner in its main cache, another node as a hot copy. @returns whether it is kept */
  keepFromPeer(key: string, value: Value, isOwner: boolean): boolean {
    return isOwner ? this.keepAsOwner(key, value) : this.#copies.keep(key, value, this.#options.handoff.clock.nowMs());
  }

  /** Keeps a former owner's marker of variants. */
  keepMarker(key: string, marker: Value): void {
    this.#storeInMain(key, marker);
  }

  /** Also sends the value to the other nodes that must have it. @returns whether this node keeps it */
  keepAsOwner(key: string, given: Value): boolean {
    const value = this.#validity.check(key, given);
    if (value === undefined) return false;
    if (this.#drain.hasBegun) this.#drain.add(key, value);
    else this.#replicas.send(key, value);
    return storeVariant(this.#caches, key, value, this.#storeInMain);
  }

  /** Takes those of a peer's pushed entries that this node must keep, if there is room. @returns how many were taken */
  accept(entries: readonly Entry[], from: string, isWritten: boolean): number {
    const { handoff } = this.#options;
    const taken = accept(entries, from, handoff, isWritten);
    if (!isWritten || taken === 0) return taken;
    for (const { key, value } of entries) if (handoff.picker.pick(key) === undefined) this.#replicas.send(key, value);
    return taken;
  }

  /** After a failed load, here or at the owner: this node's copy, if it has one that may be served then. */
  standIn(cacheKey: string, error: unknown, request: RequestHead | undefined): Loaded | undefined {
    if (error instanceof NotFoundError) this.#forgetStale(cacheKey);
    const hit = findFor(this.#caches, cacheKey, request);
    return hit && this.#options.origin.failed(cacheKey, error, hit.value) && asLoaded(hit);
  }

  /** After a change of owners: sends second copies to their new places. Never rejects. */
  rebalance(): Promise<void> {
    return this.#replicas.rebalance();
  }

  /** Ends a rebalance. */
  stopRebalance(): void {
    this.#replicas.stop();
  }

  /** Hands over all values: see Drain. */
  drain(signal: AbortSignal, landed: () => Promise<unknown>): Promise<void> {
    this.#replicas.stop();
    return this.#drain.run(signal, landed);
  }

  /** Removes a stale copy: the owner has no value to replace it. A copy that became fresh meanwhile stays. */
  #forgetStale(cacheKey: string): void {
    const held = this.#caches.find(cacheKey)?.value;
    if (held !== undefined && this.fresh(held) === undefined) this.#caches.remove(cacheKey);
  }
}
