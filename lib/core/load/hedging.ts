/**
 * Hedged requests (Dean and Barroso, "The Tail at Scale", 2013): which asks are late enough that a second peer is asked too.
 *
 * What it buys: five nodes, 400 requests/s, one node stopped for 2 s. Of the others' answers 0.5 % took over 1 s, and
 * 4.1 to 5.0 % without hedging (uniform keys; Zipf: 0.4 and 2.2 %). The p99 was 0.6 s instead of 1.7 s.
 */
import { Breaker } from "../base/time/breaker.ts";
import type { Clock } from "../base/clock.ts";
import { Deadlines } from "../base/time/deadlines.ts";
import { append, emptyList, isLinked, type ListNode, unlink } from "../base/tables/intrusive-list.ts";

/** The latest latencies that count. Chosen: a 95th percentile needs some dozens. */
const SAMPLES = 64;
/** Chosen: while fewer answers have come, the delay is not known. */
const MIN_SAMPLES = 16;
const UNKNOWN_DELAY_MS = 500;
/** Answers from one computation of the delay to the next. Sorting every few answers would cost as much as they do. */
const ANSWERS_PER_COMPUTATION = 256;
/** A pause of a runtime is shorter than this; it is no reason to ask twice. */
const MIN_DELAY_MS = 100;
/** Chosen: an ask is late when it takes twice as long as 95 % of the latest ones. */
const DELAY_QUANTILE = 0.95;
const DELAY_FACTOR = 2;
/** Chosen: at most 3 % of the asks are hedged, so that a slow origin is not asked twice for everything. */
const HEDGES_PER_ASK = 0.03;
/** Chosen: the hedges that a quiet time saves for the next stall. */
const MAX_HEDGES_SAVED = 20;

/** How long one peer may take before its ask is late, from its latest latencies. */
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

/** One peer as one group asks it. */
export class AskedPeer {
  readonly breaker = new Breaker();
  readonly hedgeDelay = new HedgeDelay();
}

/** An ask that can be hedged. */
export interface Hedgeable extends ListNode {
  readonly asked: AskedPeer;
  /** The peer is silent, not one load slow, if it has answered no ask since then. */
  silentSinceMs: number;
  hedgeAtMs: number;
}

/** The asks in flight that were not hedged yet, and how many hedges are allowed. */
export class Hedging<A extends Hedgeable> {
  readonly #asks = emptyList();
  readonly #deadlines: Deadlines;
  readonly #hedge: (ask: A, nowMs: number) => void;
  #allowed = 1;

  /** @param hedge is called once for an ask whose peer has been silent for too long */
  constructor(clock: Clock, hedge: (ask: A, nowMs: number) => void) {
    this.#deadlines = new Deadlines(clock, (nowMs) => this.#hedgeOverdue(nowMs));
    this.#hedge = hedge;
  }

  /** One more request: a part of a hedge is earned. */
  earn(): void {
    this.#allowed = Math.min(MAX_HEDGES_SAVED, this.#allowed + HEDGES_PER_ASK);
  }

  /** @returns whether one more hedge is allowed; it counts as made */
  spend(): boolean {
    if (this.#allowed < 1) return false;
    this.#allowed--;
    return true;
  }

  /** Waits for the ask's `hedgeAtMs`, until `forget`. */
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
      // Hedging one ask may find a connection lost, which ends others.
      if (!isLinked(ask)) continue;
      unlink(ask);
      this.#hedge(ask, nowMs);
    }
    return nextMs;
  }
}
