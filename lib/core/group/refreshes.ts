/** Refreshes values while they are served: stale values, and popular values before they expire. */
import type { Clock } from "../base/clock.ts";
import { RecentLooks } from "../lifetime/recent-looks.ts";
import { isDueEarly } from "../lifetime/times.ts";
import { BackgroundWaiter } from "../load/flights.ts";
import type { RequestHead } from "../ports.ts";
import type { Value } from "../value.ts";
import type { Loaded } from "./loaded.ts";
import type { Ways } from "./ways.ts";

/** Chosen: the pause between two asks of a value's owner while this node's own copy is stale. */
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

  /** Begins a refresh of a fresh value with a probability that grows towards its end. */
  beginIfDue(key: string, cacheKey: string, value: Value, request: RequestHead | undefined): void {
    const { clock, random } = this.#options;
    if (isDueEarly(clock.nowMs(), value.freshUntilMs, value.loadMs, random)) this.begin(key, cacheKey, value, request);
  }

  /** Begins a refresh. Only the owner loads, once in the whole cluster; any other node just asks the owner. */
  begin(key: string, cacheKey: string, value: Value, request: RequestHead | undefined): void {
    const { ways: { picker, origin, owner, failover, loads, fetches, counters }, clock } = this.#options;
    if (origin.isBackingOff(cacheKey)) return;
    const peer = picker.pick(key);
    const background = new BackgroundWaiter<Loaded>(request);
    if (peer === undefined) {
      if (loads.has(cacheKey)) return;
      counters.refreshes++;
      loads.fly(cacheKey, background, (flight) => {
        // A fresh value is refreshed early. Other nodes have the same value at best, so do not ask them.
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
