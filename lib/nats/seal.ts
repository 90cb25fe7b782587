/**
 * The cluster's secret (`--secret-file`): everything that a node writes to NATS carries an HMAC, and it ignores everything
 * there without a valid one. So a login at NATS alone makes no program a peer, defines no group and drops no value.
 *
 * The code is the last field of the JSON, `,"mac":"…"}`. It covers every byte of the JSON before it, and the subject,
 * so a text is valid under one key only.
 */
import { Buffer } from "node:buffer";
import { createHmac, timingSafeEqual } from "node:crypto";
import { UNSIGNED } from "../core/base/unsigned.ts";

/** How many bytes a signature adds to a text. */
export const SEAL_BYTES = ',"mac":""'.length + 43;
/** SHA-256 in base64url, and room for white space that an editor adds at the end; its 8 characters are chosen. */
const MAC = /,"mac":"([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])"\}\s{0,8}$/;
const MAX_TAIL_BYTES = SEAL_BYTES + 16;
const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Signs written messages and checks read ones. */
export class Seal {
  readonly #secrets: readonly string[];

  /** @param secrets the first one signs, any of them verifies; without secrets nothing is signed or checked */
  constructor(secrets: readonly string[] = []) {
    this.#secrets = secrets;
  }

  /**
   * Adds the signature to a JSON object.
   *
   * @param subject the NATS subject of the message
   * @throws TypeError it does not end like an object with a field
   */
  sign(subject: string, data: Uint8Array): Uint8Array {
    const [secret] = this.#secrets;
    if (secret === undefined) return data;
    const text = decoder.decode(data).trimEnd();
    if (!/[^{\s]\s*\}$/.test(text)) throw new TypeError("Cannot sign a text that is no JSON object with a field");
    const mac = codeOf(secret, subject, encoder.encode(text)).toString("base64url");
    return encoder.encode(`${text.slice(0, -1)},"mac":"${mac}"}`);
  }

  /** The JSON without its signature; `UNSIGNED` if it has none or a wrong one. */
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

/** The zero separates subject and text, as no subject or key of NATS contains one. */
function codeOf(secret: string, subject: string, text: Uint8Array) {
  return createHmac("sha256", secret).update(`muster 1\0${subject}\0`).update(text).digest();
}
