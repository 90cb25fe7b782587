/** Who must agree that a suspect is dead. */
import type { Clock } from "../base/clock.ts";
import type { ProbedPeer, Suspect } from "./probed-peer.ts";
import { holdVote, isMajority } from "./vote.ts";

/** So many others are asked about a suspect. */
export const MAX_VOTERS = 5;

/** What is known of a suspect when it is judged. */
export interface Case {
  readonly suspect: Suspect;
  /** Whether it has missed twice as many polls as make a suspect, and others were asked in between. */
  readonly isPatient: boolean;
  /** Whether it was there before this node, and nobody at all has answered this node in its life. */
  readonly isLeftover: () => boolean;
  /** Who was silent when asked about it before; filled here. */
  readonly mute: Set<string>;
  /** The first others that share a group with the suspect, in its rank, beside this node and those in `without`. */
  readonly voters: (count: number, without: ReadonlySet<string>) => readonly ProbedPeer[];
  /** Peers that share no group with the suspect, and so cannot say: whether this node hears anything, if there are any. */
  readonly outsiders: () => "none" | "silent" | "answer";
}

export interface Judgement {
  /** Why it is to be evicted; `undefined`: it is not. */
  readonly reason: string | undefined;
  /** Whether anybody else has answered. */
  readonly isHeard: boolean;
}

/**
 * The rules of evidence. This node has missed its polls, so it has one vote.
 *
 * - First, those next in the suspect's rank are asked, MAX_VOTERS at most. More than half of all of them and this node
 *   must say "dead"; who is silent has not said so. Where all others are asked, only the greater side of a partition can
 *   reach that; in a cluster of more than MAX_VOTERS + 2 nodes they are a sample of it.
 * - After twice the patience the silent are left out, and others are asked in the place of those that were silent
 *   before: more than half of this node and those who answer must say "dead", and somebody must answer. Otherwise the
 *   survivors of a cluster that lost most of its nodes at once would list the dead for ever. In a lasting partition,
 *   where NATS is reachable from both sides, this would be the wrong thing for the smaller side to do. It does not come
 *   to it there: the greater side evicts it in half that time, and who is not listed evicts nobody. Two sides of the
 *   same size, as the suspect has no vote, or a sample that is not like the whole, may evict each other. The lesser
 *   evil, as who is evicted and lives puts itself back, with growing delays, while a dead peer that stays listed costs
 *   every request for its keys.
 * - Who shares no group with the suspect does not list it, and is not asked. In a pair there is nobody to ask: it is
 *   evicted after twice the patience. Two that are alone in their groups are a pair, too; but where there are others
 *   elsewhere and none of them answers either, it is this node that is cut off. And when all who could say are silent
 *   again and again while others elsewhere answer, it is not: then it is a pair with its suspect, as the others are dead.
 * - Where others could be asked and none of them answers, nobody is evicted, as it is this node that is cut off. But the
 *   leftovers of a cluster that died whole are swept after twice the patience: who was listed before this node, when
 *   this node has never had an answer from anybody.
 */
export class EvictionRule {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  /** How often others were asked. */
  votes = 0;

  /** @param options.timeoutMs how long a voter may take, its own poll included */
  constructor(options: { clock: Clock; timeoutMs: number }) {
    this.#clock = options.clock;
    this.#timeoutMs = options.timeoutMs;
  }

  /** Asks who is to be asked. Never throws; within `timeoutMs`. */
  async judge(about: Case): Promise<Judgement> {
    const { suspect, isPatient, mute, voters } = about;
    let panel = voters(MAX_VOTERS, isPatient ? mute : new Set());
    const isNobodyLeft = panel.length === 0;
    if (isNobodyLeft && mute.size > 0) {
      mute.clear();
      panel = voters(MAX_VOTERS, mute);
    }
    if (panel.length === 0) return { reason: this.#alone(about, { isPair: true }), isHeard: false };
    this.votes++;
    const vote = await holdVote(suspect, panel, { clock: this.#clock, timeoutMs: this.#timeoutMs });
    for (const name of vote.silent) mute.add(name);
    const { answered, asked, dead } = vote;
    if (answered === 0) {
      return { reason: isNobodyLeft ? this.#alone(about, { isPair: false }) : this.#swept(about), isHeard: false };
    }
    const total = 1 + (isPatient ? answered : asked);
    return { reason: isMajority(1 + dead, total) ? `${1 + dead} of ${total} agree` : undefined, isHeard: true };
  }

  /** Why this node may decide by itself. */
  #alone(about: Case, { isPair }: { isPair: boolean }): string | undefined {
    if (!about.isPatient) return undefined;
    const outsiders = about.outsiders();
    if (isPair && outsiders !== "silent") return "there is nobody else to ask";
    return outsiders === "answer" ? "nobody else who could say answers, but others do" : this.#swept(about);
  }

  #swept({ isPatient, isLeftover }: Case): string | undefined {
    return isPatient && isLeftover() ? "it was here before me, and nobody has ever answered me" : undefined;
  }
}
