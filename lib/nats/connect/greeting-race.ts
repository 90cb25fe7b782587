/** Which of several NATS servers greets first: a server that swallows packets must not hold up the others. */
import type { Clock } from "../../core/base/clock.ts";
import { greets } from "./presence.ts";

/**
 * How long one server is looked at alone. Chosen as in RFC 8305 ("happy eyeballs", section 5: the connection attempt
 * delay): longer than most round trips, and short beside the start of a node.
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

/** Looks at servers in their order: at the next one 250 ms after the one before, or as soon as that one has failed. */
export class GreetingRace {
  readonly #options: RaceOptions;
  readonly #unseen: string[];
  readonly #greeted: Greeted[] = [];
  readonly #ending = new AbortController();
  readonly #close = () => this.close();
  #looks = 0;
  #cancelNext = (): void => {};
  #wake = (): void => {};

  /** @param servers `host:port`; none is looked at before `next` */
  constructor(servers: readonly string[], options: RaceOptions) {
    this.#options = options;
    this.#unseen = [...servers];
    options.signal.addEventListener("abort", this.#close);
    if (options.signal.aborted) this.close();
  }

  /** The next server that greets; `undefined` when none is left, or the race has ended. One call at a time. Never rejects. */
  async next(): Promise<Greeted | undefined> {
    if (this.#greeted.length === 0) this.#look();
    while (this.#greeted.length === 0 && this.#looks > 0) await new Promise<void>((wake) => this.#wake = wake);
    return this.#ending.signal.aborted ? undefined : this.#greeted.shift();
  }

  /** Closes the connections of all looks that have not ended. Idempotent. */
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
        // No further look unless the caller asks for another server.
        this.#cancelNext();
        this.#greeted.push({ server, tookMs });
      }
      this.#wake();
    });
  }
}
