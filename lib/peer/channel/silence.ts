import type { PeerLimits } from "../limits.ts";

/** The traffic of a connection in both directions since it opened. */
export interface Progress {
  readonly framesIn: number;
  readonly bytesOut: number;
  /** The bytes of `bytesOut` that the system has not taken yet. */
  readonly unsentBytes: number;
}

/**
 * Finds a dead connection when TCP does not report it. A path may drop all packets, for example when a firewall forgot
 * the connection or an address moved. Then writes succeed, and TCP gives up only after 15 minutes.
 *
 * A live peer replies to each ask in time, at least with a failure. An overdue ask is a miss. `silentMisses` in a row,
 * without a frame from the peer between them, make the connection dead. Misses within `silentMissMs` count as one: many
 * asks at one moment prove no more than one ask. The same is true for asks during a standstill of this node.
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
    // On a slow path the ask may still be in transit. The system's buffer hides that, except for bytes that it has not taken.
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
