import type { PeerLimits } from "../limits.ts";

/** How far a connection has come, both ways, since it was opened. */
export interface Progress {
  readonly framesIn: number;
  readonly bytesOut: number;
  /** Of `bytesOut`, what the system has not taken yet. */
  readonly unsentBytes: number;
}

/**
 * Finds out that a connection is dead though TCP says nothing: when a path drops all its packets (a firewall that has
 * forgotten it, an address that was moved), writes succeed, and it takes TCP a quarter of an hour to give up.
 *
 * A peer that lives answers each question in time, with a failure at least. So one that was overdue is a miss; so many
 * of them, with nothing at all from the peer in between, mean that a new connection is the better try. They are counted
 * once in a while: many questions of one moment say no more than one, nor does all that was overdue while this node
 * itself stood still.
 */
export class Silence {
  readonly #limits: Pick<PeerLimits, "silentMisses" | "silentMissMs">;
  #framesIn = 0;
  #takenBytes = 0;
  #misses = 0;
  #countedAtMs = -Infinity;

  constructor(limits: Pick<PeerLimits, "silentMisses" | "silentMissMs">) {
    this.#limits = limits;
  }

  /** To be called when a question was overdue. @returns whether the connection is dead */
  missed(nowMs: number, { framesIn, bytesOut, unsentBytes }: Progress): boolean {
    const takenBytes = bytesOut - unsentBytes;
    // A path that is slow may have the question still before it. Only behind a full socket does it show that it moves.
    const isMoving = unsentBytes > 0 && takenBytes > this.#takenBytes;
    const isAlive = framesIn !== this.#framesIn || isMoving;
    this.#framesIn = framesIn;
    this.#takenBytes = takenBytes;
    if (isAlive) this.#misses = 0;
    else if (nowMs - this.#countedAtMs >= this.#limits.silentMissMs) {
      this.#countedAtMs = nowMs;
      this.#misses++;
    }
    return this.#misses >= this.#limits.silentMisses;
  }
}
