/**
 * The port between membership and the store of the records: a key-value bucket in which every write names the revision
 * that it replaces (Doozer's `rev`). Three stores obey it, and one contract suite holds them to it: lib/nats/peer-store.ts
 * (NATS KV), memory-store.ts, and lib/workers/pipe-store.ts (the same memory behind a pipe).
 *
 * The rules:
 * - Each write takes the next number of one sequence that all keys share: its revision. A delete is a write too, and
 *   leaves a marker that holds the key's last revision.
 * - A write names the key's last revision, 0 for a key that the bucket has never seen. Any other number loses.
 * - A watch is level-triggered: it tells whole views, never single events, so a missed view does no harm.
 */

/** The last write to a key. */
export interface Entry {
  /** The bytes; `undefined` after a delete, and for a key that was never written. */
  readonly value: Uint8Array | undefined;
  /** The sequence number of that write; 0 for a key that was never written. */
  readonly revision: number;
}

/**
 * One group's keys, as they stand at one moment.
 *
 * `revision` is the greatest revision of the group's keys, markers of deletes included. It follows from the bucket alone, so
 * a node that starts late names the same number as one that saw every change. When an operator purges markers or records,
 * the number may go back, on every node.
 */
export interface View {
  readonly group: string;
  /** Names this life of the bucket: revisions of different epochs cannot be compared. */
  readonly epoch: string;
  readonly revision: number;
  /** Whole keys (`dict.127-0-0-1-8000`) and their last writes, deletes included. Only valid until the listener returns. */
  readonly entries: ReadonlyMap<string, Entry>;
}

export interface StoreListener {
  /** A view that differs from the one before, or the same again after a doubt. */
  onView(view: View): void;
  /** The store cannot be reached: the last views stand until `onBack`. Called once per outage, and before the first contact. */
  onAway(reason: string): void;
  /** The store was reached, for the first time or again, and the views of all groups that are followed were told. */
  onBack(): void;
}

/** How a node reaches the store. */
export interface StoreContact {
  readonly isConnected: boolean;
  /** Since when it has been so, in Unix milliseconds. */
  readonly sinceMs: number;
  /** How long the latest question took, in milliseconds; `undefined`: none has been answered. */
  readonly roundTripMs: number | undefined;
  /** Connections that worked so far. */
  readonly connections: number;
}

export interface PeerStore {
  /** Absent where there is no connection that could be lost. */
  readonly contact?: StoreContact;
  /** How long an answer is on its way at least, in ms. Absent where that is no time. */
  readonly roundTripMs?: number;
  /**
   * The key's last write, as the leader knows it: a write may rest on it.
   *
   * @throws UnavailableError
   */
  read(key: string): Promise<Entry>;
  /**
   * The records under that name in every group of the bucket, by whole key, as the leader knows them; of more than
   * `maxNamed` only some. Absent where all nodes that share the store serve the same groups.
   *
   * @throws UnavailableError
   */
  named?(name: string): Promise<ReadonlyMap<string, Uint8Array>>;
  /**
   * Writes `value` where the key's last revision is `replaces` (0: the key was never written); gives the new revision.
   *
   * @throws WrongRevisionError another write came in between: nothing was written
   * @throws UnavailableError the write may or may not have been applied, now or later
   */
  put(key: string, value: Uint8Array, replaces: number): Promise<number>;
  /**
   * Leaves a marker where the key's last revision is `replaces`; gives the marker's revision. A key without a value may be
   * deleted too: then every write that names `replaces` and is still in flight fails.
   *
   * @throws WrongRevisionError, UnavailableError as for `put`
   */
  delete(key: string, replaces: number): Promise<number>;
  /** Starts telling the listener; to be called once. It is told nothing before this returns, nor after `close`. */
  watch(listener: StoreListener): void;
  /**
   * Has the listener told of this group's keys: first of all of them, as soon as they can be read, then of each change.
   * Before `watch` or after it; a group that is followed already is left alone.
   */
  follow(group: string): void;
  /** The listener is told nothing more of this group, from now on until it is followed again. */
  unfollow(group: string): void;
  /** Looks now, not when the next look is due: there may be news that the watch has not told. */
  hurry(): void;
  /** Ends the watch and lets go of connections, also while it is still connecting. Never throws. */
  close(): Promise<void>;
}

/** One group's key for one peer. */
export function keyOf(group: string, name: string): string {
  return `${group}.${name}`;
}

/** The list of the nodes that ask for a group without serving it. No group has such a name. */
export function askersOf(group: string): string {
  return `=${group}`;
}

/** The group that a list is of, be it the group's peer list or that of its askers. */
export function groupOfList(list: string): string {
  return list.startsWith("=") ? list.slice(1) : list;
}

/** A list in the words of the log. */
export function listText(list: string): string {
  return list.startsWith("=") ? `list of nodes that ask for ${list.slice(1)}` : `peer list of ${list}`;
}

/** Most groups in which one name is looked for. Chosen: anybody may write into the bucket. */
export const maxNamed = 100;

/** Most keys of one group that are held, deleted ones included; further ones count for the revision only. Chosen. */
export const maxKeysPerGroup = 10_000;
