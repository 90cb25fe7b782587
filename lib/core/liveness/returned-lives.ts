import { type Backoff, backoffMs } from "../base/time/backoff.ts";
import type { Clock } from "../base/clock.ts";
import { lifeOf, type Suspect } from "./probed-peer.ts";

/**
 * From a return to this node's next vote. Chosen: a peer that is out of reach costs one change of the lists in so long,
 * and one that died meanwhile costs no more than that, as asks pass over it.
 */
const PATIENCE: Backoff = { firstMs: 60_000, mostMs: 600_000 };
/** Lives that are remembered; the oldest gives way. Chosen: as many as a list has peers at most. */
const MAX_LIVES = 1_000;

interface Returned {
  readonly returns: number;
  readonly untilMs: number;
}

/**
 * Lives that this node does not reach, though they wrote their record again, and so live and reach NATS; or though this node
 * did, after the others took it for dead. Not to reach them is no sign of their death. So this node does not vote "dead" for
 * a while, which doubles with each return.
 */
export class ReturnedLives {
  readonly #clock: Clock;
  /** The one that returned first comes first. */
  readonly #lives = new Map<string, Returned>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The life returned, or this node did. While this node waits already, that is no further return. */
  returned(suspect: Suspect): void {
    if (this.waitMs(suspect) > 0) return;
    const life = lifeOf(suspect);
    const returns = (this.#lives.get(life)?.returns ?? 0) + 1;
    this.#lives.delete(life);
    const [oldest] = this.#lives.keys();
    if (this.#lives.size >= MAX_LIVES) this.#lives.delete(oldest!);
    this.#lives.set(life, { returns, untilMs: this.#clock.nowMs() + backoffMs(returns - 1, PATIENCE) });
  }

  /** This node has reached the life: from now on its silence counts again. */
  reached(suspect: Suspect): void {
    this.#lives.delete(lifeOf(suspect));
  }

  /** For how long this node does not vote "dead" about the life; 0: it may. */
  waitMs(suspect: Suspect): number {
    const { untilMs = 0 } = this.#lives.get(lifeOf(suspect)) ?? {};
    return Math.max(0, untilMs - this.#clock.nowMs());
  }
}
