/** Indirect probes: this node asks others to probe its suspect, and probes suspects for others. */
import type { Clock } from "../base/clock.ts";
import { withTimeout } from "../base/time/timeout.ts";
import { PeerError } from "../errors.ts";
import type { Probes } from "./probe.ts";
import { lifeOf, type ProbedPeer, type Suspect } from "./probed-peer.ts";
import type { ReturnedLives } from "./returned-lives.ts";

/** The answers of a suspect's indirect probers. */
export interface Findings {
  readonly asked: number;
  /** How many gave an answer, "dead" or "alive". */
  readonly answered: number;
  readonly dead: number;
  /** The probers that could not be asked or could not tell. Incomplete if enough others said "dead" first. */
  readonly silent: readonly string[];
}

/**
 * Asks all probers at once. It ends when enough of them said "dead", or when each one answered or its `timeoutMs` is
 * over. Never rejects.
 *
 * @param options.isEnough whether this number of "dead" votes is enough
 */
export function probeIndirectly(
  suspect: Suspect,
  probers: readonly ProbedPeer[],
  options: { clock: Clock; timeoutMs: number; isEnough: (dead: number) => boolean },
): Promise<Findings> {
  const { clock, timeoutMs, isEnough } = options;
  const asked = probers.length;
  let answered = 0;
  let dead = 0;
  const silent: string[] = [];
  return new Promise((resolve) => {
    const end = () => resolve({ asked, answered, dead, silent: [...silent] });
    if (asked === 0) return end();
    for (const prober of probers) {
      const ask = () => prober.probeIndirectly(suspect, { timeoutMs });
      void withTimeout(clock, timeoutMs, ask, undefined).catch(() => undefined).then((isAlive) => {
        if (isAlive === undefined) silent.push(prober.record.name);
        else answered++;
        if (isAlive === false) dead++;
        if (answered + silent.length === asked || isEnough(dead)) end();
      });
    }
  });
}

export interface IndirectProberOptions {
  readonly self: Suspect;
  readonly probes: Probes;
  readonly returned: ReturnedLives;
  /** The longest time for a suspect to answer, even if the asking node would wait longer. */
  readonly timeoutMs: number;
  /** A listed peer in its current state. */
  readonly peerOf: (name: string) => ProbedPeer | undefined;
  /** Whether this node is listed. Peers refuse an unlisted node, so all of them would look dead. */
  readonly isListed: () => boolean;
  readonly onAnswer: (peer: ProbedPeer) => void;
}

/** The most suspects that this node probes for others at once. Chosen: it limits the work that peers can cause. */
const MAX_AT_ONCE = 64;

/** Probes suspects for other nodes. */
export class IndirectProber {
  readonly #options: IndirectProberOptions;
  #inFlight = 0;

  constructor(options: IndirectProberOptions) {
    this.#options = options;
  }

  /**
   * Probes the suspect once, now, or joins a probe in flight.
   *
   * @returns whether the suspect answered
   * @throws PeerError this node cannot tell
   */
  async probe(suspect: Suspect, options: { timeoutMs: number }): Promise<boolean> {
    const { self, probes, returned, isListed, onAnswer } = this.#options;
    if (lifeOf(suspect) === lifeOf(self)) return true;
    const peer = this.#find(suspect);
    if (this.#inFlight >= MAX_AT_ONCE) throw cannotSay(suspect, `this node probes ${MAX_AT_ONCE} others already`);
    this.#inFlight++;
    const outcome = await probes.probe(peer, Math.min(options.timeoutMs, this.#options.timeoutMs));
    this.#inFlight--;
    if (outcome === "answered") {
      onAnswer(peer);
      return true;
    }
    // Checks again, as the lists may have changed during the probe.
    this.#find(suspect);
    if (outcome === "void") throw cannotSay(suspect, "this node could not probe it");
    if (!isListed()) throw cannotSay(suspect, "this node is not listed itself");
    if (returned.waitMs(suspect) > 0) {
      throw cannotSay(suspect, "this node has not reached it since one of the two returned to the lists");
    }
    return false;
  }

  #find(suspect: Suspect): ProbedPeer {
    const peer = this.#options.peerOf(suspect.name);
    if (peer === undefined || lifeOf(peer.record) !== lifeOf(suspect)) {
      throw cannotSay(suspect, "this node does not list it");
    }
    return peer;
  }
}

function cannotSay({ name, incarnation }: Suspect, why: string): PeerError {
  return new PeerError(`cannot say whether ${name} (incarnation ${incarnation}) is dead: ${why}`);
}
