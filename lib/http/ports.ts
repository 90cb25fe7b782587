/** What the HTTP edge needs from the rest of the node; the composition root hands it in. */
import type { Value } from "../core/value.ts";
import type { Source } from "./cache-status.ts";

export interface Loaded {
  readonly value: Value;
  /** Where the value was found. */
  readonly source: Source;
  /** Whether this node keeps it. */
  readonly stored: boolean;
}

/** A named cache, as far as HTTP asks it. */
export interface CacheGroup {
  readonly name: string;
  /** Main cache, then hot cache, without waiting; `undefined` on a miss. Counts the get. */
  lookup(key: string): { value: Value; from: "main" | "hot" } | undefined;
  /**
   * The rest of a get after a failed {@linkcode lookup}, which is not counted again.
   *
   * @param options.signal aborted when the client has gone
   * @throws NotFoundError, OriginError, OriginTimeoutError, OverloadedError
   */
  load(key: string, options: { signal: AbortSignal }): Promise<Loaded>;
  /** For a groupcache peer: from a cache or by one load from the origin, never from another peer. Throws as `load`. */
  getAsOwner(key: string, options: { signal: AbortSignal }): Promise<Loaded>;
  /** Counters, as they are to be printed in JSON. */
  stats(): object;
}

/** The node, as its probes and its statistics show it. */
export interface NodeFace {
  readonly name: string;
  readonly incarnation: string;
  readonly version: string;
  readonly runtime: string;
  /** Joined and serving, not starting or draining. */
  isReady(): boolean;
  /** Whatever is the node's rather than one group's, as it is to be printed in JSON. */
  stats(): object;
}
