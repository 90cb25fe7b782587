/** Values, as origins answer them, caches hold them, and nodes send them to each other. */

/** An origin's answer. */
export interface Fresh {
  readonly body: Uint8Array<ArrayBuffer>;
  /** Media type with parameters, e.g. `text/plain; charset=utf-8`. */
  readonly contentType: string;
}

/** A value with its times, on this node's clock. Immutable. */
export interface Value extends Fresh {
  /** When the origin answered, in Unix milliseconds. */
  readonly bornAtMs: number;
  /** From when it must not be served, in Unix milliseconds; `Infinity` when the group has no lifetime. */
  readonly expiresAtMs: number;
}

/** A peer's value with its lifetime cut to this group's, since the peer may be configured with a longer one. */
export function within(ttlMs: number | null, value: Value): Value {
  if (ttlMs === null || value.expiresAtMs <= value.bornAtMs + ttlMs) return value;
  return { ...value, expiresAtMs: value.bornAtMs + ttlMs };
}
