/** Finds which of several NATS servers greets first. A server behind a path that drops packets must not delay the others. */
import type { Clock } from "../../core/base/clock.ts";
import { greets } from "./presence.ts";

/**
 * The delay before the next server is tried, too. Chosen as in RFC 8305 ("happy eyeballs", section 5: the connection
 * attempt delay): longer than most round trips, and short compared with the start of a node.
 */
const NEXT_LOOK_MS = 250;

/** A server that has greeted. */
export interface Greeted {
  /** `host:port`. */
  readonly server: string;
  /** From the first packet to the end of the greeting, in ms: two round trips. */
  readonly tookMs: number;
}

export interface RaceOptions {
  readonly clock: Clock;
  /** How long each server may take to greet, in ms. */
  readonly timeoutMs: number;
  /** Ends the race. */
  readonly signal: AbortSignal;
}

/** Tries servers in order: the next one 250 ms after the one before, or as soon as that one failed. */
export class GreetingRace {
  readonly #options: RaceOptions;
  readonly #unseen: string[];
  readonly #greeted: Greeted[] = [];
  readonly #ending = new AbortController();
  readonly #close = () => this.close();
  #looks = 0;
  #cancelNext = (): void => {};
  #wake = (): void => {};

  /** @param servers `host:port`; none is tried before `next` */
  constructor(servers: readonly string[], options: RaceOptions) {
    this.#options = options;
    this.#unseen = [...servers];
    options.signal.addEventListener("abort", this.#close);
    if (options.signal.aborted) this.close();
  }

  /** The next server that greets; `undefined` if none is left or the race has ended. One call at a time. Never rejects. */
  async next(): Promise<Greeted | undefined> {
    if (this.#greeted.length === 0) this.#look();
    while (this.#greeted.length === 0 && this.#looks > 0) await new Promise<void>((wake) => this.#wake = wake);
    return this.#ending.signal.aborted ? undefined : this.#greeted.shift();
  }

  /** Closes the connections of all attempts that have not ended. Idempotent. */
  close(): void {
    this.#options.signal.removeEventListener("abort", this.#close);
    this.#cancelNext();
    this.#unseen.length = 0;
    this.#ending.abort();
  }

  #look(): void {
    this.#cancelNext();
    const { clock, timeoutMs } = this.#options;
    const server = this.#unseen.shift();
    if (server === undefined) return;
    this.#looks++;
    if (this.#unseen.length > 0) this.#cancelNext = clock.after(NEXT_LOOK_MS, () => this.#look());
    void greets(server, { clock, timeoutMs, signal: this.#ending.signal }).then((tookMs) => {
      this.#looks--;
      if (tookMs === undefined) this.#look();
      else {
        // Try no further server unless the caller asks for one.
        this.#cancelNext();
        this.#greeted.push({ server, tookMs });
      }
      this.#wake();
    });
  }
}
