/**
 * The port between membership and the store of records: a key-value bucket in which every write names the revision that
 * it replaces (Doozer's `rev`). Three stores implement it and pass one contract suite: lib/nats/peer-store.ts (NATS
 * KV), memory-store.ts, and lib/workers/pipe-store.ts (the same memory behind a pipe).
 *
 * The rules:
 * - Each write gets the next number of one sequence for all keys: its revision. A delete is a write, too: it leaves a
 *   marker with the key's last revision.
 * - A write names the key's last revision, or 0 for a new key. A write with any other number fails.
 * - A watch is level-triggered: it delivers whole views, never single events, so a missed view does no harm.
 */

/** The last write to a key. */
export interface Entry {
  /** The bytes; `undefined` after a delete and for a key that was never written. */
  readonly value: Uint8Array | undefined;
  /** The sequence number of that write; 0 for a key that was never written. */
  readonly revision: number;
}

/**
 * One group's keys at one moment.
 *
 * `revision` is the greatest revision of the group's keys, delete markers included. It depends only on the bucket, so a
 * node that starts late has the same number as a node that saw every change. If an operator purges markers or records,
 * the number may go back, on every node.
 */
export interface View {
  readonly group: string;
  /** Identifies this life of the bucket. Revisions of different epochs cannot be compared. */
  readonly epoch: string;
  readonly revision: number;
  /** Whole keys (`dict.127-0-0-1-8000`) and their last writes, deletes included. Only valid until the listener returns. */
  readonly entries: ReadonlyMap<string, Entry>;
}

export interface StoreListener {
  /** Called with a view that differs from the last one, or with the same view again after a doubt. */
  onView(view: View): void;
  /**
   * The store cannot be reached: the last views stay valid until `onBack`. Called once per outage, and before the first
   * contact.
   */
  onAway(reason: string): void;
  /** The store was reached, for the first time or again, and the views of all followed groups were delivered. */
  onBack(): void;
}

/** A node's contact to the store. */
export interface StoreContact {
  readonly isConnected: boolean;
  /** Since when, in Unix milliseconds. */
  readonly sinceMs: number;
  /** How long the latest question took, in milliseconds; `undefined`: none was answered yet. */
  readonly roundTripMs: number | undefined;
  /** The number of connections that worked so far. */
  readonly connections: number;
}

export interface PeerStore {
  /** Absent if there is no connection that could be lost. */
  readonly contact?: StoreContact;
  /** The shortest time that an answer takes, in ms. Absent if it takes no time. */
  readonly roundTripMs?: number;
  /**
   * The key's last write, read from the leader, so that a write may depend on it.
   *
   * @throws UnavailableError
   */
  read(key: string): Promise<Entry>;
  /**
   * The records under this name in every group of the bucket, by whole key, read from the leader; of more than
   * `maxNamed` only some. Absent if all nodes that share the store serve the same groups.
   *
   * @throws UnavailableError
   */
  named?(name: string): Promise<ReadonlyMap<string, Uint8Array>>;
  /**
   * Writes `value` if the key's last revision is `replaces` (0: the key was never written). Resolves to the new revision.
   *
   * @throws WrongRevisionError another write came in between: nothing was written
   * @throws UnavailableError the write may have been applied or may be applied later
   */
  put(key: string, value: Uint8Array, replaces: number): Promise<number>;
  /**
   * Leaves a marker if the key's last revision is `replaces`. Resolves to the marker's revision. A key without a value
   * may be deleted, too: then every write in flight that names `replaces` fails.
   *
   * @throws WrongRevisionError, UnavailableError as for `put`
   */
  delete(key: string, replaces: number): Promise<number>;
  /** Starts calling the listener. To be called once. The listener is not called before this returns, nor after `close`. */
  watch(listener: StoreListener): void;
  /**
   * Delivers this group's views to the listener: first all its keys, as soon as they can be read, then each change. May
   * be called before or after `watch`. Does nothing for a group that is already followed.
   */
  follow(group: string): void;
  /** Delivers nothing more of this group until it is followed again. */
  unfollow(group: string): void;
  /** Looks now, not only when the next look is due, as there may be news that the watch did not deliver. */
  hurry(): void;
  /** Ends the watch and closes connections, even while it is still connecting. Never throws. */
  close(): Promise<void>;
}

/** The key of one peer's record in one group. */
export function keyOf(group: string, name: string): string {
  return `${group}.${name}`;
}

/** The list of the nodes that ask for a group without serving it. No group can have such a name. */
export function askersOf(group: string): string {
  return `=${group}`;
}

/** The group of a list, which is the group's peer list or the list of its askers. */
export function groupOfList(list: string): string {
  return list.startsWith("=") ? list.slice(1) : list;
}

/** A list's name for the log. */
export function listText(list: string): string {
  return list.startsWith("=") ? `list of nodes that ask for ${list.slice(1)}` : `peer list of ${list}`;
}

/** The most groups in which one name is searched. Chosen: anybody may write into the bucket. */
export const maxNamed = 100;

/** The most keys of one group to hold, deleted ones included; further ones count only for the revision. Chosen. */
export const maxKeysPerGroup = 10_000;
