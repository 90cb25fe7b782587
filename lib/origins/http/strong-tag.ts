import { createHash } from "node:crypto";

/** Of the 32 bytes of SHA-256. Chosen: with 128 bits no two bodies have one tag by chance. */
const TAG_BYTES = 16;

/** An `ETag` for a body that came without one: the same at every node and runtime, so a client may validate at any. */
export function strongTag(body: Uint8Array): string {
  const digest = createHash("sha256").update(body).digest();
  return `"${digest.subarray(0, TAG_BYTES).toString("base64url")}"`;
}
