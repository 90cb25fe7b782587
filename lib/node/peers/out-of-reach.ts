/** Tells the operator of a node that the others took off the lists, as they could not reach it. */
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";

/** Peers that can be reached have connected by then: redials are at most 2 s apart. Chosen. */
const LOOK_AFTER_MS = 5_000;
/** Most names in the line. Chosen. */
const MAX_NAMES = 10;

export interface OutOfReachOptions {
  /** Where the peers look for this node. */
  readonly url: string;
  readonly links: () => readonly { readonly name: string; readonly state: string }[];
  readonly clock: Clock;
  readonly log: Log;
}

/** After this node put itself back: which peers have no connection to it, in one log line for each loss. */
export class OutOfReach {
  readonly #options: OutOfReachOptions;
  #cancel: (() => void) | undefined;

  constructor(options: OutOfReachOptions) {
    this.#options = options;
  }

  /** To be called when this node puts its record back, in any of its groups. */
  putBack(): void {
    this.#cancel ??= this.#options.clock.after(LOOK_AFTER_MS, () => {
      this.#cancel = undefined;
      this.#look();
    });
  }

  stop(): void {
    this.#cancel?.();
    // Not undefined: nothing is looked at any more.
    this.#cancel = () => {};
  }

  #look(): void {
    const { url, links, log } = this.#options;
    const names = links().filter(({ state }) => state !== "open").map(({ name }) => name);
    if (names.length === 0) return;
    const more = names.length > MAX_NAMES ? ` and ${names.length - MAX_NAMES} more` : "";
    const told = names.slice(0, MAX_NAMES).join(", ") + more;
    log.warn(
      `I was taken off the peer lists and have no connection to ${told}: they must reach me at ${url} (--advertise), ` +
        "and I them. A firewall?",
      {},
      { url, peers: names.slice(0, MAX_NAMES), count: names.length },
    );
  }
}
