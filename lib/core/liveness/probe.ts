/** Direct probes: the outcome of each probe of a peer, and how many in a row the peer missed. */
import type { Clock } from "../base/clock.ts";
import { standstillSince } from "../base/time/deadlines.ts";
import { withTimeout } from "../base/time/timeout.ts";
import { PeerError } from "../errors.ts";
import { lifeOf, type ProbedPeer } from "./probed-peer.ts";

/** `void`: there was no answer, but the reason was on this node's side. */
export type ProbeOutcome = "answered" | "missed" | "void";

/** The probes in flight: one per life of a peer, shared by all callers. */
export class Probes {
  readonly #clock: Clock;
  readonly #inFlight = new Map<string, Promise<ProbeOutcome>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Probes the peer or joins a probe in flight. Never throws. */
  probe(peer: ProbedPeer, timeoutMs: number): Promise<ProbeOutcome> {
    const life = lifeOf(peer.record);
    const before = this.#inFlight.get(life);
    if (before !== undefined) return before;
    const probe = this.#run(peer, timeoutMs).finally(() => this.#inFlight.delete(life));
    this.#inFlight.set(life, probe);
    return probe;
  }

  async #run(peer: ProbedPeer, timeoutMs: number): Promise<ProbeOutcome> {
    const stoodStill = standstillSince(this.#clock, timeoutMs);
    const probe = async (): Promise<ProbeOutcome> => {
      await peer.probe({ timeoutMs });
      return "answered";
    };
    const outcomeOf = (error: unknown): ProbeOutcome => error instanceof PeerError ? "missed" : "void";
    const outcome = await withTimeout(this.#clock, timeoutMs, probe, "missed" as const).catch(outcomeOf);
    return outcome !== "answered" && stoodStill() ? "void" : outcome;
  }
}

/** The statistics of one probed peer. */
export interface ProbeStats {
  readonly name: string;
  readonly incarnation: string;
  /** Probes without an answer, in a row. */
  readonly misses: number;
  /** In Unix milliseconds; null if the peer has not answered since this node began to probe it. */
  readonly lastAnsweredAtMs: number | null;
}

/** The probes of one peer, in one life of that peer. */
export class ProbeState {
  /** The hub's current object for this life; its state may have changed. */
  peer: ProbedPeer;
  /** Whether it is probed for a temporary reason, not by the plan. */
  isExtra: boolean;
  misses = 0;
  /** The number of misses at which the next round about this peer is due. */
  roundAtMisses: number;
  /**
   * Whether this streak already had a round. At a later round the peer has missed at least twice as many probes as make
   * a suspect.
   */
  isLaterRound = false;
  /** Counts the streaks of misses, as a result about one streak says nothing about the next. */
  streak = 0;
  /** Whether this silence was logged. */
  isLogged = false;
  /** Whether a round or an eviction is under way. */
  isDeciding = false;
  /** Indirect probers that gave no answer about this peer. A later round asks others instead. */
  readonly silent = new Set<string>();
  lastAnsweredAtMs: number | undefined;
  /** Whether it is probed at the next tick. If not, a probe is in flight or has its own due time. */
  isOnTick = true;
  /** When the last probe was due, or the next one if it has its own due time. */
  dueMs = 0;
  cancel: () => void = () => {};
  readonly #missesOfSuspect: number;

  /** @param options.missesOfSuspect the number of misses in a row that makes a suspect */
  constructor(peer: ProbedPeer, options: { isExtra: boolean; missesOfSuspect: number }) {
    this.peer = peer;
    this.isExtra = options.isExtra;
    this.roundAtMisses = this.#missesOfSuspect = options.missesOfSuspect;
  }

  get isSuspect(): boolean {
    return this.misses >= this.#missesOfSuspect;
  }

  /** Counts the misses from zero. */
  reset(): void {
    this.misses = 0;
    this.streak++;
    this.isLaterRound = false;
    this.roundAtMisses = this.#missesOfSuspect;
    this.silent.clear();
  }

  /** To be called when a round ends. The next one is due after as many further misses. */
  endRound(): void {
    this.isLaterRound = true;
    this.roundAtMisses = this.misses + this.#missesOfSuspect;
  }

  stats(): ProbeStats {
    const { name, incarnation } = this.peer.record;
    return { name, incarnation, misses: this.misses, lastAnsweredAtMs: this.lastAnsweredAtMs ?? null };
  }
}
