/** One poll of one peer: how it ended, and whether its end says anything about the peer. */
import type { Clock } from "../base/clock.ts";
import { PeerError } from "../errors.ts";
import { lifeOf, type PolledPeer } from "./probed-peer.ts";

/** `void`: it did not answer, but for a reason that lies with this node. */
export type PollOutcome = "answered" | "missed" | "void";

/**
 * A wait that ended so long after its time was up was this node's own standstill (a stopped process, a blocked event
 * loop): the answer may lie unread in a buffer, and what is known is old.
 */
export const LATE_MS = 250;

/** What a promise came to within a time. */
export type Settled<T> = { readonly value: T } | { readonly error: unknown } | "late";

/** Waits for `work`, but no longer than `timeoutMs`; never throws. What it comes to later is dropped. */
export function settledWithin<T>(clock: Clock, timeoutMs: number, work: () => Promise<T>): Promise<Settled<T>> {
  return new Promise((resolve) => {
    const cancel = clock.after(timeoutMs, () => resolve("late"));
    const settle = (settled: Settled<T>) => {
      cancel();
      resolve(settled);
    };
    // Within a promise, so that what throws at once is no different.
    Promise.resolve().then(work).then((value) => settle({ value }), (error) => settle({ error }));
  });
}

/** The polls in the air: one per peer and life, shared by all who want to know. */
export class Polls {
  readonly #clock: Clock;
  readonly #inFlight = new Map<string, Promise<PollOutcome>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Polls the peer, or joins the poll of it that is in the air. Never throws. */
  poll(peer: PolledPeer, timeoutMs: number): Promise<PollOutcome> {
    const life = lifeOf(peer.record);
    const before = this.#inFlight.get(life);
    if (before !== undefined) return before;
    const poll = this.#poll(peer, timeoutMs).finally(() => this.#inFlight.delete(life));
    this.#inFlight.set(life, poll);
    return poll;
  }

  async #poll(peer: PolledPeer, timeoutMs: number): Promise<PollOutcome> {
    const startedMs = this.#clock.nowMs();
    const settled = await settledWithin(this.#clock, timeoutMs, () => peer.poll({ timeoutMs }));
    if (settled !== "late" && "value" in settled) return "answered";
    if (this.#clock.nowMs() - startedMs > timeoutMs + LATE_MS) return "void";
    return settled === "late" || settled.error instanceof PeerError ? "missed" : "void";
  }
}
