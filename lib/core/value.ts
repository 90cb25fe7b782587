/** What origins answer, caches hold and nodes send each other. */
import { boundedTimes, type OwnTimes } from "./lifetime/bounds.ts";
import type { LifetimePolicy } from "./lifetime/policy.ts";
import type { Label } from "./invalidation/label.ts";
import { NO_TAGS, type Tags } from "./invalidation/tags.ts";
import type { Times } from "./lifetime/times.ts";
import type { Fields } from "./semantics/fields.ts";
import type { Freshness } from "./semantics/freshness.ts";

/** Which requests an answer is for, where it is not for all: those that say the same in the fields that `Vary` names. */
export interface Selection {
  /** In lower case, sorted. */
  readonly names: readonly string[];
  /** What the request said in them, as `selectionOf` writes it. */
  readonly says: string;
}

export { NO_TAGS, type Tags };

/** What an origin answers. */
export interface Answer {
  readonly body: Uint8Array<ArrayBuffer>;
  /** Media type with parameters, e.g. `text/plain; charset=utf-8`. */
  readonly contentType: string;
  /** @default 200. 404: there is no such value */
  readonly status?: number;
  /** What else the origin said, end to end: without `Content-Type` and what describes the transfer. @default none */
  readonly fields?: Fields;
  /** The origin's own word on how long it may be served. @default the group's policy */
  readonly freshness?: Freshness;
  /** @default for every request */
  readonly selection?: Selection;
  /** @default none */
  readonly tags?: Tags;
}

/** What a client is told of a value beside its body. All values with nothing special share one object. */
export interface About extends OwnTimes {
  /** 200, or what a site answered; 404: there is no such value. */
  readonly status: number;
  readonly fields: Fields;
  /** What a client may name it by: the origin's own tag, or a strong one from the body; `undefined`: none. */
  readonly etag: string | undefined;
  /** `undefined`: for every request. */
  readonly selection: Selection | undefined;
  /** Whether it is for the one request only that it was loaded for: no cache keeps it, and no other request gets it. */
  readonly isPrivate: boolean;
  readonly tags: Tags;
}

/** A value of a dictionary, or of code: a body, and nothing more to say. */
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

/** An answer with its times: what caches hold and peers answer. Immutable, but for its label. */
export interface Value extends Times {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly contentType: string;
  /** How long the origin took for it, in milliseconds: a value is refreshed the earlier the longer that is. */
  readonly loadMs: number;
  readonly about: About;
  /**
   * No invalidation up to here has made it bad: where the node that loaded it was when that load began, or where a node was
   * that has checked it since.
   */
  label: Label;
}

/**
 * A value that was loaded by another policy, that of another node or the group's former one, bounded by this one. A longer one
 * prolongs nothing: see lifetime/bounds.ts.
 */
export function within(policy: LifetimePolicy, value: Value): Value {
  if (isMarker(value)) return value;
  const lifetimeMs = isNothingHere(value) ? policy.negativeTtlMs : policy.ttlMs;
  const times = boundedTimes(value, value.about, policy, lifetimeMs);
  return times === value ? value : { ...value, ...times };
}

/** Whether it says no more than "there is no such value". */
export function isNothingHere({ about: { status, fields } }: Value): boolean {
  return status === 404 && fields.length === 0;
}

/** Whether the origin can be asked if it is still good. */
export function canBeValidated({ about: { fields } }: Value): boolean {
  return fields.some(([name]) => name === "etag" || name === "last-modified");
}

/** Says only that there are variants of a key, and by which fields they are told apart. */
export function isMarker({ about: { status } }: Value): boolean {
  return status === 0;
}

/** The marker beside the variants of a key. It lives as long as there is room. */
export function markerOf({ bornAtMs, label, about: { selection } }: Value): Value {
  const markedBy = selection && { names: selection.names, says: "" };
  const about: About = { ...PLAIN, status: 0, selection: markedBy, hasOwnLifetime: true };
  const times = { bornAtMs, freshUntilMs: Infinity, staleWhileRevalidateMs: 0, staleIfErrorMs: 0 };
  return { body: EMPTY, contentType: "", loadMs: 0, about, ...times, label };
}

const EMPTY = new Uint8Array(0);
