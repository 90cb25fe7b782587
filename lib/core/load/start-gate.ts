/** Holds the misses of a node that does not know its peers yet. Each would be a load that another node has already done. */
import type { Clock } from "../base/clock.ts";
import type { CancelListener } from "../base/cancel.ts";
import { OverloadedError } from "../errors.ts";
import type { Waiter } from "./flights.ts";

/** Chosen: as many as the connections that a node with two cores serves at once. A waiter takes some hundred bytes. */
const MAX_HELD = 10_000;
/** Chosen: as long as a load may take by default (`loadTimeoutMs`). */
const MAX_HELD_MS = 10_000;

export interface StartGateOptions {
  readonly clock: Clock;
  /** The most misses that wait; further ones are refused. @default 10_000 */
  readonly maxHeld?: number;
  /** The time after which it opens by itself, in milliseconds. @default 10_000 */
  readonly maxHeldMs?: number;
}

/** A gate that is closed at first and opens once, for good. */
export class StartGate {
  readonly #maxHeld: number;
  readonly #held = new Set<() => void>();
  readonly #cancelTimer: () => void;
  #isOpen = false;

  constructor({ clock, maxHeld = MAX_HELD, maxHeldMs = MAX_HELD_MS }: StartGateOptions) {
    this.#maxHeld = maxHeld;
    this.#cancelTimer = clock.after(maxHeldMs, () => this.open());
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The number of misses that wait now. */
  get held(): number {
    return this.#held.size;
  }

  /**
   * Calls `go` when the gate opens. A waiter that leaves before is rejected with its signal's reason, one too many with
   * an OverloadedError. Only to be called while the gate is closed.
   */
  hold<T>(waiter: Waiter<T>, go: () => void): void {
    const { signal } = waiter;
    if (signal?.aborted) return waiter.reject(signal.reason);
    if (this.#held.size >= this.#maxHeld) {
      return waiter.reject(new OverloadedError(`${this.#maxHeld} requests wait until this node has found its peers`));
    }
    const leave: CancelListener = () => {
      this.#held.delete(goOn);
      waiter.reject(signal!.reason);
    };
    const goOn = (): void => {
      signal?.removeEventListener("abort", leave);
      try {
        go();
      } catch (error) {
        waiter.reject(error);
      }
    };
    signal?.addEventListener("abort", leave, { once: true });
    this.#held.add(goOn);
  }

  /** Lets all waiters go on, in order of arrival. Idempotent. */
  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#cancelTimer();
    for (const goOn of this.#held) {
      this.#held.delete(goOn);
      goOn();
    }
  }
}
