import { entryBytes } from "../cache/byte-cache.ts";
import type { Entry } from "../ports.ts";
import type { Value } from "../value.ts";
import type { HandoffOptions } from "./options.ts";
import type { Pusher } from "./push.ts";

/** Chosen: a stopping node has little time. Values that are refused twice will be loaded again. */
const DRAIN_TRIES = 2;
/** The most values loaded during the drain to hand over, and their encoded bytes. Chosen. */
const MAX_LATE_ENTRIES = 10_000;
const MAX_LATE_BYTES = 64 * 1024 * 1024;

/** Hands this node's values to their next owners before it stops owning keys. */
export class Drain {
  readonly #options: HandoffOptions;
  readonly #pusher: Pusher;
  /** Values loaded since the drain began. */
  #late: Entry[] | undefined;
  #lateBytes = 0;

  constructor(options: HandoffOptions, pusher: Pusher) {
    this.#options = options;
    this.#pusher = pusher;
  }

  get hasBegun(): boolean {
    return this.#late !== undefined;
  }

  /** Adds a value that was loaded after the drain began: it is handed over, too. */
  add(key: string, value: Value): void {
    const bytes = entryBytes(key, value);
    if (this.#late!.length >= MAX_LATE_ENTRIES || this.#lateBytes + bytes > MAX_LATE_BYTES) return;
    this.#lateBytes += bytes;
    this.#late!.push({ key, value });
  }

  /**
   * Pushes the main cache, the most recently used entries first. Then it pushes hot copies of keys that this node came to own
   * when their owner was lost. Last come the values loaded during the drain. Ends when done or aborted. Never rejects.
   *
   * @param landed called after the first push; resolves when no peer asks this node any more and its loads in flight have ended
   */
  async run(signal: AbortSignal, landed: () => Promise<unknown>): Promise<void> {
    const { picker, caches } = this.#options;
    this.#late = [];
    const isOwn = ({ key }: Entry) => [...picker.ranked(key, 1), ...picker.rankedBefore(key, 1)].includes(undefined);
    const held = [...caches.main.byRecency(), ...caches.hot.byRecency().filter(isOwn)];
    const target = (key: string) => picker.ranked(key, 2).find((peer) => peer !== undefined);
    await this.#pusher.push(held, { target, signal, tries: DRAIN_TRIES });
    await landed();
    await this.#pusher.push(this.#late, { target, signal, tries: DRAIN_TRIES });
  }
}
