/** The key pair of one life of a node. */
import { Buffer } from "node:buffer";

/** Proves by signatures that this node owns the record with `key`. */
export interface Identity {
  /** The raw public key, 32 bytes in base64url. */
  readonly key: string;
  /** Resolves to the signature over the text in UTF-8: 64 bytes in base64url. */
  sign(text: string): Promise<string>;
}

/** Whether the owner of the key signed the text. `false` for an invalid key or signature. */
export type Verify = (key: string, text: string, signature: string) => Promise<boolean>;

const ALGORITHM = { name: "Ed25519" }; // RFC 8032

/** Makes a key pair. Nothing can read the private key, not even this program. */
export async function makeIdentity(): Promise<Identity> {
  const pair = await crypto.subtle.generateKey(ALGORITHM, false, ["sign", "verify"]) as CryptoKeyPair;
  const raw = await crypto.subtle.exportKey("raw", pair.publicKey);
  return {
    key: Buffer.from(raw).toString("base64url"),
    sign: async (text) =>
      Buffer.from(await crypto.subtle.sign(ALGORITHM, pair.privateKey, bytesOf(text))).toString("base64url"),
  };
}

/** See {@link Verify}. */
export const verify: Verify = async (key, text, signature) => {
  try {
    const imported = await crypto.subtle.importKey("raw", Buffer.from(key, "base64url"), ALGORITHM, false, ["verify"]);
    return await crypto.subtle.verify(ALGORITHM, imported, Buffer.from(signature, "base64url"), bytesOf(text));
  } catch {
    return false;
  }
};

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
