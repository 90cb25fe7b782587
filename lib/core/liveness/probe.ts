/** Direct probes: how a probe of a peer ended, and how many probes in a row the peer has missed. */
import type { Clock } from "../base/clock.ts";
import { standstillSince } from "../base/time/deadlines.ts";
import { withTimeout } from "../base/time/timeout.ts";
import { PeerError } from "../errors.ts";
import { lifeOf, type ProbedPeer } from "./probed-peer.ts";

/** `void`: there was no answer, for a reason on this node's side. */
export type ProbeOutcome = "answered" | "missed" | "void";

/** The probes in flight: one per peer and life, shared by all callers. */
export class Probes {
  readonly #clock: Clock;
  readonly #inFlight = new Map<string, Promise<ProbeOutcome>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Probes the peer, or joins the probe that is in flight. Never throws. */
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

/** What this node tells of one probed peer. */
export interface ProbeStats {
  readonly name: string;
  readonly incarnation: string;
  /** Probes without an answer, in a row. */
  readonly misses: number;
  /** Milliseconds since the Unix epoch; null when the peer has not answered since this node began to probe it. */
  readonly lastAnsweredAtMs: number | null;
}

/** The probes of one peer, in one life of that peer. */
export class ProbeState {
  /** As the hub has it now: the same life, perhaps in another state. */
  peer: ProbedPeer;
  /** Probed for a passing reason: the plan does not name this node as a prober of the peer. */
  isExtra: boolean;
  misses = 0;
  /** The next round about this peer is due at so many misses. */
  roundAtMisses: number;
  /** Whether this streak has had a round: then the peer has missed twice as many probes as make a suspect. */
  isLaterRound = false;
  /** Counts the streaks of misses: a finding about one streak says nothing about the next. */
  streak = 0;
  /** Whether the log has its line about this silence. */
  isLogged = false;
  /** Whether a round or an eviction is under way. */
  isDeciding = false;
  /** Indirect probers that gave no answer about this peer; a later round asks others instead. */
  readonly silent = new Set<string>();
  lastAnsweredAtMs: number | undefined;
  /** Probed at the next tick. Otherwise a probe is in flight, or due at a time of its own. */
  isOnTick = true;
  /** When the last probe was due; or the next one, if it has a time of its own. */
  dueMs = 0;
  cancel: () => void = () => {};
  readonly #missesOfSuspect: number;

  /** @param options.missesOfSuspect how many misses in a row make a suspect */
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

  /** The round ended: the next one is due after as many further misses. */
  endRound(): void {
    this.isLaterRound = true;
    this.roundAtMisses = this.misses + this.#missesOfSuspect;
  }

  stats(): ProbeStats {
    const { name, incarnation } = this.peer.record;
    return { name, incarnation, misses: this.misses, lastAnsweredAtMs: this.lastAnsweredAtMs ?? null };
  }
}
