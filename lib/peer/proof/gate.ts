import type { CancelSignal } from "../../core/base/cancel.ts";
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";
import { SayOnce } from "../../core/base/logs/say-once.ts";
import type { PeerLimits } from "../limits.ts";
import type { Self } from "../wire/greeting.ts";
import { Challenges } from "./challenges.ts";
import { challengeText, fieldOf, type Proof, proofText, readClaim, readProof } from "./fields.ts";
import type { Prover } from "./introduction.ts";

export interface GateOptions {
  readonly prover: Prover;
  /** The key of this life of the peer, by the current roster. */
  readonly keyOf: (peer: Self) => string | undefined;
  /** Called every `heldAskMs` while an unlisted node waits, as this node's roster may be old. */
  readonly onHeld: () => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: PeerLimits;
}

/** A node that wants to connect. */
interface Guest {
  readonly proof: Proof;
  /** The key of the last or the running check of its signature. */
  key: string | undefined;
  isChecking: boolean;
  leave: (isAdmitted: boolean) => void;
}

/**
 * The most lines about refusals to log within SAID_FOR_MS, and texts to remember: strangers may send a new name each
 * time. Chosen: enough for a large cluster with a wrong name, but no flood.
 */
const MAX_SAID = 256;
const SAID_FOR_MS = 600_000;

/**
 * Admits a node to the upgrade if it proves to be a peer of the roster. A joining node may dial before the roster lists
 * it, so a proof is held for a moment. A wrong proof is held as long, so that the time does not reveal listed names.
 */
export class Gate {
  readonly #options: GateOptions;
  readonly #challenges: Challenges;
  readonly #said: SayOnce;
  /** The oldest first. */
  readonly #guests = new Set<Guest>();
  #signing = 0;
  #cancelAsk: (() => void) | undefined;
  #closed = false;

  constructor(options: GateOptions) {
    const { clock, limits } = options;
    this.#options = options;
    this.#challenges = new Challenges({ clock, validMs: limits.challengeMs, maxUsed: limits.usedChallenges });
    this.#said = new SayOnce({ clock, maxSaid: MAX_SAID, forMs: SAID_FOR_MS });
  }

  /** Resolves to a signed challenge for a claim; to nothing if it is no claim or too many are being signed. */
  async challenge(field: string | null): Promise<string | undefined> {
    const { prover: { self, identity }, limits } = this.#options;
    const claim = readClaim(field);
    if (claim === undefined || this.#closed || this.#signing >= limits.signing) return undefined;
    const challenge = this.#challenges.make();
    this.#signing++;
    try {
      return fieldOf({ challenge, signature: await identity.sign(challengeText(claim, self, challenge)) });
    } finally {
      this.#signing--;
    }
  }

  /**
   * Resolves to the peer if it has proved itself, else to nothing.
   *
   * @param gone aborted when the client gives up
   */
  admit(field: string | null, gone?: CancelSignal): Promise<Self | undefined> {
    const { clock, limits } = this.#options;
    const proof = readProof(field);
    if (proof === undefined || this.#closed || gone?.aborted || !this.#challenges.isOpen(proof.challenge)) {
      return Promise.resolve(undefined);
    }
    if (this.#guests.size >= limits.strangers) this.#oldest().leave(false);
    return new Promise((resolve) => {
      const lost = () => guest.leave(false);
      const cancelTimer = clock.after(limits.heldProofMs, () => this.#refuse(guest));
      const leave = (isAdmitted: boolean) => {
        if (!this.#guests.delete(guest)) return;
        cancelTimer();
        gone?.removeEventListener("abort", lost);
        resolve(isAdmitted ? proof : undefined);
      };
      const guest: Guest = { proof, key: undefined, isChecking: false, leave };
      this.#guests.add(guest);
      gone?.addEventListener("abort", lost);
      this.#consider(guest);
    });
  }

  /** To be called when the roster has changed: checks the waiting nodes again. */
  review(): void {
    for (const guest of [...this.#guests]) this.#consider(guest);
  }

  /** Refuses all waiting and all later nodes. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#cancelAsk?.();
    for (const guest of [...this.#guests]) guest.leave(false);
  }

  /**
   * The oldest unlisted guest or guest with a wrong signature: a crowd of them must not displace a peer that is being
   * checked.
   */
  #oldest(): Guest {
    const [first] = this.#guests;
    for (const guest of this.#guests) if (!guest.isChecking) return guest;
    return first!;
  }

  #consider(guest: Guest): void {
    if (guest.isChecking) return;
    const key = this.#options.keyOf(guest.proof);
    if (key === undefined) return this.#askSoon();
    if (key === guest.key) return; // the signature is wrong
    guest.key = key;
    guest.isChecking = true;
    void this.#check(guest, key);
  }

  async #check(guest: Guest, key: string): Promise<void> {
    const { prover: { self, verify }, keyOf } = this.#options;
    const { proof } = guest;
    const isRight = await verify(key, proofText(proof, self, proof.challenge), proof.signature);
    guest.isChecking = false;
    // During the check it may have left or been displaced, or this node may be stopping.
    if (!this.#guests.has(guest)) return;
    if (keyOf(proof) !== key) {
      guest.key = undefined;
      return this.#consider(guest);
    }
    if (isRight) guest.leave(this.#challenges.use(proof.challenge));
  }

  #refuse(guest: Guest): void {
    const { name, incarnation } = guest.proof;
    const isListed = this.#options.keyOf(guest.proof) !== undefined;
    const code = isListed ? "signature" : "stranger";
    if (this.#said.isNews(`${name}: ${code}`)) {
      const detail = isListed
        ? `it does not have the key that the roster lists for ${name}`
        : `the roster does not list ${name} in its life ${incarnation}`;
      const message = `refused a connection from ${name}: ${code}: ${detail}`;
      this.#options.log.warn(message, {}, { peer: name, code, detail });
    }
    guest.leave(false);
  }

  #askSoon(): void {
    const { clock, limits, keyOf, onHeld } = this.#options;
    this.#cancelAsk ??= clock.after(limits.heldAskMs, () => {
      this.#cancelAsk = undefined;
      if (this.#closed || ![...this.#guests].some(({ proof }) => keyOf(proof) === undefined)) return;
      onHeld();
      this.#askSoon();
    });
  }
}
