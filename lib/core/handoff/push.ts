/** How entries get to the nodes that are to have them. */
import { entryBytes } from "../cache/byte-cache.ts";
import type { Clock } from "../base/clock.ts";
import { pause } from "../base/timeout.ts";
import type { Entry, Peer } from "../ports.ts";

export interface PushOptions {
  /** Who is to have a key; it is asked again before each attempt, as owners may have changed. `undefined`: nobody. */
  readonly target: (key: string) => Peer | undefined;
  readonly signal: AbortSignal;
  /** How often in a row nothing is taken of what is left, until it is given up: it will be loaded anew. */
  readonly tries: number;
}

const PUSH_TIMEOUT_MS = 2_000;
/** What could not be pushed is offered again so long after. */
const PUSH_AGAIN_AFTER_MS = 500;
const MAX_BATCH_BYTES = 256 * 1024;
const MAX_BATCH_ENTRIES = 1_000;
/** After so many the node does something else, too: targets for half a million take half a second. */
const TARGETS_AT_ONCE = 1_000;

/** One group's way to push. */
export class Pusher {
  readonly #group: string;
  readonly #clock: Clock;
  readonly #onTaken: (entries: number) => void;

  /** @param onTaken is told how many entries a peer took */
  constructor(group: string, clock: Clock, onTaken: (entries: number) => void) {
    this.#group = group;
    this.#clock = clock;
    this.#onTaken = onTaken;
  }

  /** Pushes all entries, those that come first before the others. Never rejects. */
  async push(held: readonly Entry[], { target, signal, tries }: PushOptions): Promise<void> {
    let left = held;
    for (let failures = 0; !signal.aborted;) {
      const before = left.length;
      left = await this.#pushOnce(left, target, signal);
      if (left.length === 0) return;
      failures = left.length < before ? 1 : failures + 1;
      if (failures === tries) return;
      await pause(this.#clock, PUSH_AGAIN_AFTER_MS, signal);
    }
  }

  /**
   * One batch at a time to each peer, so that what waits is bounded by the peers, not by the entries.
   *
   * @returns what has a target that did not take it
   */
  async #pushOnce(
    held: readonly Entry[],
    target: (key: string) => Peer | undefined,
    signal: AbortSignal,
  ): Promise<Entry[]> {
    const byPeer = new Map<Peer, Entry[]>();
    for (let i = 0; i < held.length && !signal.aborted; i++) {
      if (i > 0 && i % TARGETS_AT_ONCE === 0) await pause(this.#clock, 0, signal);
      const entry = held[i]!;
      const peer = target(entry.key);
      if (peer === undefined) continue;
      const entries = byPeer.get(peer);
      if (entries === undefined) byPeer.set(peer, [entry]);
      else entries.push(entry);
    }
    const left = await Promise.all([...byPeer].map(([peer, entries]) => this.#pushTo(peer, entries, signal)));
    return left.flat();
  }

  /** @returns what is left when a push fails, or there is no more time */
  async #pushTo(peer: Peer, entries: readonly Entry[], signal: AbortSignal): Promise<readonly Entry[]> {
    for (let at = 0; at < entries.length;) {
      const first = at;
      const batch: Entry[] = [];
      for (let bytes = 0; at < entries.length && batch.length < MAX_BATCH_ENTRIES; at++) {
        bytes += entryBytes(entries[at]!.key, entries[at]!.value);
        if (bytes > MAX_BATCH_BYTES && batch.length > 0) break;
        batch.push(entries[at]!);
      }
      if (signal.aborted) return entries.slice(first);
      try {
        this.#onTaken(await peer.push(this.#group, batch, { signal, timeoutMs: PUSH_TIMEOUT_MS }));
      } catch {
        return entries.slice(first);
      }
    }
    return [];
  }
}
