/**
 * The cluster's secret (`--secret-file`): what a node writes to NATS carries an HMAC, and what it reads there without a
 * right one counts for nothing. So a login at NATS alone makes nobody a peer, defines no group, and drops no value.
 *
 * The code is the last field of the JSON, `,"mac":"…"}`. It covers the subject, so a text is good under one key only, and
 * every byte of the JSON before it.
 */
import { Buffer } from "node:buffer";
import { createHmac, timingSafeEqual } from "node:crypto";
import { UNSIGNED } from "../core/base/unsigned.ts";

/** Bytes that a signature adds to a text. */
export const SEAL_BYTES = ',"mac":""'.length + 43;
/** Chosen: SHA-256 as characters, and room for the white space that an editor adds behind. */
const MAC = /,"mac":"([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])"\}\s{0,8}$/;
const MAX_TAIL_BYTES = SEAL_BYTES + 16;
const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Signs what is written, and checks what is read. */
export class Seal {
  readonly #secrets: readonly string[];

  /** @param secrets the first signs; any of them verifies; none: nothing is signed, and signatures are not looked at */
  constructor(secrets: readonly string[] = []) {
    this.#secrets = secrets;
  }

  /**
   * A JSON object with the signature.
   *
   * @param subject the NATS subject under which it is written
   * @throws TypeError it ends as no object with a field does
   */
  sign(subject: string, data: Uint8Array): Uint8Array {
    const [secret] = this.#secrets;
    if (secret === undefined) return data;
    const text = decoder.decode(data).trimEnd();
    if (!/[^{\s]\s*\}$/.test(text)) throw new TypeError("Cannot sign what is no JSON object with a field");
    const mac = codeOf(secret, subject, encoder.encode(text)).toString("base64url");
    return encoder.encode(`${text.slice(0, -1)},"mac":"${mac}"}`);
  }

  /** The JSON without its signature; `UNSIGNED` when there is none, or a wrong one. */
  open(subject: string, data: Uint8Array): Uint8Array {
    const tail = data.subarray(Math.max(0, data.byteLength - MAX_TAIL_BYTES));
    const found = MAC.exec(Buffer.from(tail).toString("latin1"));
    if (found === null) return this.#secrets.length === 0 ? data : UNSIGNED;
    const text = new Uint8Array(data.byteLength - tail.byteLength + found.index + 1);
    text.set(data.subarray(0, text.byteLength - 1));
    text[text.byteLength - 1] = "}".charCodeAt(0);
    if (this.#secrets.length === 0) return text;
    const mac = Buffer.from(found[1]!, "base64url");
    return this.#secrets.some((secret) => timingSafeEqual(codeOf(secret, subject, text), mac)) ? text : UNSIGNED;
  }
}

/** Neither a subject nor anything else that NATS takes as a key holds a zero. */
function codeOf(secret: string, subject: string, text: Uint8Array) {
  return createHmac("sha256", secret).update(`muster 1\0${subject}\0`).update(text).digest();
}
