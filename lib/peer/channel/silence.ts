import type { PeerLimits } from "../limits.ts";

/** The traffic of a connection, both ways, since it was opened. */
export interface Progress {
  readonly framesIn: number;
  readonly bytesOut: number;
  /** The part of `bytesOut` that the system has not taken yet. */
  readonly unsentBytes: number;
}

/**
 * Finds out that a connection is dead when TCP does not tell. A path may drop all packets (a firewall forgot the
 * connection, an address moved): writes succeed, and TCP gives up after 15 minutes.
 *
 * A live peer replies to each ask in time, at least with a failure. An overdue ask is a miss. `silentMisses` in a row,
 * with no frame from the peer between them, make the connection dead. Misses within `silentMissMs` count as one: many
 * asks of one moment tell no more than one ask, and so do the asks that were overdue while this node stood still.
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

  /** To be called when an ask was overdue. @returns whether the connection is dead */
  missed(nowMs: number, { framesIn, bytesOut, unsentBytes }: Progress): boolean {
    const takenBytes = bytesOut - unsentBytes;
    // On a slow path the ask may still be under way. The system's buffer hides that, but for bytes that it has not taken.
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
