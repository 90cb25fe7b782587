import { entryBytes } from "../cache/byte-cache.ts";
import type { Peer } from "../ports.ts";
import type { Value } from "../value.ts";
import type { HandoffOptions } from "./options.ts";
import type { Pusher } from "./push.ts";

/** Chosen: 5 s of tries. By then a lost peer is evicted, and another peer becomes the second owner. */
const COPY_TRIES = 10;
/**
 * The most copies of fresh values in flight, and their encoded bytes. Above it a value gets no second copy. Chosen.
 */
const MAX_COPIES_IN_FLIGHT = 1_000;
const MAX_COPY_BYTES_IN_FLIGHT = 64 * 1024 * 1024;

/** The second copies of a group with two replicas: the owner and the next in rank keep each value. */
export class Replicas {
  readonly #options: HandoffOptions;
  readonly #pusher: Pusher;
  readonly #never = new AbortController().signal;
  #copiesInFlight = 0;
  #copyBytesInFlight = 0;
  #rebalance = new AbortController();
  /** Whether the last rebalance was cut short: a second owner may then lack copies. */
  #isBehind = false;

  constructor(options: HandoffOptions, pusher: Pusher) {
    this.#options = options;
    this.#pusher = pusher;
  }

  /** Sends a fresh value to the key's other owner, once, without waiting. */
  send(key: string, value: Value): void {
    const { picker, replicas } = this.#options;
    if (replicas < 2 || this.#copiesInFlight >= MAX_COPIES_IN_FLIGHT) return;
    const bytes = entryBytes(key, value);
    if (this.#copyBytesInFlight + bytes > MAX_COPY_BYTES_IN_FLIGHT) return;
    for (const peer of picker.ranked(key, replicas)) {
      if (peer === undefined) continue;
      this.#copiesInFlight++;
      this.#copyBytesInFlight += bytes;
      void this.#pusher.push([{ key, value }], { target: () => peer, signal: this.#never, tries: 1 }).then(() => {
        this.#copiesInFlight--;
        this.#copyBytesInFlight -= bytes;
      });
    }
  }

  /** After a change of owners: sends each key to its new second owner. A later change starts it again. Never rejects. */
  async rebalance(): Promise<void> {
    const { caches, replicas } = this.#options;
    this.stop();
    if (replicas < 2) return;
    this.#rebalance = new AbortController();
    const { signal } = this.#rebalance;
    const wasBehind = this.#isBehind;
    this.#isBehind = true;
    const target = (key: string) => this.#newOwner(key, wasBehind);
    await this.#pusher.push(caches.main.entries(), { target, signal, tries: COPY_TRIES });
    if (!signal.aborted) this.#isBehind = false;
  }

  /** Ends a rebalance. */
  stop(): void {
    this.#rebalance.abort();
  }

  /** The other owner of a key that this node also owns, unless that peer already has its copy. */
  #newOwner(key: string, wasBehind: boolean): Peer | undefined {
    const { picker, replicas } = this.#options;
    const owners = picker.ranked(key, replicas);
    if (owners.length < replicas || !owners.includes(undefined)) return undefined;
    const other = owners.find((peer) => peer !== undefined)!;
    const before = picker.rankedBefore(key, replicas);
    // Compares the peer object, not its name: a restarted node holds nothing.
    const hadIt = !wasBehind && before.length === replicas && before.includes(other);
    return hadIt ? undefined : other;
  }
}
