/** The values that origins answer, caches hold and nodes send each other. */
import { boundedTimes, type OwnTimes } from "./lifetime/bounds.ts";
import type { LifetimePolicy } from "./lifetime/policy.ts";
import type { Label } from "./invalidation/label.ts";
import { NO_TAGS, type Tags } from "./invalidation/tags.ts";
import type { Times } from "./lifetime/times.ts";
import type { Fields } from "./semantics/fields.ts";
import type { Freshness } from "./semantics/freshness.ts";

/** Limits an answer to some requests: those with the same content in the fields that `Vary` names. */
export interface Selection {
  /** In lower case, sorted. */
  readonly names: readonly string[];
  /** The request's content of these fields, as `selectionOf` writes it. */
  readonly says: string;
}

export { NO_TAGS, type Tags };

/** An origin's answer to a load. */
export interface Answer {
  readonly body: Uint8Array<ArrayBuffer>;
  /** Media type with parameters, e.g. `text/plain; charset=utf-8`. */
  readonly contentType: string;
  /** @default 200. 404: there is no such value */
  readonly status?: number;
  /** The origin's other header fields, without hop-by-hop fields, `Content-Type` and transfer fields. @default none */
  readonly fields?: Fields;
  /** How long the answer may be served, as the origin itself says. @default by the group's policy */
  readonly freshness?: Freshness;
  /** @default for every request */
  readonly selection?: Selection;
  /** @default none */
  readonly tags?: Tags;
}

/** What a client gets with a value in addition to its body. All plain values share one object, to save memory. */
export interface About extends OwnTimes {
  /** 200, or the status of a site's answer. 404: there is no such value. */
  readonly status: number;
  readonly fields: Fields;
  /** The entity tag for clients: the origin's own, or a strong one made from the body. `undefined`: none. */
  readonly etag: string | undefined;
  /** `undefined`: for every request. */
  readonly selection: Selection | undefined;
  /** Whether only the request that loaded it may get it. No cache keeps such a value. */
  readonly isPrivate: boolean;
  readonly tags: Tags;
}

/** A value of a dictionary or of a program: a body and nothing more. */
export const PLAIN: About = Object.freeze({
  status: 200,
  fields: Object.freeze([]),
  etag: undefined,
  selection: undefined,
  hasOwnLifetime: false,
  hasOwnStale: false,
  isPrivate: false,
  tags: NO_TAGS,
});

/** "There is no such value", remembered. */
export const NOTHING_HERE: About = Object.freeze({ ...PLAIN, status: 404 });

/** An answer with its times. Caches hold values, and peers answer with them. Immutable except for the label. */
export interface Value extends Times {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly contentType: string;
  /** How long the origin took to answer, in milliseconds. A longer load makes an early refresh likelier. */
  readonly loadMs: number;
  readonly about: About;
  /**
   * No invalidation up to this label made the value bad. It is the label of the loading node when the load began, or of
   * a node that checked the value later.
   */
  label: Label;
}

/**
 * Bounds a value by this policy. It was loaded under another one: that of another node, or the group's former policy. A
 * more generous policy prolongs nothing: see lifetime/bounds.ts.
 */
export function within(policy: LifetimePolicy, value: Value): Value {
  if (isMarker(value)) return value;
  const lifetimeMs = isNothingHere(value) ? policy.negativeTtlMs : policy.ttlMs;
  const times = boundedTimes(value, value.about, policy, lifetimeMs);
  return times === value ? value : { ...value, ...times };
}

/** Whether the value says only "there is no such value". */
export function isNothingHere({ about: { status, fields } }: Value): boolean {
  return status === 404 && fields.length === 0;
}

/** Whether the origin can validate the value. */
export function canBeValidated({ about: { fields } }: Value): boolean {
  return fields.some(([name]) => name === "etag" || name === "last-modified");
}

/** Whether the value is a marker. It says only that a key has variants, and which request fields select one. */
export function isMarker({ about: { status } }: Value): boolean {
  return status === 0;
}

/** The marker for the variants of a key. It stays until it is evicted. */
export function markerOf({ bornAtMs, label, about: { selection } }: Value): Value {
  const markedBy = selection && { names: selection.names, says: "" };
  const about: About = { ...PLAIN, status: 0, selection: markedBy, hasOwnLifetime: true };
  const times = { bornAtMs, freshUntilMs: Infinity, staleWhileRevalidateMs: 0, staleIfErrorMs: 0 };
  return { body: EMPTY, contentType: "", loadMs: 0, about, ...times, label };
}

const EMPTY = new Uint8Array(0);
