/**
 * Key pairs derived from a name and an incarnation, so that a test knows the key of each peer. They sign synchronously.
 */
import { Buffer } from "node:buffer";
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import type { Identity, Verify } from "../../lib/peer/proof/keys.ts";

/** RFC 8410: the bytes before the 32 bytes of an Ed25519 private key, and of a public one. */
const PRIVATE_HEAD = Buffer.from("302e020100300506032b657004220420", "hex");
const PUBLIC_HEAD = Buffer.from("302a300506032b6570032100", "hex");
const pairs = new Map<string, { key: string; privateKey: KeyObject }>();

function pairOf(name: string, incarnation: string) {
  const id = `${name} ${incarnation}`;
  let pair = pairs.get(id);
  if (pair === undefined) {
    const seed = createHash("sha256").update(id).digest();
    const der = Buffer.concat([PRIVATE_HEAD, seed]);
    const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    const raw = createPublicKey(privateKey).export({ format: "der", type: "spki" }).subarray(PUBLIC_HEAD.length);
    pair = { key: Buffer.from(raw).toString("base64url"), privateKey };
    pairs.set(id, pair);
  }
  return pair;
}

/** The public key of a node's incarnation, in the form of its record. */
export function keyOf(name: string, incarnation: string): string {
  return pairOf(name, incarnation).key;
}

/** The key pair behind `keyOf`. */
export function identityOf({ name, incarnation }: { name: string; incarnation: string }): Identity {
  const { key, privateKey } = pairOf(name, incarnation);
  const signed = (text: string) => sign(null, Buffer.from(text), privateKey).toString("base64url");
  return { key, sign: (text) => Promise.resolve(signed(text)) };
}

/** Like the Web Crypto API, but synchronous. */
export const verifyAtOnce: Verify = (key, text, signature) => {
  const der = Buffer.concat([PUBLIC_HEAD, Buffer.from(key, "base64url")]);
  const publicKey = createPublicKey({ key: der, format: "der", type: "spki" });
  return Promise.resolve(verify(null, Buffer.from(text), publicKey, Buffer.from(signature, "base64url")));
};
