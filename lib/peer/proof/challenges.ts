import { Buffer } from "node:buffer";
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { Clock } from "../../core/base/clock.ts";

export interface ChallengesOptions {
  readonly clock: Clock;
  /** How long a challenge may be answered. */
  readonly validMs: number;
  /** The most used challenges to remember. While so many are remembered, no other is accepted. */
  readonly maxUsed: number;
}

const TIME_BYTES = 6;
const RANDOM_BYTES = 16;
/** Chosen: half of SHA-256's 32 bytes. */
const MAC_BYTES = 16;
const SAID_BYTES = TIME_BYTES + RANDOM_BYTES;

/**
 * Challenges that can be answered once each. An unanswered challenge takes no memory: it carries its time and a code
 * that only this node can make.
 */
export class Challenges {
  readonly #options: ChallengesOptions;
  readonly #secret = randomBytes(32);
  /** Until when each must be remembered; the earliest use first. */
  readonly #used = new Map<string, number>();

  constructor(options: ChallengesOptions) {
    this.#options = options;
  }

  /** Makes a challenge: time, random bytes and code, 38 bytes in base64url. */
  make(): string {
    const said = Buffer.alloc(SAID_BYTES);
    said.writeUIntBE(Math.floor(this.#options.clock.nowMs()), 0, TIME_BYTES);
    randomBytes(RANDOM_BYTES).copy(said, TIME_BYTES);
    return Buffer.concat([said, this.#codeOf(said)]).toString("base64url");
  }

  /** Whether this node made the challenge recently, and it was not used. */
  isOpen(challenge: string): boolean {
    const bytes = Buffer.from(challenge, "base64url");
    // Accept only one spelling of a challenge, as used ones are remembered by their text.
    if (bytes.length !== SAID_BYTES + MAC_BYTES || bytes.toString("base64url") !== challenge) return false;
    const said = bytes.subarray(0, SAID_BYTES);
    if (!timingSafeEqual(this.#codeOf(said), bytes.subarray(SAID_BYTES))) return false;
    const ageMs = this.#options.clock.nowMs() - said.readUIntBE(0, TIME_BYTES);
    // The time was rounded down, so an age below 0 means that the clock was set back: the challenge is then not valid yet.
    return ageMs >= 0 && ageMs < this.#options.validMs && !this.#used.has(challenge);
  }

  /** Whether the challenge was open. From now on it counts as used. */
  use(challenge: string): boolean {
    const { clock, validMs, maxUsed } = this.#options;
    const nowMs = clock.nowMs();
    for (const [used, untilMs] of this.#used) {
      if (untilMs > nowMs) break;
      this.#used.delete(used);
    }
    if (this.#used.size >= maxUsed || !this.isOpen(challenge)) return false;
    this.#used.set(challenge, nowMs + validMs);
    return true;
  }

  #codeOf(said: Uint8Array): Buffer {
    return createHmac("sha256", this.#secret).update(said).digest().subarray(0, MAC_BYTES);
  }
}
