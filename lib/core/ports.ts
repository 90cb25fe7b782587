/** The ports of a group: an origin, other nodes, and the choice among them. */
import type { CancelSignal } from "./base/cancel.ts";
import type { Reply } from "./base/reply.ts";
import type { Trace } from "./base/trace.ts";
import { BLIND, type Label } from "./invalidation/label.ts";
import type { Fields } from "./semantics/fields.ts";
import type { Answer, Value } from "./value.ts";

/** What a request says beside its key. Only sites look at it; for all other origins there is none. */
export interface RequestHead {
  /** End to end, names in lower case. */
  readonly fields: Fields;
}

/** A load's part of the bytes that all loads may hold. */
export interface LoadingBody {
  /**
   * The load holds so many bytes from now on, if that is more than before.
   *
   * @returns what it must await before it reads on, if anything
   * @throws OverloadedError (or rejects) there is no room; the signal's reason
   */
  hold(bytes: number, signal: CancelSignal): Promise<void> | undefined;
}

/** What a load may use beside the key. */
export interface LoadContext {
  /** The value that has expired: an origin may be asked whether it is still good, and then gives it again. */
  readonly stale?: Value | undefined;
  readonly request?: RequestHead | undefined;
  /** Is told of the bytes of the body before they are read, where that may be many. @default nothing bounds them */
  readonly loading?: LoadingBody | undefined;
  /** What the request that the load was begun for is known by. */
  readonly trace?: Trace | undefined;
}

/** Where a value comes from on a miss (groupcache's Getter). */
export interface Origin {
  /**
   * @param signal aborted when no caller waits any more, or the load's deadline has passed
   * @throws NotFoundError there is no such value
   * @throws OriginTimeoutError the origin was too slow
   * @throws OverloadedError the origin is overloaded
   * @throws PassThroughError the answer is not to be kept: it is to be asked for again, and streamed
   * @throws OriginError any other failure
   */
  load(key: string, signal: AbortSignal, context?: LoadContext): Promise<Answer>;
  /** Releases connections and files. Never throws. */
  close?(): Promise<void>;
}

/** A request that goes through to a site as it is. */
export interface ForwardedRequest {
  readonly method: string;
  /** The rest of the path with its query, as received. */
  readonly key: string;
  /** End to end. */
  readonly fields: Fields;
  readonly body: ReadableStream<Uint8Array> | null;
  readonly trace?: Trace | undefined;
}

/** The site's answer to it; the body is still coming. */
export interface ForwardedAnswer {
  readonly status: number;
  /** End to end, with `Content-Type` and `Content-Length`. */
  readonly fields: Fields;
  readonly body: ReadableStream<Uint8Array>;
  /** Whether a cache could have kept it. */
  readonly isStorable: boolean;
  /** What a cache may keep, with the body, and answer later GETs with; `undefined`: nothing. Never for the answer to a GET. */
  readonly kept?: Omit<Answer, "body"> | undefined;
}

/** Another node, as this node asks it. */
export interface Peer {
  readonly name: string;
  /**
   * When the peer said in its greeting that it held no value of the group, neither in memory nor in flight; its roster
   * listed this node then. `undefined`: it held one, or is not connected. Later values do not count.
   */
  emptyAtMs?(group: string): number | undefined;
  /** Asks the peer for a value. The peer answers as owner and never forwards. Never throws. */
  ask(group: string, key: string, ask: Ask): void;
  /**
   * The peer's value in memory, or of a load in flight; the peer starts no load. `undefined`: it has none.
   *
   * @throws PeerError the peer could not be reached or was lost
   */
  peek(group: string, key: string, options: AskOptions): Promise<Value | undefined>;
  /**
   * Pushes entries in one message. The peer takes those that it is to keep and has room for.
   *
   * @param isWritten a client has written them: they displace what a load's value would
   * @returns how many the peer took
   * @throws PeerError as `peek`
   */
  push(group: string, entries: readonly Entry[], options: PushOptions): Promise<number>;
  /**
   * Has the peer apply all invalidations up to the label, which it reads from the log if it has not.
   *
   * @returns where the peer is when it has got there, or when `timeoutMs` is over; so it may be short of the label
   * @throws PeerError as `peek`
   */
  catchUp(label: Label, options: AskOptions): Promise<Label>;
}

/** The bounds of every question to a peer. */
export interface AskOptions {
  readonly signal: CancelSignal;
  readonly timeoutMs: number;
  /**
   * The value is arriving, in several parts; called with each. The peer then has until `untilMs` for the next one, whatever
   * the ask's own time.
   */
  arriving?(untilMs: number): void;
}

export interface PushOptions extends AskOptions {
  readonly isWritten?: boolean;
}

/**
 * A question for a value, and where its answer goes; the answer may come before `Peer.ask` returns. It is rejected with
 * NotFoundError, OriginError, OriginTimeoutError or OverloadedError (the owner's final answers), with PeerError (the peer
 * could not be reached or was lost: fall back), or with the signal's reason.
 */
export interface Ask extends AskOptions, Reply<Value> {
  /** What the client's request says beside the key; only for sites. */
  readonly request?: RequestHead | undefined;
  /** What the request is known by that the ask is made for. */
  readonly trace?: Trace | undefined;
  /** What the asker has applied. A peer that is behind it catches up before it answers, or rejects with BehindError. */
  readonly after: Label;
}

/** Asks, and waits by a promise. Not for hot paths. @throws the error that the ask is rejected with */
export function asked(
  { signal, timeoutMs, request, after = BLIND }: AskOptions & Pick<Ask, "request"> & Partial<Pick<Ask, "after">>,
  ask: (ask: Ask) => void,
): Promise<Value> {
  return new Promise((answered, failed) =>
    ask({ signal, timeoutMs, request, after, resolve: answered, reject: failed })
  );
}

/** A key and its value, as they travel from node to node. */
export interface Entry {
  readonly key: string;
  readonly value: Value;
}

/** Chooses the nodes to ask for a key. `undefined` stands for this node. */
export interface PeerPicker {
  /** The key's owner. */
  pick(key: string): Peer | undefined;
  /** The owner, then the nodes to ask in its place. At least one, `count` at most. */
  ranked(key: string, count: number): readonly (Peer | undefined)[];
  /** As `ranked`, by the roster before the last change of owners. Empty when that was long ago. */
  rankedBefore(key: string, count: number): readonly (Peer | undefined)[];
  /**
   * Other nodes that may hold the key's value: its owner, then its former owners, the latest first. A lost node is among
   * them and fails when it is asked.
   */
  holders(key: string, count: number): readonly Peer[];
}

/** For a node on its own: it owns every key. */
export const NoPeers: PeerPicker = {
  pick: () => undefined,
  ranked: () => [undefined],
  rankedBefore: () => [],
  holders: () => [],
};
