/** What a group needs from the rest of the node: an origin, other nodes, and the choice among them. */
import type { CancelSignal } from "./base/cancel.ts";
import type { Reply } from "./base/reply.ts";
import type { Fresh, Value } from "./value.ts";

/** Where a value comes from on a miss (groupcache's Getter). */
export interface Origin {
  /**
   * @param signal aborted when nobody waits any more, or the load's deadline has passed
   * @throws NotFoundError there is no such value
   * @throws OriginTimeoutError the origin was too slow
   * @throws OverloadedError it has too much to do
   * @throws OriginError anything else that went wrong
   */
  load(key: string, signal: AbortSignal): Promise<Fresh>;
  /** Releases connections and files. Never throws. */
  close?(): Promise<void>;
}

/** Another node, as the one who asks it sees it. */
export interface Peer {
  readonly name: string;
  /**
   * When the peer said, as it greeted, that it had nothing of the group in memory or in the air; its roster listed this
   * node then. `undefined`: it had something, or is not connected. What it has come to have since is not counted.
   */
  emptyAtMs?(group: string): number | undefined;
  /** Asks the peer for a value; it answers as owner and never forwards. Never throws. */
  ask(group: string, key: string, ask: Ask): void;
  /**
   * What the peer has in memory, or is loading from the origin at this moment; it starts no load. `undefined`: nothing.
   *
   * @throws PeerError it could not be reached or was lost
   */
  peek(group: string, key: string, options: AskOptions): Promise<Value | undefined>;
  /**
   * Hands entries over, in one message; the peer takes those that it is to keep and has room for.
   *
   * @returns how many it took
   * @throws PeerError as `peek`
   */
  push(group: string, entries: readonly Entry[], options: AskOptions): Promise<number>;
}

/** What bounds everything that a peer is asked. */
export interface AskOptions {
  readonly signal: CancelSignal;
  readonly timeoutMs: number;
}

/**
 * An ask for a value, and where its answer goes, maybe before `ask` returns. It is rejected with NotFoundError, OriginError,
 * OriginTimeoutError or OverloadedError, the owner's final answers; with PeerError when the peer could not be reached or was
 * lost (fall back); with the signal's reason.
 */
export interface Ask extends AskOptions, Reply<Value> {}

/** Asks, and waits by a promise: for what is not asked often. @throws what the ask is rejected with */
export function asked({ signal, timeoutMs }: AskOptions, ask: (ask: Ask) => void): Promise<Value> {
  return new Promise((answered, failed) => ask({ signal, timeoutMs, resolve: answered, reject: failed }));
}

/** A key and its value, as they travel from node to node. */
export interface Entry {
  readonly key: string;
  readonly value: Value;
}

/** Who is asked for a key. `undefined` means this node itself. */
export interface PeerPicker {
  pick(key: string): Peer | undefined;
  /** The owner first, then who is asked in its place; at least one, `count` at most. */
  ranked(key: string, count: number): readonly (Peer | undefined)[];
  /** As `ranked`, by the roster before the last change of owners; empty when there was none lately. */
  rankedBefore(key: string, count: number): readonly (Peer | undefined)[];
  /**
   * Other nodes that may hold the key's value already: its owner, and its owners not long ago; the latest first. One that
   * was lost is among them, and fails when it is asked.
   */
  holders(key: string, count: number): readonly Peer[];
}

/** A node on its own owns every key. */
export const NoPeers: PeerPicker = {
  pick: () => undefined,
  ranked: () => [undefined],
  rankedBefore: () => [],
  holders: () => [],
};
