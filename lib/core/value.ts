/** What caches hold and nodes send each other. */

/** What an origin answers. */
export interface Fresh {
  readonly body: Uint8Array<ArrayBuffer>;
  /** Media type with parameters, e.g. `text/plain; charset=utf-8`. */
  readonly contentType: string;
}

/** A value with its age: what caches hold and peers answer. Immutable; times are on this node's clock. */
export interface Value extends Fresh {
  /** When the origin gave it, in Unix milliseconds of this node's clock. */
  readonly bornAtMs: number;
  /** When it may no longer be served; `Infinity` when the group has no lifetime. */
  readonly expiresAtMs: number;
}

/** What another node has sent, as a group of this lifetime keeps it: the other one may be configured for a longer one. */
export function within(ttlMs: number | null, value: Value): Value {
  if (ttlMs === null || value.expiresAtMs <= value.bornAtMs + ttlMs) return value;
  return { ...value, expiresAtMs: value.bornAtMs + ttlMs };
}
