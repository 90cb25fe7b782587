/**
 * The fields that identify a request in other programs: `X-Request-Id`, and those of W3C Trace Context
 * (https://www.w3.org/TR/trace-context/). A malformed field is ignored.
 */
import { Trace } from "../base/trace.ts";
import { type Fields, without } from "./fields.ts";

/** The fields of a {@linkcode Trace}. */
export const TRACE_FIELDS: ReadonlySet<string> = new Set(["x-request-id", "traceparent", "tracestate"]);

/**
 * The ids that proxies and libraries make: ULIDs, UUIDs, hexadecimal and base64. No characters with a meaning in logs
 * or shells.
 */
const REQUEST_ID = /^[A-Za-z0-9._~+/=:@-]{1,128}$/;
/** Version, trace, span and flags. Later versions may add parts after them. */
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:$|-)/;
const ZEROS = /^0+$/;
/** The length that every program must pass on (section 3.3.1.5). */
const MAX_TRACESTATE_CHARS = 512;
const MAX_MEMBERS = 32;
const MEMBER = /^[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

/** A span, as `traceparent` names it. */
export interface SpanName {
  readonly traceId: string;
  readonly spanId: string;
  readonly flags: number;
}

/** @returns `undefined` for an id that nodes do not pass on */
export function requestIdIn(text: string | null | undefined): string | undefined {
  return text != null && REQUEST_ID.test(text) ? text : undefined;
}

/** @returns `undefined` for a text that names no span */
export function spanNameIn(traceparent: string): SpanName | undefined {
  const [, version, traceId = "0", spanId = "0", flags = ""] = TRACEPARENT.exec(traceparent) ?? [];
  const isLong = traceparent.length > 55;
  if (version === undefined || version === "ff" || version === "00" && isLong) return undefined;
  if (ZEROS.test(traceId) || ZEROS.test(spanId)) return undefined;
  // Version 00 knows two flags: sampled and random id. Other flags must not be passed on.
  return { traceId, spanId, flags: parseInt(flags, 16) & 3 };
}

/** In the format of version 00, the only one so far. */
export function traceparentOf({ traceId, spanId, flags }: SpanName): string {
  return `00-${traceId}-${spanId}-0${flags}`;
}

/** @returns the members without empty ones; `undefined` for a malformed list or one without members */
export function tracestateIn(text: string | null | undefined): string | undefined {
  if (text == null || text.length > MAX_TRACESTATE_CHARS) return undefined;
  const members = text.split(",").map((member) => member.trim()).filter((member) => member !== "");
  if (members.length === 0 || members.length > MAX_MEMBERS || !members.every((one) => MEMBER.test(one))) {
    return undefined;
  }
  return members.join(",");
}

/** @returns `undefined`: none of the three is valid */
export function traceIn(
  requestId: string | null | undefined,
  traceparent: string | null | undefined,
  tracestate: string | null | undefined,
): Trace | undefined {
  const id = requestIdIn(requestId);
  const span = traceparent == null ? undefined : spanNameIn(traceparent);
  if (id === undefined && span === undefined) return undefined;
  return new Trace(id, span && traceparentOf(span), span && tracestateIn(tracestate));
}

/** The fields for the next hop. */
export function traceFields({ requestId, traceparent, tracestate }: Trace): Fields {
  const fields: [string, string][] = [];
  if (requestId !== undefined) fields.push(["x-request-id", requestId]);
  if (traceparent !== undefined) fields.push(["traceparent", traceparent]);
  if (tracestate !== undefined) fields.push(["tracestate", tracestate]);
  return fields;
}

const NONE: Readonly<Record<string, string>> = Object.freeze({});

/** The same fields by name, for programs. */
export function traceRecord(trace: Trace | undefined): Readonly<Record<string, string>> {
  return trace === undefined ? NONE : Object.fromEntries(traceFields(trace));
}

/** Replaces a client's trace fields by the request's trace. */
export function tracedBy(trace: Trace | undefined, fields: Fields): Fields {
  return trace === undefined ? fields : [...without(fields, TRACE_FIELDS), ...traceFields(trace)];
}
