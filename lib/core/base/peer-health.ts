/** How a peer has answered lately: how long to wait before another is asked as well, and whether to ask it at all. */

import { type Backoff, backoffMs } from "./backoff.ts";

/** The last answers that count. */
const SAMPLES = 64;
/** Below this many, nothing is known. */
const MIN_SAMPLES = 16;
const UNKNOWN_HEDGE_MS = 500;
/** How often the delay is reckoned anew: sorting for every few answers would cost as much as they do. */
const RECKON_EVERY_ANSWERS = 256;
/** A pause of a runtime is no reason to ask twice. */
const MIN_HEDGE_MS = 100;
/** Beyond the slowest twentieth of the answers, with as much again for chance. */
const HEDGE_QUANTILE = 0.95;
const HEDGE_FACTOR = 2;
/** A failure that took longer than this was a wait in vain, not a refusal: the next caller is to be spared it. */
export const SLOW_FAILURE_MS = 100;
const PAUSE: Backoff = { firstMs: 250, mostMs: 5_000 };

/** One peer in one of its lives, as one group asks it. */
export class PeerHealth {
  readonly #latenciesMs = new Float64Array(SAMPLES);
  #answers = 0;
  #hedgeMs = UNKNOWN_HEDGE_MS;
  readonly #tolerated: number;
  #slowFailures = 0;
  /** What was asked before the last of them adds nothing. */
  #failedAtMs = -Infinity;
  #answeredAtMs = -Infinity;
  #pausedUntilMs = -Infinity;
  /** When the one was let through who asks for all the others. */
  #probedAtMs = Infinity;

  /** @param tolerated after how many waits in vain, in a row, the next makes a pause */
  constructor(tolerated = 0) {
    this.#tolerated = tolerated;
  }

  /** After this long without an answer, in milliseconds, another peer may be asked as well. */
  get hedgeMs(): number {
    return this.#hedgeMs;
  }

  /**
   * Whether it is to be asked, and not passed over because it let callers wait in vain. When such a pause is over one is let
   * through, who asks it; the others go on passing it over until that one has heard, or for the longest pause, as it may leave.
   */
  admit(nowMs: number): boolean {
    if (nowMs < this.#pausedUntilMs) return false;
    if (this.#slowFailures > this.#tolerated) {
      this.#probedAtMs = nowMs;
      this.#pausedUntilMs = nowMs + PAUSE.mostMs;
    }
    return true;
  }

  /** Whether anything at all was answered after that moment: then it is not the peer that is slow, but one load. */
  hasAnsweredSince(sinceMs: number): boolean {
    return this.#answeredAtMs > sinceMs;
  }

  answered(tookMs: number, nowMs: number): void {
    this.#slowFailures = 0;
    this.#failedAtMs = -Infinity;
    this.#pausedUntilMs = -Infinity;
    this.#probedAtMs = Infinity;
    this.#answeredAtMs = nowMs;
    this.#latenciesMs[this.#answers++ % SAMPLES] = tookMs;
    const every = this.#answers < RECKON_EVERY_ANSWERS ? MIN_SAMPLES : RECKON_EVERY_ANSWERS;
    if (this.#answers % every !== 0) return;
    const sorted = this.#latenciesMs.slice(0, Math.min(this.#answers, SAMPLES)).sort();
    this.#hedgeMs = Math.max(MIN_HEDGE_MS, HEDGE_FACTOR * sorted[Math.floor(HEDGE_QUANTILE * sorted.length)]!);
  }

  /** A refusal or a reset costs nobody time: it is asked again at once, as soon as it can be reached. */
  failed(tookMs: number, nowMs: number): void {
    const askedAtMs = nowMs - tookMs;
    // One lost connection fails all that waited for it: that is one failure.
    if (nowMs < this.#pausedUntilMs && askedAtMs < this.#probedAtMs) return;
    this.#probedAtMs = Infinity;
    if (tookMs < SLOW_FAILURE_MS) this.#pausedUntilMs = -Infinity;
    else if (askedAtMs >= this.#failedAtMs) {
      this.#failedAtMs = nowMs;
      const pauses = this.#slowFailures++ - this.#tolerated;
      if (pauses >= 0) this.#pausedUntilMs = nowMs + backoffMs(pauses, PAUSE);
    }
  }
}

/** The health of peers, for one who asks them one kind of question; let go of with each. */
export class PeersHealth {
  readonly #tolerated: number;
  readonly #byPeer = new WeakMap<WeakKey, PeerHealth>();

  /** @param tolerated as PeerHealth takes it */
  constructor(tolerated = 0) {
    this.#tolerated = tolerated;
  }

  of(peer: WeakKey): PeerHealth {
    let health = this.#byPeer.get(peer);
    if (health === undefined) this.#byPeer.set(peer, health = new PeerHealth(this.#tolerated));
    return health;
  }
}
