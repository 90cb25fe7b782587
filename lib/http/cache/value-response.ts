/** Makes the answer for a client from a value: its fields, its age, and the request's conditions and range. */
import { formatHttpDate } from "../../core/semantics/dates.ts";
import { isNotModified, isRangeOf } from "../../core/semantics/conditional.ts";
import { type Fields, valueOf } from "../../core/semantics/fields.ts";
import { rangeOf } from "../../core/semantics/range.ts";
import { PLAIN, type Value } from "../../core/value.ts";
import { untyped } from "../fast/untyped.ts";
import { SANDBOX } from "../security.ts";

/** Statuses that never have a body (RFC 9110, section 6.4.1). */
const WITHOUT_BODY: ReadonlySet<number> = new Set([204, 205, 304]);
/** Fields that describe a body. A 304 has no body, so it leaves them out (RFC 9110, section 15.4.5). */
const OF_A_BODY: ReadonlySet<string> = new Set([
  "content-type",
  "content-length",
  "content-encoding",
  "content-language",
  "content-range",
]);

/** Everything besides the value that its response depends on. */
export interface ResponseContext {
  readonly request: Request;
  readonly cacheStatus: string;
  readonly nowMs: number;
  /** Whether a cache gave the value. Its age is then sent even when it is 0. */
  readonly isFromCache: boolean;
  /** Whether the client gets only the value's own fields, as for a site. */
  readonly isSite: boolean;
  /** Whether it is served under the node's own host. A browser must then not run it. */
  readonly isSandboxed: boolean;
  /** Makes the body in the form that the server wants. */
  readonly bodyOf: (body: Value["body"], request: Request) => BodyInit;
}

/** Whether the answer needs more of the value than its body and type. */
export function isHttpValue({ about, freshUntilMs }: Value): boolean {
  return about !== PLAIN || freshUntilMs !== Infinity;
}

/** Whether the answer is the whole value, with its body. */
export function isWhole({ about: { status } }: Value, { method, headers }: Request): boolean {
  if (method !== "GET" || WITHOUT_BODY.has(status)) return false;
  // If-Range says nothing without Range.
  return status !== 200 ||
    !headers.has("if-none-match") && !headers.has("if-modified-since") && !headers.has("range");
}

/** Whether it is a remembered "not found". */
export function isNothing({ about: { status, fields, isPrivate } }: Value): boolean {
  return status === 404 && fields.length === 0 && !isPrivate;
}

/**
 * The answer: whole, 304 if the client has it already, or the one range that it asked for.
 *
 * @throws TypeError a field that no header can carry
 */
export function httpResponse(value: Value, context: ResponseContext): Response {
  const { request, nowMs } = context;
  const { about: { status, etag }, body } = value;
  const headers = headersOf(value, context);
  if (status === 200) {
    const asked = conditionsOf(request.headers);
    if (asked !== undefined) {
      const stored = validators(value, etag);
      if (isNotModified(asked, stored, nowMs)) return notModified(headers);
      if (request.method === "GET" && isRangeOf(asked, stored)) {
        const range = rangeOf(valueOf(asked, "range"), body.byteLength);
        if (range.kind === "unsatisfiable") return unsatisfiable(headers, body.byteLength);
        if (range.kind === "part") return partOf(value, headers, range, context);
      }
    }
  }
  if (WITHOUT_BODY.has(status)) return new Response(null, { status, headers });
  // The answer to a HEAD has no body, so the server cannot count the bytes.
  headers.push(["content-length", String(body.byteLength)]);
  return new Response(sentBody(value, body, context), { status, headers });
}

type Lines = [string, string][];

/** The headers of the whole answer, without `Content-Length`. */
export function headersOf(
  value: Value,
  { cacheStatus, nowMs, isFromCache, isSite, isSandboxed }: Omit<ResponseContext, "request" | "bodyOf">,
): Lines {
  const { about: { fields, etag }, contentType, bornAtMs } = value;
  const lines: Lines = [];
  let hasDate = false;
  for (const [name, text] of fields) {
    if (name === "date") hasDate = true;
    // The tag and the type are added below, once.
    if (name === "etag" || name === "content-type" || isSandboxed && name === "x-content-type-options") continue;
    lines.push([name, text]);
  }
  if (contentType !== "") lines.push(["content-type", contentType]);
  if (etag !== undefined) lines.push(["etag", etag]);
  const ageSeconds = Math.max(0, Math.floor((nowMs - bornAtMs) / 1_000));
  if (isFromCache || ageSeconds > 0) lines.push(["age", String(ageSeconds)]);
  if (isSite && !hasDate) lines.push(["date", formatHttpDate(nowMs)]);
  // Foreign content: a browser must not treat declared text as a page, or run a page as one of this node's.
  if (isSandboxed) lines.push(["x-content-type-options", "nosniff"], ["content-security-policy", SANDBOX]);
  lines.push(["cache-status", cacheStatus]);
  return lines;
}

/** The request's conditions and range; `undefined`: it has none. */
function conditionsOf(headers: Headers): Fields | undefined {
  let found: [string, string][] | undefined;
  for (const name of CONDITIONS) {
    const text = headers.get(name);
    if (text !== null) (found ??= []).push([name, text]);
  }
  return found;
}

const CONDITIONS = ["if-none-match", "if-modified-since", "if-range", "range"] as const;

function validators({ about: { fields } }: Value, etag: string | undefined): Fields {
  return etag === undefined
    ? fields
    : [["etag", etag], ...fields.filter(([name]) => name === "last-modified" || name === "date")];
}

function notModified(headers: Lines): Response {
  return new Response(null, { status: 304, headers: headers.filter(([name]) => !OF_A_BODY.has(name)) });
}

function sentBody({ contentType }: Value, part: Value["body"], { bodyOf, request }: ResponseContext): BodyInit {
  const body = bodyOf(part, request);
  return contentType === "" && body instanceof Uint8Array ? untyped(body as Value["body"]) : body;
}

function partOf(
  value: Value,
  headers: Lines,
  { start, end }: { start: number; end: number },
  context: ResponseContext,
): Response {
  const { body } = value;
  headers.push(["content-range", `bytes ${start}-${end - 1}/${body.byteLength}`]);
  headers.push(["content-length", String(end - start)]);
  return new Response(sentBody(value, body.subarray(start, end), context), { status: 206, headers });
}

function unsatisfiable(headers: Lines, total: number): Response {
  const rest = headers.filter(([name]) => !OF_A_BODY.has(name));
  rest.push(["content-range", `bytes */${total}`]);
  return new Response(null, { status: 416, headers: rest });
}
