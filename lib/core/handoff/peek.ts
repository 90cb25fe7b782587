/** Asking other nodes for a value that they may hold already, before the origin is asked. */
import { Breaker } from "../base/time/breaker.ts";
import type { CancelSignal } from "../base/cancel.ts";
import { atDeadline } from "../base/time/deadlines.ts";
import { WeakMemo } from "../base/tables/memo.ts";
import type { Peer } from "../ports.ts";
import { isUsableOnError } from "../lifetime/times.ts";
import { type Value, within } from "../value.ts";
import type { HandoffOptions } from "./options.ts";

/**
 * Former owners that are asked, all at once. While five nodes became 25, a key without a get had 1.5 more owners on average.
 * One key in 20,000 had 8 more, one in 10^15 had 16 (Bernoulli trials with 1/i, i from 6).
 */
const MAX_FORMER_OWNERS = 16;
/** Chosen: twice as many, the nodes that may have a hot copy included. */
const MAX_PEEKED = 32;
/**
 * The longest that peeks may delay a load. A peek is an answer from memory, so they take this long only when a node stands
 * still, which its eviction ends within seconds, or when the machine is too busy to ask the origin twice. Chosen.
 */
const MAX_PEEK_MS = 2_000;
/** Chosen: of a load's own time at most a quarter, since the origin must be asked as well. */
const MAX_PEEK_SHARE = 0.25;
/** Chosen: a busy machine may be silent once. A node that is passed over wrongly costs a load from the origin. */
const TOLERATED_SILENCES = 1;

/** One group's peeks. */
export class Peeks {
  readonly options: HandoffOptions;
  /** For one peek, and for all peeks of one miss. */
  readonly timeoutMs: number;
  /** A node that has let peeks wait in vain is passed over for a while. */
  readonly breakers = new WeakMemo<Peer, Breaker>(() => new Breaker({ tolerated: TOLERATED_SILENCES }));

  constructor(options: HandoffOptions) {
    this.options = options;
    this.timeoutMs = Math.min(MAX_PEEK_MS, options.loadTimeoutMs * MAX_PEEK_SHARE);
  }

  /**
   * Asks the nodes that may hold the value, all at once; the first fresh value wins. So does a stale one of the owner that
   * may be served on error: the owner is there, and asks the origin itself. `undefined` at once: no node can hold it. A
   * promise of `undefined`: no node has it. Never rejects.
   */
  ask(key: string, signal: CancelSignal): Promise<Value | undefined> | undefined {
    const { picker, stats } = this.options;
    const formerOwners = picker.holders(key, MAX_FORMER_OWNERS);
    if (formerOwners.length === 0) return undefined;
    stats.peeks++;
    return new Promise((resolve) => new PeekRound(this, key, signal, resolve).begin(formerOwners));
  }
}

/** A peek without an answer yet. */
interface Waiting {
  readonly breaker: Breaker;
  readonly askedAtMs: number;
}

/** The peeks for one miss, until the first value has come. */
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
   * Asks the former owners. When one is lost, or when this node only stands in for the owner, the other nodes may have hot
   * copies and are asked too. So after a crash, the origin loads only keys that no other node had fetched.
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

  /** One peek, from the question to what follows from its answer. Never rejects. */
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
    // The owner renews what has expired there. What has expired by this node's policy only, it does not.
    const isRenewed = peer === picker.pick(this.#key) && found !== undefined && found.freshUntilMs <= nowMs;
    if (value !== undefined && (value.freshUntilMs > nowMs || isRenewed && isUsableOnError(value, nowMs))) {
      this.#end(value);
    } else if (this.#waiting.size === 0) this.#end(undefined);
  }

  #after(delayMs: number): () => void {
    return atDeadline(this.#peeks.options.clock, delayMs, () => this.#timeOut());
  }

  /** A value comes in parts over a slow path: it spares a load, as any other. */
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
    // If the node has answered other peeks meanwhile, one load there is slow, not the node.
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
