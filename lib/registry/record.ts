/** A record in the registry, under `<group>.<name>`: JSON in UTF-8. Anybody may write there, so it is checked when read. */
import { Buffer } from "node:buffer";
import * as v from "valibot";
import { UNSIGNED, UNSIGNED_FAULT } from "../core/base/unsigned.ts";
import type { PeerRecord } from "../core/roster.ts";

/** Chosen: a node's own record takes about 500 bytes (measured). */
export const maxRecordBytes = 4_096;
/** The rule of --weight: above it one peer would own nearly all keys. */
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
 * Reads the record under `key`. Unknown fields are dropped, so that newer nodes may add some.
 *
 * @throws TypeError with the first rule that it breaks; safe to log.
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
  // Peers compare and connect to it: one spelling, without the slash that URL adds.
  return Object.freeze({ ...result.output, url: new URL(result.output.url).origin });
}

/**
 * The bytes to write for a record.
 *
 * @throws TypeError when `parseRecord` would refuse it: this node was set up wrongly.
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

/** As `parseRecord`; `undefined` for bytes that no node would read as a peer. */
export function recordIn(group: string, key: string, bytes: Uint8Array): PeerRecord | undefined {
  try {
    return parseRecord(group, key, bytes);
  } catch {
    return undefined;
  }
}

/** Whether the two are the same, byte for byte; `undefined` is the same as nothing. */
export function isSameBytes(left: Uint8Array | undefined, right: Uint8Array): boolean {
  if (left === undefined || left.byteLength !== right.byteLength) return false;
  return left.every((byte, index) => byte === right[index]);
}

function reasonOf(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue);
  // Never the value: anybody wrote it, and it may be long or hold control characters. The messages here name the rule.
  const rule = issue.message.startsWith("not ") ? issue.message : `expected ${issue.expected ?? issue.type}`;
  return path === null ? rule : `${path}: ${rule}`;
}

/** One spelling only: two that are the same key would look like two lives. */
function isKey(input: string): boolean {
  return /^[\w-]{43}$/.test(input) && Buffer.from(input, "base64url").toString("base64url") === input;
}

/** Scheme, host and port only: credentials would leak into logs, and a path would be lost on the way. */
function isPlainHttpUrl(input: string): boolean {
  // URL forgives spaces, tabs, backslashes and a bare `?`: no node writes a record that needs forgiving.
  if (!/^https?:\/\/[A-Za-z0-9.:\-[\]_]+\/?$/.test(input)) return false;
  try {
    const url = new URL(input);
    return url.hostname !== "" && url.port !== "0";
  } catch {
    return false;
  }
}
