/**
 * Values move with their keys: who comes to own a key asks whoever may hold its value before it asks the origin, and who
 * goes hands over what it has. So a deploy costs the origin nothing.
 *
 * Nothing here is needed for an answer to be right: whatever fails, the origin is asked.
 */
import type { CancelSignal } from "../base/cancel.ts";
import type { Clock } from "../base/clock.ts";
import { atDeadline } from "../base/deadlines.ts";
import type { SharedBudget } from "../cache/shared-budget.ts";
import { type PeerHealth, PeersHealth } from "../base/peer-health.ts";
import type { Entry, Peer, PeerPicker } from "../ports.ts";
import { Pusher } from "./push.ts";
import { type Value, within } from "../value.ts";

export interface HandoffOptions {
  readonly group: string;
  readonly picker: PeerPicker;
  readonly caches: SharedBudget;
  readonly clock: Clock;
  /** How long a value may be served, in milliseconds; null: until it is evicted. */
  readonly ttlMs: number | null;
  /** For a load, of which to ask others is a part, in milliseconds. */
  readonly loadTimeoutMs: number;
  /** On how many nodes each value is kept: 1, or 2 for the owner and the next in rank. */
  readonly replicas: number;
}

/** What was handed over, and what came. */
export interface HandoffStats {
  /** Misses of the owner for which other nodes were asked before the origin, and those that had the value. */
  peeks: number;
  peekHits: number;
  /** Entries that other nodes took from this one, and that this one took from others. */
  entriesPushed: number;
  entriesTaken: number;
}

/**
 * All that may hold a value are asked at once. A key that nobody asked for while five nodes became 25 has had 1.5 owners
 * more on average; of 20,000 keys one has had 8 more, and one in 10^15 has had 16: Bernoulli trials with 1/i, i from 6.
 */
const MAX_HOLDERS = 16;
/** With those that may have a hot copy. */
const MAX_PEEKED = 32;
/**
 * What a peek may cost a miss at the most, a load in flight at the holder included. It is an answer from memory, so this
 * much passes only when a holder stands still, and it is struck off the roster soon after; or when the machine is so busy
 * that the origin had better not be asked twice. Of a load's own time no more than a quarter: the origin is to be asked, too.
 */
const MAX_PEEK_MS = 2_000;
const MAX_PEEK_SHARE = 0.25;
/** So often in vain: what is to be kept twice, until a peer that is lost is evicted; what is handed over by one that stops. */
const COPY_TRIES = 10;
const DRAIN_TRIES = 2;
/** A machine that is busy may be silent once; what a holder is not asked for is loaded from the origin. */
const TOLERATED_SILENCES = 1;
/** A value looks younger by the time that it was on its way. */
const SAME_BIRTH_MS = 100;
/** Copies of fresh values on their way to the next in rank; one more is not sent. */
const MAX_COPIES_IN_FLIGHT = 1_000;
/** Values that come while this node hands over; one more stays here. */
const MAX_LATE_ENTRIES = 10_000;

/** One group's handing over of values, in both directions. */
export class Handoff {
  readonly #options: HandoffOptions;
  readonly #never = new AbortController().signal;
  readonly #peekTimeoutMs: number;
  /** Who has let a peek wait in vain is passed over for a while. */
  readonly #health = new PeersHealth(TOLERATED_SILENCES);
  #copiesInFlight = 0;
  #rebalance = new AbortController();
  /** Whether the last one was cut short, so that who was to have copies by then may lack some. */
  #isBehind = false;
  /** What has come since this node began to hand over all. */
  #late: Entry[] | undefined;
  readonly #pusher: Pusher;
  readonly stats: HandoffStats = { peeks: 0, peekHits: 0, entriesPushed: 0, entriesTaken: 0 };

  constructor(options: HandoffOptions) {
    this.#options = options;
    this.#peekTimeoutMs = Math.min(MAX_PEEK_MS, options.loadTimeoutMs * MAX_PEEK_SHARE);
    this.#pusher = new Pusher(options.group, options.clock, (entries) => this.stats.entriesPushed += entries);
  }

  /**
   * Asks those that may hold the value, all at once; the first that has it wins. `undefined` when nobody could hold it,
   * which needs no wait, or when nobody has it. Never rejects.
   *
   * Where the one who should hold it is lost, or this node stands in for it, the others are asked as well: what is popular
   * has hot copies, so that a crash costs the origin only what nobody else asked for twice.
   */
  fetch(key: string, signal: CancelSignal): Promise<Value | undefined> | undefined {
    const { picker, clock } = this.#options;
    const holders = picker.holders(key, MAX_HOLDERS);
    if (holders.length === 0) return undefined;
    this.stats.peeks++;
    return new Promise((resolve) => {
      const others = new AbortController();
      const asked = new Set<Peer>();
      /** When each of those was asked that are still silent. */
      const waiting = new Map<PeerHealth, number>();
      const end = (value: Value | undefined) => {
        cancelTimer();
        signal.removeEventListener("abort", leave);
        if (value !== undefined) this.stats.peekHits++;
        resolve(value);
        others.abort();
      };
      const leave = () => end(undefined);
      const failed = (health: PeerHealth, askedAtMs: number) => {
        const nowMs = clock.nowMs();
        // If it has answered meanwhile, it is one load there that is slow.
        if (!health.hasAnsweredSince(askedAtMs)) health.failed(nowMs - askedAtMs, nowMs);
      };
      const cancelTimer = atDeadline(clock, this.#peekTimeoutMs, () => {
        for (const [health, askedAtMs] of waiting) failed(health, askedAtMs);
        end(undefined);
      });
      signal.addEventListener("abort", leave, { once: true });
      const ask = (peers: readonly (Peer | undefined)[]) => {
        let isLost = false;
        for (const peer of peers) {
          if (peer === undefined || asked.has(peer) || asked.size === MAX_PEEKED) continue;
          asked.add(peer);
          const health = this.#health.of(peer);
          const askedAtMs = clock.nowMs();
          if (!health.admit(askedAtMs)) {
            isLost = true;
            continue;
          }
          waiting.set(health, askedAtMs);
          void this.#peek(peer, key, others.signal).then((found) => {
            if (others.signal.aborted) return;
            waiting.delete(health);
            if (found.isLost) {
              failed(health, askedAtMs);
              ask(picker.ranked(key, MAX_PEEKED));
            } else health.answered(clock.nowMs() - askedAtMs, clock.nowMs());
            if (found.value !== undefined) end(found.value);
            else if (waiting.size === 0) end(undefined);
          });
        }
        if (isLost) ask(picker.ranked(key, MAX_PEEKED));
      };
      ask(holders);
      if (picker.pick(key) !== undefined) ask(picker.ranked(key, MAX_PEEKED));
      if (waiting.size === 0) end(undefined);
    });
  }

  async #peek(peer: Peer, key: string, signal: AbortSignal): Promise<{ value?: Value | undefined; isLost: boolean }> {
    const { group, clock, ttlMs } = this.#options;
    try {
      const found = await peer.peek(group, key, { signal, timeoutMs: this.#peekTimeoutMs });
      const value = found && within(ttlMs, found);
      return { value: value !== undefined && value.expiresAtMs > clock.nowMs() ? value : undefined, isLost: false };
    } catch {
      return { isLost: true };
    }
  }

  /**
   * Takes what a peer hands over and this node is to keep. Displaces nothing but hot copies and what has expired, and is
   * not taken where there is no room; a second copy, which is to be there, displaces what any value does.
   */
  accept(entries: readonly Entry[], from: string): number {
    const { caches, clock, ttlMs, replicas } = this.#options;
    const nowMs = clock.nowMs();
    let taken = 0;
    for (const { key, value: sent } of entries) {
      const value = within(ttlMs, sent);
      if (value.expiresAtMs <= nowMs || !this.#isToKeep(key, from)) continue;
      const present = caches.main.peek(key);
      if (present !== undefined && present.bornAtMs >= value.bornAtMs) continue;
      const copy = caches.hot.peek(key);
      if (copy !== undefined && copy.bornAtMs > value.bornAtMs + SAME_BIRTH_MS) continue;
      const isStored = replicas > 1
        ? caches.store(caches.main, key, value)
        : caches.storeWithoutLoss(key, value, nowMs);
      if (isStored) taken++;
    }
    this.stats.entriesTaken += taken;
    return taken;
  }

  /**
   * A value has come of which this node is an owner. With two replicas it is sent to the other node that is to keep it; when
   * this node is handing over all, it goes the same way. Waits for nothing.
   */
  stored(key: string, value: Value): void {
    const { picker, replicas } = this.#options;
    if (this.#late !== undefined) {
      if (this.#late.length < MAX_LATE_ENTRIES) this.#late.push({ key, value });
      return;
    }
    if (replicas < 2 || this.#copiesInFlight >= MAX_COPIES_IN_FLIGHT) return;
    for (const peer of picker.ranked(key, replicas)) {
      if (peer === undefined) continue;
      this.#copiesInFlight++;
      void this.#pusher.push([{ key, value }], { target: () => peer, signal: this.#never, tries: 1 })
        .then(() => this.#copiesInFlight--);
    }
  }

  /**
   * With two replicas: after a change of owners, has who is one of the two owners of a key since then get its value from the
   * other one. A later change begins it anew.
   */
  async rebalance(): Promise<void> {
    const { picker, caches, replicas } = this.#options;
    this.#rebalance.abort();
    if (replicas < 2) return;
    this.#rebalance = new AbortController();
    const { signal } = this.#rebalance;
    const wasBehind = this.#isBehind;
    this.#isBehind = true;
    const target = (key: string) => {
      const owners = picker.ranked(key, replicas);
      if (owners.length < replicas || !owners.includes(undefined)) return undefined;
      const other = owners.find((peer) => peer !== undefined)!;
      const before = picker.rankedBefore(key, replicas);
      // The same peer, not the name: who has started anew has nothing.
      const hadIt = !wasBehind && before.length === replicas && before.includes(other);
      return hadIt ? undefined : other;
    };
    await this.#pusher.push(caches.main.entries(), { target, signal, tries: COPY_TRIES });
    if (!signal.aborted) this.#isBehind = false;
  }

  /**
   * Hands all that this node holds as owner to its next owners, the most recently used first, until done or aborted; also
   * hot copies of keys that have become its own since, when their owner was lost, and what comes meanwhile.
   *
   * @param landed waits until nobody asks this node for anything new, and for the loads that are in the air then
   */
  async drain(signal: AbortSignal, landed: () => Promise<unknown>): Promise<void> {
    const { picker, caches } = this.#options;
    this.#rebalance.abort();
    this.#late = [];
    const isOwn = ({ key }: Entry) => [...picker.ranked(key, 1), ...picker.rankedBefore(key, 1)].includes(undefined);
    const held = [...caches.main.byRecency(), ...caches.hot.byRecency().filter(isOwn)];
    const target = (key: string) => picker.ranked(key, 2).find((peer) => peer !== undefined);
    await this.#pusher.push(held, { target, signal, tries: DRAIN_TRIES });
    await landed();
    await this.#pusher.push(this.#late, { target, signal, tries: DRAIN_TRIES });
  }

  /** The sender is out of the count: it may be leaving, and this node's roster may not know that yet. */
  #isToKeep(key: string, from: string): boolean {
    const { picker, replicas } = this.#options;
    return picker.ranked(key, replicas + 1).filter((peer) => peer?.name !== from).slice(0, replicas).includes(
      undefined,
    );
  }
}
