/** Answers other nodes that ask about a suspect of theirs. */
import { PeerError } from "../errors.ts";
import type { Probes } from "./probe.ts";
import { lifeOf, type ProbedPeer, type Suspect } from "./probed-peer.ts";

export interface WitnessOptions {
  readonly self: Suspect;
  readonly polls: Probes;
  /** How long a polled peer may take at most, whatever the one who asks would wait. */
  readonly timeoutMs: number;
  /** A listed peer, as it stands now. */
  readonly peerOf: (name: string) => ProbedPeer | undefined;
  /** Whether this node is listed: the others refuse it otherwise, and it would take them all for dead. */
  readonly isListed: () => boolean;
  readonly onAnswer: (peer: ProbedPeer) => void;
}

/** Suspects that are polled for others at once. */
const MAX_VOUCHING = 64;

/** Polls for others. */
export class IndirectProber {
  readonly #options: WitnessOptions;
  #vouching = 0;

  constructor(options: WitnessOptions) {
    this.#options = options;
  }

  /**
   * Polls the suspect once, now, or joins the poll of it that is in the air.
   *
   * @returns whether it answered
   * @throws PeerError this node cannot say
   */
  async probe(suspect: Suspect, options: { timeoutMs: number }): Promise<boolean> {
    const { self, polls, isListed, onAnswer } = this.#options;
    if (lifeOf(suspect) === lifeOf(self)) return true;
    const peer = this.#find(suspect);
    if (this.#vouching >= MAX_VOUCHING) throw cannotSay(suspect, `${MAX_VOUCHING} others are being polled`);
    this.#vouching++;
    const outcome = await polls.probe(peer, Math.min(options.timeoutMs, this.#options.timeoutMs));
    this.#vouching--;
    if (outcome === "answered") {
      onAnswer(peer);
      return true;
    }
    // The lists may have changed meanwhile.
    this.#find(suspect);
    if (outcome === "void" || !isListed()) throw cannotSay(suspect, "this node is in no state to tell");
    return false;
  }

  #find(suspect: Suspect): ProbedPeer {
    const peer = this.#options.peerOf(suspect.name);
    if (peer === undefined || lifeOf(peer.record) !== lifeOf(suspect)) {
      throw cannotSay(suspect, "it is not listed here");
    }
    return peer;
  }
}

function cannotSay({ name, incarnation }: Suspect, why: string): PeerError {
  return new PeerError(`cannot say whether ${name} in its life ${incarnation} is dead: ${why}`);
}
