/**
 * The messages of two nodes before the upgrade, in header fields on one connection:
 *
 *     dialer    GET /_peer              Muster-Claim: name incarnation nonce
 *     acceptor  426                     Muster-Challenge: challenge signature
 *     dialer    GET /_peer, upgrade     Muster-Proof: name incarnation nonce challenge signature
 *     acceptor  101, or 403 without a reason
 *
 * Each signature covers both names, both lives, the dialer's nonce and the acceptor's challenge, under its own heading.
 * So it cannot be used as the other signature, for another pair of nodes, or a second time.
 */
import type { Self } from "../wire/greeting.ts";

export const CLAIM = "muster-claim";
export const CHALLENGE = "muster-challenge";
export const PROOF = "muster-proof";

/** The dialing node, with a nonce that no other dial uses. */
export interface Claim extends Self {
  /** 16 random bytes in base64url. */
  readonly nonce: string;
}

/** The acceptor's answer to a claim. */
export interface Challenge {
  /** From `Challenges`: 38 bytes in base64url. */
  readonly challenge: string;
  /** 64 bytes in base64url, like in a proof. */
  readonly signature: string;
}

/** The dialer's proof: its claim, the challenge and its signature. */
export interface Proof extends Claim, Challenge {}

/** The longest field to read. Chosen: the longest that a node sends has 406 characters. */
const MAX_FIELD_UNITS = 512;
/** With names and incarnations as in a record (registry/record.ts). */
const CLAIM_SHAPE = "([\\w-]{1,128}) ([\\w-]{1,64}) ([\\w-]{22})";
const CHALLENGE_SHAPE = "([\\w-]{51}) ([\\w-]{86})";
const CLAIM_FIELD = new RegExp(`^${CLAIM_SHAPE}$`);
const CHALLENGE_FIELD = new RegExp(`^${CHALLENGE_SHAPE}$`);
const PROOF_FIELD = new RegExp(`^${CLAIM_SHAPE} ${CHALLENGE_SHAPE}$`);

/** The text of a field. */
export function fieldOf(value: Claim | Challenge | Proof): string {
  const { name, incarnation, nonce, challenge, signature } = value as Proof;
  return [name, incarnation, nonce, challenge, signature].filter((part) => part !== undefined).join(" ");
}

/** `undefined` for anything else. */
export function readClaim(field: string | null | undefined): Claim | undefined {
  const read = match(CLAIM_FIELD, field);
  return read && { name: read[1]!, incarnation: read[2]!, nonce: read[3]! };
}

/** `undefined` for anything else. */
export function readChallenge(field: string | null | undefined): Challenge | undefined {
  const read = match(CHALLENGE_FIELD, field);
  return read && { challenge: read[1]!, signature: read[2]! };
}

/** `undefined` for anything else. */
export function readProof(field: string | null | undefined): Proof | undefined {
  const read = match(PROOF_FIELD, field);
  return read && { name: read[1]!, incarnation: read[2]!, nonce: read[3]!, challenge: read[4]!, signature: read[5]! };
}

/** The text that the acceptor signs. */
export function challengeText(claim: Claim, acceptor: Self, challenge: string): string {
  return textOf("muster peer challenge 1", claim, acceptor, challenge);
}

/** The text that the dialer signs. */
export function proofText(claim: Claim, acceptor: Self, challenge: string): string {
  return textOf("muster peer proof 1", claim, acceptor, challenge);
}

function textOf(heading: string, claim: Claim, acceptor: Self, challenge: string): string {
  const { name, incarnation, nonce } = claim;
  return JSON.stringify([heading, name, incarnation, acceptor.name, acceptor.incarnation, nonce, challenge]);
}

function match(shape: RegExp, field: string | null | undefined): RegExpExecArray | undefined {
  if (field === undefined || field === null || field.length > MAX_FIELD_UNITS) return undefined;
  return shape.exec(field) ?? undefined;
}
