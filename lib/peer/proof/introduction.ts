import { randomBytes } from "node:crypto";
import type { PeerRecord } from "../../core/roster.ts";
import type { Self } from "../wire/greeting.ts";
import { challengeText, type Claim, fieldOf, proofText, readChallenge } from "./fields.ts";
import type { Identity, Verify } from "./keys.ts";

/** How this node proves its identity to others and checks theirs. */
export interface Prover {
  readonly self: Self;
  readonly identity: Identity;
  readonly verify: Verify;
}

/** The part of one dial before the upgrade. A socket carries the fields (fields.ts). */
export class Introduction {
  /** The field of the first request. */
  readonly claim: string;
  readonly #prover: Prover;
  readonly #peer: PeerRecord;
  readonly #claim: Claim;
  #isPeer: boolean | undefined;

  constructor(prover: Prover, peer: PeerRecord) {
    this.#prover = prover;
    this.#peer = peer;
    const { name, incarnation } = prover.self;
    this.#claim = { name, incarnation, nonce: randomBytes(16).toString("base64url") };
    this.claim = fieldOf(this.#claim);
  }

  /** Whether the dialed end has proved to be the peer; `undefined` before its answer. */
  get isPeer(): boolean | undefined {
    return this.#isPeer;
  }

  /**
   * Resolves to the field for the upgrade; to nothing if the answer does not come from the peer. Never rejects.
   *
   * @param field the challenge in the answer to the claim
   */
  async answer(field: string | undefined): Promise<string | undefined> {
    const { identity, verify } = this.#prover;
    const read = readChallenge(field);
    if (read === undefined) return void (this.#isPeer = false);
    const { challenge, signature } = read;
    this.#isPeer = await verify(this.#peer.key, challengeText(this.#claim, this.#peer, challenge), signature);
    if (!this.#isPeer) return undefined;
    const signed = await identity.sign(proofText(this.#claim, this.#peer, challenge));
    return fieldOf({ ...this.#claim, challenge, signature: signed });
  }
}
