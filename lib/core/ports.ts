/** The ports of a group: its origin, the other nodes, and the picker that chooses among them. */
import type { CancelSignal } from "./base/cancel.ts";
import type { Reply } from "./base/reply.ts";
import type { Trace } from "./base/trace.ts";
import { BLIND, type Label } from "./invalidation/label.ts";
import type { Fields } from "./semantics/fields.ts";
import type { Answer, Value } from "./value.ts";

/** The header fields of a request. Only sites use them; other origins get no `RequestHead`. */
export interface RequestHead {
  /** Without hop-by-hop fields; names in lower case. */
  readonly fields: Fields;
}

/** One load's share of the bytes that all loads together may hold. */
export interface LoadingBody {
  /**
   * The load holds `bytes` from now on, if that is more than before.
   *
   * @returns a promise that the load must await before it reads on, if it has to wait
   * @throws OverloadedError (or rejects) there is no room; the signal's reason
   */
  hold(bytes: number, signal: CancelSignal): Promise<void> | undefined;
}

/** What a load may use in addition to the key. */
export interface LoadContext {
  /** The expired value. An origin that can validate checks it, and returns it again if it is still good. */
  readonly stale?: Value | undefined;
  readonly request?: RequestHead | undefined;
  /** Origins with long bodies report the bytes here before they read them. @default no bound */
  readonly loading?: LoadingBody | undefined;
  /** The trace of the request that started the load. */
  readonly trace?: Trace | undefined;
}

/** Where a value comes from on a miss (groupcache's Getter). */
export interface Origin {
  /**
   * @param signal aborted when no caller waits any more, or after the load's deadline
   * @throws NotFoundError there is no such value
   * @throws OriginTimeoutError the origin was too slow
   * @throws OverloadedError the origin is overloaded
   * @throws PassThroughError the answer must not be kept: the caller asks again and streams it
   * @throws OriginError any other failure
   */
  load(key: string, signal: AbortSignal, context?: LoadContext): Promise<Answer>;
  /** Releases connections and files. Never throws. */
  close?(): Promise<void>;
}

/** A request that is forwarded to a site unchanged. */
export interface ForwardedRequest {
  readonly method: string;
  /** The rest of the path with its query, byte for byte as received. */
  readonly key: string;
  /** Without hop-by-hop fields. */
  readonly fields: Fields;
  readonly body: ReadableStream<Uint8Array> | null;
  readonly trace?: Trace | undefined;
}

/** The site's answer to a forwarded request. The body is still arriving. */
export interface ForwardedAnswer {
  readonly status: number;
  /** Without hop-by-hop fields; with `Content-Type` and `Content-Length`. */
  readonly fields: Fields;
  readonly body: ReadableStream<Uint8Array>;
  /** Whether a cache could have kept it. */
  readonly isStorable: boolean;
  /** A cache may keep this with the body, and answer later GETs with it. `undefined`: nothing, as always for a GET. */
  readonly kept?: Omit<Answer, "body"> | undefined;
}

/** Another node, as this node sees it when it asks. */
export interface Peer {
  readonly name: string;
  /**
   * When the peer greeted this node without any value of the group, in memory or in flight, while its roster listed
   * this node. `undefined`: it held a value, or is not connected. Values that it got later do not change this.
   */
  emptyAtMs?(group: string): number | undefined;
  /** Asks the peer for a value. The peer answers as owner and never forwards. Never throws. */
  ask(group: string, key: string, ask: Ask): void;
  /**
   * The value that the peer has in memory or is loading now. The peer starts no load. `undefined`: it has none.
   *
   * @throws PeerError the peer could not be reached or was lost
   */
  peek(group: string, key: string, options: AskOptions): Promise<Value | undefined>;
  /**
   * Pushes entries in one message. The peer takes those that it must keep and has room for.
   *
   * @param isWritten a client wrote them: they may evict whatever a loaded value may evict
   * @returns the number of entries that the peer took
   * @throws PeerError as `peek`
   */
  push(group: string, entries: readonly Entry[], options: PushOptions): Promise<number>;
  /**
   * Makes the peer apply all invalidations up to the label. It reads missing ones from the log.
   *
   * @returns the peer's label when it got there or when `timeoutMs` was over, so it may be before `label`
   * @throws PeerError as `peek`
   */
  catchUp(label: Label, options: AskOptions): Promise<Label>;
}

/** The limits of every question to a peer. */
export interface AskOptions {
  readonly signal: CancelSignal;
  readonly timeoutMs: number;
  /**
   * Called with each part of a value that arrives in several parts. The peer has until `untilMs` to send the next part,
   * even beyond the ask's own deadline.
   */
  arriving?(untilMs: number): void;
}

export interface PushOptions extends AskOptions {
  readonly isWritten?: boolean;
}

/**
 * A question for a value, and the receiver of its answer. The answer may come before `Peer.ask` returns. It is rejected
 * with NotFoundError, OriginError, OriginTimeoutError or OverloadedError (final answers of the owner), with PeerError
 * (the peer was lost or could not be reached: fall back), or with the signal's reason.
 */
export interface Ask extends AskOptions, Reply<Value> {
  /** The header fields of the client's request; only for sites. */
  readonly request?: RequestHead | undefined;
  /** The trace of the request that this ask is for. */
  readonly trace?: Trace | undefined;
  /** What the asking node has applied. A peer that is behind catches up before it answers, or rejects with BehindError. */
  readonly after: Label;
}

/** Asks and returns a promise. Not for hot paths. @throws the error that the ask is rejected with */
export function asked(
  { signal, timeoutMs, request, after = BLIND }: AskOptions & Pick<Ask, "request"> & Partial<Pick<Ask, "after">>,
  ask: (ask: Ask) => void,
): Promise<Value> {
  return new Promise((answered, failed) =>
    ask({ signal, timeoutMs, request, after, resolve: answered, reject: failed })
  );
}

/** A key and its value, as one node sends them to another. */
export interface Entry {
  readonly key: string;
  readonly value: Value;
}

/** Chooses the nodes to ask for a key. `undefined` stands for this node. */
export interface PeerPicker {
  /** The key's owner. */
  pick(key: string): Peer | undefined;
  /** The owner, then the nodes to ask in its place: at least one, at most `count`. */
  ranked(key: string, count: number): readonly (Peer | undefined)[];
  /** Like `ranked`, but by the roster before the last change of owners. Empty when that change was long ago. */
  rankedBefore(key: string, count: number): readonly (Peer | undefined)[];
  /**
   * Other nodes that may hold the key's value: its owner, then its former owners, the latest first. A lost node is
   * included; asking it fails.
   */
  holders(key: string, count: number): readonly Peer[];
}

/** For a node that runs alone: it owns every key. */
export const NoPeers: PeerPicker = {
  pick: () => undefined,
  ranked: () => [undefined],
  rankedBefore: () => [],
  holders: () => [],
};
