import { type Backoff, backoffMs } from "../base/time/backoff.ts";
import type { Clock } from "../base/clock.ts";
import { lifeOf, type Suspect } from "./probed-peer.ts";

/**
 * The time from a peer's return to this node's next vote about it. Chosen: an unreachable peer then causes one change
 * of the lists per wait. If it died, waiting costs little, as asks skip it.
 */
const PATIENCE: Backoff = { firstMs: 60_000, mostMs: 600_000 };
/** The most lives to remember; the oldest is forgotten first. Chosen: the most peers of one list. */
const MAX_LIVES = 1_000;

interface Returned {
  readonly returns: number;
  readonly untilMs: number;
}

/**
 * Lives that this node does not reach although they returned: they wrote their record again, so they live and reach
 * NATS. Or this node itself returned after others took it for dead. Then silence is no sign of death, so this node does
 * not vote "dead" for a while. The wait doubles with each return.
 */
export class ReturnedLives {
  readonly #clock: Clock;
  /** In the order of the returns, the oldest first. */
  readonly #lives = new Map<string, Returned>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** To be called when the life or this node returned. During a wait it counts as no further return. */
  returned(suspect: Suspect): void {
    if (this.waitMs(suspect) > 0) return;
    const life = lifeOf(suspect);
    const returns = (this.#lives.get(life)?.returns ?? 0) + 1;
    this.#lives.delete(life);
    const [oldest] = this.#lives.keys();
    if (this.#lives.size >= MAX_LIVES) this.#lives.delete(oldest!);
    this.#lives.set(life, { returns, untilMs: this.#clock.nowMs() + backoffMs(returns - 1, PATIENCE) });
  }

  /** To be called when this node reached the life. From now on its silence counts again. */
  reached(suspect: Suspect): void {
    this.#lives.delete(lifeOf(suspect));
  }

  /** How long this node may not vote "dead" about the life; 0: it may. */
  waitMs(suspect: Suspect): number {
    const { untilMs = 0 } = this.#lives.get(lifeOf(suspect)) ?? {};
    return Math.max(0, untilMs - this.#clock.nowMs());
  }
}
