/** A record in the registry, under `<group>.<name>`: JSON in UTF-8. Anybody may write there, so it is checked on reading. */
import { Buffer } from "node:buffer";
import * as v from "valibot";
import { UNSIGNED, UNSIGNED_FAULT } from "../core/base/unsigned.ts";
import type { PeerRecord } from "../core/roster.ts";

/** Chosen: a node's own record takes about 500 bytes (measured). */
export const maxRecordBytes = 4_096;
/** The limit of --weight: above it one peer would own nearly all keys. */
export const maxWeight = 100;

const text = (maxLength: number) =>
  v.pipe(v.string(), v.maxLength(maxLength), v.regex(/^[\x20-\x7e]*$/, "not plain text"));

const schema = v.object({
  name: v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{1,128}$/, "not 1 to 128 of A-Z a-z 0-9 _ -")),
  url: v.pipe(
    v.string(),
    v.maxLength(512),
    v.check(isPlainHttpUrl, "not an http(s) URL of scheme, host and port alone"),
  ),
  incarnation: v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{1,64}$/, "not 1 to 64 of A-Z a-z 0-9 _ -")),
  key: v.pipe(v.string(), v.check(isKey, "not 32 bytes in base64url")),
  state: v.picklist(["serving", "draining"]),
  weight: v.pipe(v.number(), v.finite(), v.gtValue(0), v.maxValue(maxWeight)),
  zone: v.pipe(v.string(), v.regex(/^[A-Za-z0-9._-]{0,64}$/, "not up to 64 of A-Z a-z 0-9 . _ -")),
  joined: v.pipe(v.string(), v.maxLength(40), v.isoTimestamp()),
  version: text(64),
  runtime: text(64),
  policy: v.optional(text(1_024)),
  origin: v.optional(text(64)),
});

/**
 * Reads the record under `key`. It drops unknown fields, so that newer nodes may add some.
 *
 * @throws TypeError with the first broken rule; safe to log.
 */
export function parseRecord(group: string, key: string, bytes: Uint8Array): PeerRecord {
  if (bytes === UNSIGNED) throw new TypeError(UNSIGNED_FAULT);
  if (bytes.byteLength > maxRecordBytes) throw new TypeError(`longer than ${maxRecordBytes} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new TypeError("not JSON in UTF-8");
  }
  const result = v.safeParse(schema, json, { abortEarly: true, abortPipeEarly: true });
  if (!result.success) throw new TypeError(reasonOf(result.issues[0]));
  if (`${group}.${result.output.name}` !== key) throw new TypeError("its name is not the one in its key");
  // Normalize the URL to one spelling, without the slash that URL adds, as peers compare it and connect to it.
  return Object.freeze({ ...result.output, url: new URL(result.output.url).origin });
}

/**
 * The bytes to write for a record.
 *
 * @throws TypeError if `parseRecord` would refuse it: this node is configured wrongly.
 */
export function encodeRecord(group: string, record: PeerRecord): Uint8Array {
  const { name, url, incarnation, key, state, weight, zone, joined, version, runtime, policy, origin } = record;
  const bytes = new TextEncoder().encode(
    JSON.stringify({ name, url, incarnation, key, state, weight, zone, joined, version, runtime, policy, origin }),
  );
  try {
    parseRecord(group, `${group}.${name}`, bytes);
  } catch (error) {
    throw new TypeError(`Cannot list this node in ${group}: ${(error as Error).message}`);
  }
  return bytes;
}

/** Like `parseRecord`, but `undefined` for bytes that are no valid record. */
export function recordIn(group: string, key: string, bytes: Uint8Array): PeerRecord | undefined {
  try {
    return parseRecord(group, key, bytes);
  } catch {
    return undefined;
  }
}

/** Whether the two are equal, byte for byte. `undefined` equals no bytes. */
export function isSameBytes(left: Uint8Array | undefined, right: Uint8Array): boolean {
  if (left === undefined || left.byteLength !== right.byteLength) return false;
  return left.every((byte, index) => byte === right[index]);
}

function reasonOf(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue);
  // Name the rule, never the value: anybody may have written it, and it may be long or contain control characters.
  const rule = issue.message.startsWith("not ") ? issue.message : `expected ${issue.expected ?? issue.type}`;
  return path === null ? rule : `${path}: ${rule}`;
}

/** Accepts only one spelling, as two spellings of a key would look like two lives. */
function isKey(input: string): boolean {
  return /^[\w-]{43}$/.test(input) && Buffer.from(input, "base64url").toString("base64url") === input;
}

/** Accepts only scheme, host and port: credentials would leak into logs, and a path would be ignored. */
function isPlainHttpUrl(input: string): boolean {
  // URL tolerates spaces, tabs, backslashes and a bare `?`, but no node writes such a record.
  if (!/^https?:\/\/[A-Za-z0-9.:\-[\]_]+\/?$/.test(input)) return false;
  try {
    const url = new URL(input);
    return url.hostname !== "" && url.port !== "0";
  } catch {
    return false;
  }
}
