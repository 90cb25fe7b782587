/** Pushes entries to other nodes in batches. */
import { entryBytes } from "../cache/byte-cache.ts";
import { primaryKey } from "../base/variant-key.ts";
import { pause } from "../base/time/timeout.ts";
import type { Entry, Peer } from "../ports.ts";
import { isMarker } from "../value.ts";
import type { HandoffOptions } from "./options.ts";

export interface PushOptions {
  /** The peer that gets the key; asked before each try, since owners may change. `undefined`: drop the entry. */
  readonly target: (key: string) => Peer | undefined;
  readonly signal: AbortSignal;
  /** After this many tries in a row without progress the rest is given up; it will be loaded again. */
  readonly tries: number;
}

/** Chosen: a peer stores a batch within milliseconds; one that takes this long is stalled. */
const PUSH_TIMEOUT_MS = 2_000;
/** The pause between two tries. Chosen. */
const RETRY_AFTER_MS = 500;
/** Chosen: small enough that a push does not delay the answers behind it. */
const MAX_BATCH_BYTES = 256 * 1024;
const MAX_BATCH_ENTRIES = 1_000;
/** After this many the event loop gets a turn: finding targets for half a million entries takes half a second (measured). */
const TARGETS_AT_ONCE = 1_000;

/** Pushes the entries of one group. */
export class Pusher {
  readonly #options: HandoffOptions;

  constructor(options: HandoffOptions) {
    this.#options = options;
  }

  /**
   * Pushes all entries in their order. Never rejects.
   *
   * @returns the entries that were given up, or are left when the signal aborts
   */
  async push(held: readonly Entry[], { target, signal, tries }: PushOptions): Promise<readonly Entry[]> {
    let left = held;
    for (let failures = 0; !signal.aborted;) {
      const before = left.length;
      left = await this.#pushOnce(left, target, signal);
      if (left.length === 0) break;
      failures = left.length < before ? 1 : failures + 1;
      if (failures === tries) break;
      await pause(this.#options.clock, RETRY_AFTER_MS, signal);
    }
    return left;
  }

  /**
   * Sends one batch at a time to each peer, so the memory in flight depends on the number of peers, not of entries.
   *
   * @returns the entries whose target did not take them
   */
  async #pushOnce(
    held: readonly Entry[],
    target: (key: string) => Peer | undefined,
    signal: AbortSignal,
  ): Promise<readonly Entry[]> {
    const byPeer = new Map<Peer, Entry[]>();
    for (let i = 0; i < held.length && !signal.aborted; i++) {
      if (i > 0 && i % TARGETS_AT_ONCE === 0) await pause(this.#options.clock, 0, signal);
      const entry = held[i]!;
      const peer = target(entry.key);
      if (peer === undefined) continue;
      const entries = byPeer.get(peer);
      if (entries === undefined) byPeer.set(peer, [entry]);
      else entries.push(entry);
    }
    if (signal.aborted) return held;
    const left = await Promise.all([...byPeer].map(([peer, entries]) => this.#pushTo(peer, entries, signal)));
    return left.flat();
  }

  /** @returns the entries that remain when a push fails or the signal aborts */
  async #pushTo(peer: Peer, entries: readonly Entry[], signal: AbortSignal): Promise<readonly Entry[]> {
    const { group, stats, caches: { validity } } = this.#options;
    for (let at = 0; at < entries.length;) {
      const first = at;
      const batch: Entry[] = [];
      for (let bytes = 0; at < entries.length && batch.length < MAX_BATCH_ENTRIES; at++) {
        const { key, value: held } = entries[at]!;
        bytes += entryBytes(key, held);
        if (bytes > MAX_BATCH_BYTES && batch.length > 0) break;
        // An invalidation may have come since the entry was collected. A value that passes the check gets a later label.
        const value = isMarker(held) ? held : validity.check(primaryKey(key), held);
        if (value !== undefined) batch.push({ key, value });
      }
      if (signal.aborted) return entries.slice(first);
      if (batch.length === 0) continue;
      try {
        const taken = await peer.push(group, batch, { signal, timeoutMs: PUSH_TIMEOUT_MS });
        stats.entriesPushed += taken;
      } catch {
        return entries.slice(first);
      }
    }
    return [];
  }
}
