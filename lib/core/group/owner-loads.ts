/** Loads of keys that this node owns or loads in the owner's place. */
import { cacheKeyFor, cacheKeyOf, findFor, isFor } from "../cache/variants.ts";
import { NotFoundError, PassThroughError } from "../errors.ts";
import type { HandoffOptions } from "../handoff/options.ts";
import { Peeks } from "../handoff/peek.ts";
import type { PassedKeys } from "../lifetime/passed-keys.ts";
import type { Flight } from "../load/flights.ts";
import type { OriginLoads } from "../load/origin-loads.ts";
import type { RequestHead } from "../ports.ts";
import { isMarker, PLAIN, type Value } from "../value.ts";
import type { Keeping } from "./keeping.ts";
import type { Loaded } from "./loaded.ts";

export interface OwnerLoadsOptions {
  readonly handoff: HandoffOptions;
  readonly origin: OriginLoads;
  readonly keeping: Keeping;
  /** The keys whose answers may not be shared. */
  readonly passed: PassedKeys;
}

/** Step 3 of a get: see Group. */
export class OwnerLoads {
  readonly #options: OwnerLoadsOptions;
  readonly #peeks: Peeks;

  constructor(options: OwnerLoadsOptions) {
    this.#options = options;
    this.#peeks = new Peeks(options.handoff);
  }

  /** A value that was stored meanwhile, else a former owner's value, else the origin's. Fails as `fromOrigin`. */
  async make(
    key: string,
    cacheKey: string,
    flight: Flight<Loaded>,
    request: RequestHead | undefined,
  ): Promise<Loaded> {
    return this.#options.keeping.present(key, request) ??
      await this.#fromFormerOwners(key, cacheKey, flight, request) ??
      await this.fromOrigin(key, cacheKey, flight, request);
  }

  /** `undefined` at once when no other node can hold the value. */
  #fromFormerOwners(
    key: string,
    cacheKey: string,
    flight: Flight<Loaded>,
    request: RequestHead | undefined,
  ): Promise<Loaded | undefined> | undefined {
    const { handoff: { caches, picker }, keeping } = this.#options;
    return this.#peeks.ask(cacheKey, flight)?.then(async (found) => {
      let value = found;
      if (value !== undefined && isMarker(value)) {
        // The key has variants, so ask for this request's variant by its own cache key.
        keeping.keepMarker(key, value);
        value = await this.#peeks.ask(cacheKeyFor(caches, key, request), flight);
      }
      const present = keeping.present(key, request);
      if (present !== undefined || value === undefined || !isFor(value, request)) return present;
      if (caches.validity.isCovered(key, value)) return undefined;
      // If this node only stands in for the owner, it keeps a hot copy, not the owned value.
      const stored = keeping.keepFromPeer(key, value, picker.pick(key) === undefined);
      return { value, source: "peer", stored };
    });
  }

  /** Asks the origin and keeps its answer. Fails as OriginLoads does. */
  async fromOrigin(
    key: string,
    cacheKey: string,
    flight: Flight<Loaded>,
    request: RequestHead | undefined,
  ): Promise<Loaded> {
    const { handoff: { caches, clock }, origin, keeping, passed } = this.#options;
    const { validity } = caches;
    const find = () => findFor(caches, cacheKey, request);
    const before = find()?.value;
    const askedAtMs = clock.nowMs();
    const label = validity.applied;
    const isOutdated = (held: Value | undefined) =>
      held !== undefined && held !== before &&
      (flight.aborted || held.bornAtMs >= askedAtMs || validity.compare(held.label, validity.applied) > 0);
    try {
      const { value, isStandIn } = await origin.load(key, cacheKey, flight, label, () => find()?.value, request);
      if (isStandIn) return { value, source: find()?.from ?? "main", stored: true };
      // Keep the answer even without waiters, since the origin did the work. But another load may have stored a newer value.
      const held = findFor(caches, cacheKeyOf(key, value), request)?.value;
      const stored = !isOutdated(held) && keeping.loaded(key, value, held !== undefined);
      return { value, source: "origin", stored };
    } catch (error) {
      if (error instanceof PassThroughError) passed.add(key);
      // An invalidation since the load began also covers this "not found".
      const isCovered = validity.isCovered(key, { label, freshUntilMs: Infinity, about: PLAIN });
      if (error instanceof NotFoundError && !isCovered && !isOutdated(find()?.value)) caches.remove(cacheKey);
      throw error;
    }
  }
}
