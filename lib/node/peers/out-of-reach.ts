/** Tells the operator when other nodes have evicted this node because they could not reach it. */
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";
import type { OutOfReachFigures } from "../../http/figures.ts";

/** Reachable peers have connected by then, as redials are at most 2 s apart. Chosen. */
const LOOK_AFTER_MS = 5_000;
/** Most names in the line. Chosen. */
const MAX_NAMES = 10;

export interface OutOfReachOptions {
  /** The URL at which the peers look for this node. */
  readonly url: string;
  readonly links: () => readonly { readonly name: string; readonly state: string }[];
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * After this node has put itself back, reports the peers without a connection to it: in one log line for each loss, and
 * in figures.
 */
export class OutOfReach {
  readonly #options: OutOfReachOptions;
  #cancel: (() => void) | undefined;
  /** The peers without a connection, and since when. Cleared when all of them have one or have left. */
  #told: { readonly names: ReadonlySet<string>; readonly sinceMs: number } | undefined;

  constructor(options: OutOfReachOptions) {
    this.#options = options;
  }

  /** Call it when this node puts its record back, in any of its groups. */
  putBack(): void {
    this.#cancel ??= this.#options.clock.after(LOOK_AFTER_MS, () => {
      this.#cancel = undefined;
      this.#look();
    });
  }

  /** The peers of the last line that still have no connection to this node; `undefined`: there are none. */
  figures(): OutOfReachFigures | undefined {
    if (this.#told === undefined) return undefined;
    const { names, sinceMs } = this.#told;
    const peers = this.#unconnected().filter((name) => names.has(name));
    if (peers.length === 0) return this.#told = undefined;
    const shown = peers.slice(0, MAX_NAMES);
    return { url: this.#options.url, since: new Date(sinceMs).toISOString(), peers: shown, count: peers.length };
  }

  stop(): void {
    this.#cancel?.();
    // Not `undefined`, so that no new check begins.
    this.#cancel = () => {};
  }

  #look(): void {
    const { url, clock, log } = this.#options;
    const names = this.#unconnected();
    if (names.length === 0) return;
    this.#told = { names: new Set(names), sinceMs: this.#told?.sinceMs ?? clock.nowMs() };
    const more = names.length > MAX_NAMES ? ` and ${names.length - MAX_NAMES} more` : "";
    const told = names.slice(0, MAX_NAMES).join(", ") + more;
    log.warn(
      `I was taken off the peer lists and have no connection to ${told}: they must reach me at ${url} (--advertise), ` +
        "and I them. A firewall?",
      {},
      { url, peers: names.slice(0, MAX_NAMES), count: names.length },
    );
  }

  #unconnected(): string[] {
    return this.#options.links().filter(({ state }) => state !== "open").map(({ name }) => name);
  }
}
