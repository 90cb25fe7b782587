import { entryBytes } from "../cache/byte-cache.ts";
import { cacheKeyOf } from "../cache/variants.ts";
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
/** The most keys whose second copy is missing. Chosen: some megabytes; with more, the next change of owners sends all. */
const MAX_LACKING = 10_000;

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
  /** By peer: the cache keys whose copies failed to reach it. They are sent when it takes a copy again. */
  readonly #lacking = new Map<Peer, Set<string>>();
  #lackingKeys = 0;

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
      void this.#pusher.push([{ key, value }], { target: () => peer, signal: this.#never, tries: 1 }).then((left) => {
        this.#copiesInFlight--;
        this.#copyBytesInFlight -= bytes;
        if (left.length > 0) this.#lack(cacheKeyOf(key, value));
        else if (this.#lacking.has(peer)) void this.#sendLacking(peer);
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
    const lacking = new Set([...this.#lacking.values()].flatMap((keys) => [...keys]));
    this.#forgetLacking();
    const target = (key: string) => this.#newOwner(key, wasBehind || lacking.has(key));
    const left = await this.#pusher.push(caches.main.entries(), { target, signal, tries: COPY_TRIES });
    if (signal.aborted) return;
    this.#isBehind = false;
    for (const { key } of left) this.#lack(key);
  }

  /** Ends a rebalance. */
  stop(): void {
    this.#rebalance.abort();
  }

  /** The peer takes copies again: sends the missing ones. A partition may change no list, so no rebalance would follow. */
  async #sendLacking(peer: Peer): Promise<void> {
    const { caches } = this.#options;
    const keys = this.#lacking.get(peer)!;
    this.#lacking.delete(peer);
    this.#lackingKeys -= keys.size;
    const held = [...keys].flatMap((key) => {
      const found = caches.held(key);
      return found?.from === "main" ? [{ key, value: found.value }] : [];
    });
    const target = (key: string) => this.#otherOwner(key);
    // A change of owners ends this push, and so does the end of this node.
    const { signal } = this.#rebalance;
    const left = await this.#pusher.push(held, { target, signal, tries: COPY_TRIES });
    for (const { key } of left) this.#lack(key);
  }

  /** The key's other owner has no copy. That owner, as the roster has it now: the peer that failed may have left. */
  #lack(cacheKey: string): void {
    // Before the owner is looked for: after a rebalance in vain that would block for each entry of the cache.
    if (this.#lackingKeys >= MAX_LACKING) {
      this.#isBehind = true;
      return;
    }
    const peer = this.#otherOwner(cacheKey);
    if (peer === undefined) return;
    const keys = this.#lacking.get(peer) ?? new Set();
    if (keys.has(cacheKey)) return;
    this.#lacking.set(peer, keys.add(cacheKey));
    this.#lackingKeys++;
  }

  #forgetLacking(): void {
    this.#lacking.clear();
    this.#lackingKeys = 0;
  }

  /** The other owner of a key that this node also owns. */
  #otherOwner(key: string): Peer | undefined {
    const { picker, replicas } = this.#options;
    const owners = picker.ranked(key, replicas);
    if (owners.length < replicas || !owners.includes(undefined)) return undefined;
    return owners.find((peer) => peer !== undefined);
  }

  /** The same, unless that peer already has its copy. */
  #newOwner(key: string, wasBehind: boolean): Peer | undefined {
    const { picker, replicas } = this.#options;
    const other = this.#otherOwner(key);
    if (other === undefined) return undefined;
    const before = picker.rankedBefore(key, replicas);
    // Compares the peer object, not its name: a restarted node holds nothing.
    const hadIt = !wasBehind && before.length === replicas && before.includes(other);
    return hadIt ? undefined : other;
  }
}
