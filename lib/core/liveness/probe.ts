/** One poll of one peer: how it ended, and whether its end says anything about the peer. */
import type { Clock } from "../base/clock.ts";
import { withTimeout } from "../base/timeout.ts";
import { PeerError } from "../errors.ts";
import { lifeOf, type ProbedPeer } from "./probed-peer.ts";

/** `void`: it did not answer, but for a reason that lies with this node. */
export type ProbeOutcome = "answered" | "missed" | "void";

/**
 * A wait that ended so long after its time was up was this node's own standstill (a stopped process, a blocked event
 * loop): the answer may lie unread in a buffer, and what is known is old.
 */
export const LATE_MS = 250;

/** The polls in the air: one per peer and life, shared by all who want to know. */
export class Probes {
  readonly #clock: Clock;
  readonly #inFlight = new Map<string, Promise<ProbeOutcome>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Polls the peer, or joins the poll of it that is in the air. Never throws. */
  probe(peer: ProbedPeer, timeoutMs: number): Promise<ProbeOutcome> {
    const life = lifeOf(peer.record);
    const before = this.#inFlight.get(life);
    if (before !== undefined) return before;
    const poll = this.#poll(peer, timeoutMs).finally(() => this.#inFlight.delete(life));
    this.#inFlight.set(life, poll);
    return poll;
  }

  async #poll(peer: ProbedPeer, timeoutMs: number): Promise<ProbeOutcome> {
    const startedMs = this.#clock.nowMs();
    const poll = async (): Promise<ProbeOutcome> => {
      await peer.probe({ timeoutMs });
      return "answered";
    };
    const isMiss = (error: unknown): ProbeOutcome => error instanceof PeerError ? "missed" : "void";
    const outcome = await withTimeout(this.#clock, timeoutMs, poll, "missed" as const).catch(isMiss);
    const stoodStill = this.#clock.nowMs() - startedMs > timeoutMs + LATE_MS;
    return outcome !== "answered" && stoodStill ? "void" : outcome;
  }
}
