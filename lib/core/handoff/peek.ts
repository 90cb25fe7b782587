/** Asks other nodes for a value that they may already hold, before the origin is asked. */
import { Breaker } from "../base/time/breaker.ts";
import type { CancelSignal } from "../base/cancel.ts";
import { atDeadline } from "../base/time/deadlines.ts";
import { WeakMemo } from "../base/tables/memo.ts";
import type { Peer } from "../ports.ts";
import { isUsableOnError } from "../lifetime/times.ts";
import { type Value, within } from "../value.ts";
import type { HandoffOptions } from "./options.ts";

/**
 * The most former owners to ask, all at once. Derived: while 5 nodes become 25, a key without a get has 1.5 more owners
 * on average. One key in 20,000 has 8 more, one in 10^15 has 16 (Bernoulli trials with 1/i, i from 6).
 */
const MAX_FORMER_OWNERS = 16;
/** Chosen: twice as many, for all nodes including those that may have a hot copy. */
const MAX_PEEKED = 32;
/**
 * The longest time that peeks may delay a load. Chosen: a peek is answered from memory. It takes this long only if a
 * node stands still (it is evicted within seconds) or the machine is too busy to ask the origin twice.
 */
const MAX_PEEK_MS = 2_000;
/** Chosen: at most a quarter of a load's time, since the origin must be asked as well. */
const MAX_PEEK_SHARE = 0.25;
/** Chosen: a busy machine may be silent once. Wrongly skipping a node costs a load from the origin. */
const TOLERATED_SILENCES = 1;

/** One group's peeks. */
export class Peeks {
  readonly options: HandoffOptions;
  /** The time for one peek, and for all peeks of one miss together. */
  readonly timeoutMs: number;
  /** A node that did not answer peeks is skipped for a while. */
  readonly breakers = new WeakMemo<Peer, Breaker>(() => new Breaker({ tolerated: TOLERATED_SILENCES }));

  constructor(options: HandoffOptions) {
    this.options = options;
    this.timeoutMs = Math.min(MAX_PEEK_MS, options.loadTimeoutMs * MAX_PEEK_SHARE);
  }

  /**
   * Asks all nodes that may hold the value at once. The first fresh value wins; so does the owner's stale value that is
   * usable on error, as the owner asks the origin itself. `undefined`: no node can hold the value. A promise of
   * `undefined`: no node has it. Never rejects.
   */
  ask(key: string, signal: CancelSignal): Promise<Value | undefined> | undefined {
    const { picker, stats } = this.options;
    const formerOwners = picker.holders(key, MAX_FORMER_OWNERS);
    if (formerOwners.length === 0) return undefined;
    stats.peeks++;
    return new Promise((resolve) => new PeekRound(this, key, signal, resolve).begin(formerOwners));
  }
}

/** A peek that has no answer yet. */
interface Waiting {
  readonly breaker: Breaker;
  readonly askedAtMs: number;
}

/** The peeks for one miss, until the first value comes. */
class PeekRound {
  readonly #peeks: Peeks;
  readonly #key: string;
  readonly #signal: CancelSignal;
  readonly #done: (value: Value | undefined) => void;
  readonly #over = new AbortController();
  readonly #asked = new Set<Peer>();
  readonly #waiting = new Set<Waiting>();
  #cancelTimer: () => void;
  readonly #leave = () => this.#end(undefined);

  constructor(peeks: Peeks, key: string, signal: CancelSignal, done: (value: Value | undefined) => void) {
    this.#peeks = peeks;
    this.#key = key;
    this.#signal = signal;
    this.#done = done;
    this.#cancelTimer = this.#after(peeks.timeoutMs);
    signal.addEventListener("abort", this.#leave, { once: true });
  }

  /**
   * Asks the former owners. If one is lost, or if this node only stands in for the owner, it also asks the other nodes
   * for hot copies. So after a crash, the origin loads only keys that no other node had fetched.
   */
  begin(formerOwners: readonly Peer[]): void {
    this.#ask(formerOwners);
    if (this.#peeks.options.picker.pick(this.#key) !== undefined) this.#askForHotCopies();
    if (this.#waiting.size === 0) this.#end(undefined);
  }

  #ask(peers: readonly (Peer | undefined)[]): void {
    const { clock } = this.#peeks.options;
    let isOneLost = false;
    for (const peer of peers) {
      if (peer === undefined || this.#asked.has(peer) || this.#asked.size === MAX_PEEKED) continue;
      this.#asked.add(peer);
      const waiting = { breaker: this.#peeks.breakers.get(peer), askedAtMs: clock.nowMs() };
      if (!waiting.breaker.admit(waiting.askedAtMs)) {
        isOneLost = true;
        continue;
      }
      this.#waiting.add(waiting);
      void this.#peek(peer, waiting);
    }
    if (isOneLost) this.#askForHotCopies();
  }

  #askForHotCopies(): void {
    this.#ask(this.#peeks.options.picker.ranked(this.#key, MAX_PEEKED));
  }

  /** Asks one peer and handles its answer. Never rejects. */
  async #peek(peer: Peer, waiting: Waiting): Promise<void> {
    const { group, clock, lifetime, picker } = this.#peeks.options;
    let found: Value | undefined;
    let isLost = false;
    try {
      const arriving = (untilMs: number) => this.#arriving(untilMs);
      found = await peer.peek(group, this.#key, {
        signal: this.#over.signal,
        timeoutMs: this.#peeks.timeoutMs,
        arriving,
      });
    } catch {
      isLost = true;
    }
    if (this.#over.signal.aborted) return;
    this.#waiting.delete(waiting);
    if (isLost) {
      this.#fail(waiting);
      this.#askForHotCopies();
    } else waiting.breaker.succeeded(clock.nowMs());
    const value = found && within(lifetime, found);
    const nowMs = clock.nowMs();
    // The owner refreshes a value that expired there, but not one that expired only by this node's policy.
    const isRenewed = peer === picker.pick(this.#key) && found !== undefined && found.freshUntilMs <= nowMs;
    if (value !== undefined && (value.freshUntilMs > nowMs || isRenewed && isUsableOnError(value, nowMs))) {
      this.#end(value);
    } else if (this.#waiting.size === 0) this.#end(undefined);
  }

  #after(delayMs: number): () => void {
    return atDeadline(this.#peeks.options.clock, delayMs, () => this.#timeOut());
  }

  /** A value that arrives in parts over a slow path gets more time, as it saves a load. */
  #arriving(untilMs: number): void {
    if (this.#over.signal.aborted) return;
    this.#cancelTimer();
    this.#cancelTimer = this.#after(Math.max(0, untilMs - this.#peeks.options.clock.nowMs()));
  }

  #timeOut(): void {
    for (const waiting of this.#waiting) this.#fail(waiting);
    this.#end(undefined);
  }

  #fail({ breaker, askedAtMs }: Waiting): void {
    // If the node answered other peeks meanwhile, only one load there is slow, not the node.
    if (!breaker.hasSucceededSince(askedAtMs)) breaker.failed(askedAtMs, this.#peeks.options.clock.nowMs());
  }

  #end(value: Value | undefined): void {
    this.#cancelTimer();
    this.#signal.removeEventListener("abort", this.#leave);
    if (value !== undefined) this.#peeks.options.stats.peekHits++;
    this.#done(value);
    this.#over.abort();
  }
}
