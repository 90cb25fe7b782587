import { createHash } from "node:crypto";

/** How many of SHA-256's 32 bytes are used. Chosen: with 128 bits two bodies never get the same tag by chance. */
const TAG_BYTES = 16;

/**
 * An `ETag` for a body that came without one. It is the same on every node and runtime, so a client may validate at any
 * node.
 */
export function strongTag(body: Uint8Array): string {
  const digest = createHash("sha256").update(body).digest();
  return `"${digest.subarray(0, TAG_BYTES).toString("base64url")}"`;
}
