/** Values that are renewed while they are served: stale ones, and popular ones before they expire. */
import type { Clock } from "../base/clock.ts";
import { RecentLooks } from "../lifetime/recent-looks.ts";
import { isDueEarly } from "../lifetime/times.ts";
import { BackgroundWaiter } from "../load/flights.ts";
import type { RequestHead } from "../ports.ts";
import type { Value } from "../value.ts";
import type { Loaded } from "./loaded.ts";
import type { Ways } from "./ways.ts";

/** Chosen: from one look of this node at a value's owner to the next, while its own copy is stale. */
const REFRESH_PAUSE_MS = 250;

export interface RefreshesOptions {
  readonly ways: Ways;
  readonly clock: Clock;
  /** From 0 to 1. */
  readonly random: () => number;
}

/** One group's refreshes. Nothing waits for them. */
export class Refreshes {
  readonly #options: RefreshesOptions;
  readonly #looks: RecentLooks;

  constructor(options: RefreshesOptions) {
    this.#options = options;
    this.#looks = new RecentLooks(options.clock);
  }

  /** Begins one for a fresh value that should not expire, with a chance that grows towards its end. */
  beginIfDue(key: string, cacheKey: string, value: Value, request: RequestHead | undefined): void {
    const { clock, random } = this.#options;
    if (isDueEarly(clock.nowMs(), value.freshUntilMs, value.loadMs, random)) this.begin(key, cacheKey, value, request);
  }

  /** One load in the whole cluster, at the owner; this node's own look at the owner is none. */
  begin(key: string, cacheKey: string, value: Value, request: RequestHead | undefined): void {
    const { ways: { picker, origin, owner, failover, loads, fetches, counters }, clock } = this.#options;
    if (origin.isBackingOff(cacheKey)) return;
    const peer = picker.pick(key);
    const background = new BackgroundWaiter<Loaded>(request);
    if (peer === undefined) {
      if (loads.has(cacheKey)) return;
      counters.refreshes++;
      loads.fly(cacheKey, background, (flight) => {
        // A fresh one is refreshed ahead of its end: any other node has the same at best.
        const isFresh = value.freshUntilMs > clock.nowMs();
        flight.follow(
          isFresh ? owner.fromOrigin(key, cacheKey, flight, request) : owner.make(key, cacheKey, flight, request),
        );
      });
    } else if (!fetches.has(cacheKey) && this.#looks.isFirst(cacheKey, REFRESH_PAUSE_MS)) {
      counters.refreshes++;
      fetches.fly(cacheKey, background, (flight) => failover.fetch(peer, key, flight, request));
    }
  }
}
