/** What clients send beside header fields: keys in paths, flags, batches and bodies. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { BadKeyError } from "../../../lib/core/errors.ts";
import { Bodies } from "../../../lib/http/admin/body.ts";
import { flagsBehind, flagsOf } from "../../../lib/http/admin/flags.ts";
import { Refusal } from "../../../lib/http/admin/refusal.ts";
import { keysIn } from "../../../lib/http/cache/batch.ts";
import { checkKey, decodeGroupcacheKeyPath, decodeKeyPath, encodeKeyPath, rawPathOf } from "../../../lib/http/key.ts";
import { hasDotSegment, leadsOut } from "../../../lib/origins/http/dot-segments.ts";
import { chunksOf, type Dice } from "../dice.ts";
import { checkError, json, type Target, textOf, tried, utf8 } from "../target.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const BASE = "http://h/cache/dict/";

function runKey(input: Bytes): boolean {
  const tail = textOf(input);
  const read = tried(() => decodeKeyPath(tail), BadKeyError);
  if (read !== undefined) checkTravels(read[0], tail);
  const goKey = tried(() => decodeGroupcacheKeyPath(tail), BadKeyError);
  if (goKey !== undefined) checkTravels(goKey[0]);
  // Any string may come as a key from a program or in a batch, halves of characters too.
  const key = Buffer.from(input).toString("utf16le");
  if (tried(() => checkKey(key), BadKeyError) !== undefined) checkTravels(key);
  return read !== undefined;
}

/** What one node takes for a key, every node and every URL parser gives on as the same key. */
function checkTravels(key: string, tail?: string): void {
  checkKey(key);
  const bytes = Buffer.byteLength(key);
  assert.ok(bytes >= 1 && bytes <= 1_024 && key.isWellFormed());
  // deno-lint-ignore no-control-regex
  assert.ok(!/[\x00-\x1f\x7f-\x9f]/.test(key), JSON.stringify(key));
  const path = encodeKeyPath(key);
  assert.equal(decodeKeyPath(path), key);
  assert.equal(rawPathOf(BASE + path), `/cache/dict/${path}`);
  assert.equal(new URL(BASE + path).href, BASE + path);
  assert.equal(decodeGroupcacheKeyPath(encodeURIComponent(key).replaceAll("%20", "+")), key);
  // A tail that a URL parser cuts or changes would be another key at another server.
  if (tail === undefined || /[? ]/.test(tail)) return;
  const { pathname } = new URL(BASE + tail);
  assert.equal(decodeKeyPath(pathname.slice("/cache/dict/".length)), key);
}

function runPath(input: Bytes): boolean {
  // deno-lint-ignore no-control-regex
  const path = textOf(input).replaceAll(/[\x00-\x20?#\x7f]/g, "");
  const isOut = leadsOut(path);
  if (isOut) assert.ok(hasDotSegment(path), path);
  const { pathname } = new URL(`http://h/base/${path}`);
  if (!pathname.startsWith("/base/")) assert.ok(isOut, `${path} leads to ${pathname}`);
  return !isOut;
}

function runQuery(input: Bytes): boolean {
  const text = textOf(input);
  const { keys, waitMs } = flagsBehind(text);
  assert.ok(keys.length >= 1 && keys.length <= 3 && keys[0] === text);
  assert.ok(keys.every((key) => text.startsWith(key)));
  const flags = flagsOf(text, ["soft", "wait"]);
  if (flags === undefined) return false;
  assert.ok(flags.waitMs >= 0 && waitMs >= 0);
  return true;
}

function runBatch(input: Bytes): boolean {
  const read = tried(() => keysIn(input), Refusal);
  if (read === undefined) return false;
  const [keys] = read;
  assert.ok(keys.length <= 1_000 && keys.every((key) => typeof key === "string"));
  for (const key of keys) if (tried(() => checkKey(key), BadKeyError) !== undefined) encodeKeyPath(key);
  return true;
}

const bodies = new Bodies({ nowMs: () => 0, after: () => () => {} });
const MAX_BODY_BYTES = 2_000;

/** The first byte tells whether a length is told, and whether it breaks off. */
async function runBody(input: Bytes): Promise<boolean> {
  const [mode = 0] = input;
  const chunks = chunksOf(input.slice(0, 3 * MAX_BODY_BYTES));
  const whole = Buffer.concat(chunks);
  // A reader alone: a real stream would take most of the time.
  const read = () => {
    const value = chunks.shift();
    if (value === undefined && (mode & 7) === 1) return Promise.reject(new Error("gone"));
    return Promise.resolve({ done: value === undefined, value });
  };
  const body = { getReader: () => ({ read, cancel: () => Promise.resolve() }) };
  const headers = new Headers((mode & 24) === 8 ? { "content-length": String(whole.length >> 1) } : {});
  try {
    const bytes = await bodies.read({ body, headers } as unknown as Request, MAX_BODY_BYTES);
    assert.ok(bytes.length <= MAX_BODY_BYTES && whole.equals(bytes));
    return true;
  } catch (error) {
    checkError(error, [Refusal]);
    assert.ok(whole.length > MAX_BODY_BYTES || (mode & 7) === 1, `${whole.length} bytes are refused`);
    return false;
  }
}

const PARTS = [
  "a",
  "%41",
  "%2F",
  "%2e",
  "%2E%2e",
  ".",
  "..",
  "/",
  "\\",
  "%5c",
  "%252e",
  ";",
  "é",
  "%C3%A9",
  "%",
  "+",
  " ",
  "//",
];

function madePath(dice: Dice): Bytes {
  return utf8(Array.from({ length: 1 + dice.size(10) }, () => dice.pick(PARTS)).join(""));
}

export const httpTargets: readonly Target[] = [
  {
    name: "keys",
    seeds: ["apple", "a/b/c", "%C3%84pfel", "a%2F..%2Fb", "a+b%20c", "x".repeat(1_024), "%E2%82%AC".repeat(300)].map(
      utf8,
    ),
    tokens: [...PARTS, "%00", "%ff", "%ed%a0%80", "#", "?", "%zz", "😀", "%7f", "%c2%80", "\ufeff", "\u2028"],
    make: madePath,
    run: runKey,
  },
  {
    name: "paths",
    seeds: ["a/../b", "a/b/../../c", "..;x/a", "%2e%2e/a", "a%2f..%2f..", "a\\..\\..\\b", "./a/./b", "%252e%252e%252f"]
      .map(utf8),
    tokens: [...PARTS, "..;", "%3b", "%253b", "/../", "%25", "25"],
    make: madePath,
    run: runPath,
  },
  {
    name: "queries",
    seeds: ["?soft", "?wait=1&soft=true", "a?b&soft&wait", "?soft=0", "a?soft?wait"].map(utf8),
    tokens: ["?", "&", "soft", "wait", "=1", "=true", "="],
    run: runQuery,
  },
  {
    name: "batches",
    seeds: [
      json({ keys: ["apple", "a/b", "Äpfel 😀", ""] }),
      json({ keys: [] }),
      json({ keys: Array.from({ length: 100 }, (_, i) => `key-${i}`) }),
    ],
    tokens: ["keys", "\ufeff", "\\ud800", "null", "\\u0000"],
    isJson: true,
    run: runBatch,
  },
  {
    name: "bodies",
    seeds: [
      utf8("a body"),
      new Uint8Array(2_000),
      new Uint8Array(2_001).fill(65),
      utf8("\x01cut"),
      utf8("\x08with a length"),
    ],
    tokens: ["\x00", "\x01", "\x08"],
    run: runBody,
  },
];
