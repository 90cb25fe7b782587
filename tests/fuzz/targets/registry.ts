/** What stands in NATS, where anybody may write: records, invalidations, definitions of groups, and the stream's own word. */
import assert from "node:assert/strict";
import { readDefinition } from "../../../lib/config/definition.ts";
import { UNSIGNED } from "../../../lib/core/base/unsigned.ts";
import { ConfigError, UnavailableError } from "../../../lib/core/errors.ts";
import { encodeInvalidation, parseInvalidation } from "../../../lib/core/invalidation/message.ts";
import { epochOf } from "../../../lib/nats/log/log-stream.ts";
import { Seal } from "../../../lib/nats/seal.ts";
import { parseOrigin } from "../../../lib/origins/origin.ts";
import { encodeRecord, maxRecordBytes, parseRecord } from "../../../lib/registry/record.ts";
import type { Dice } from "../dice.ts";
import { json, type Target, textOf, tried, utf8 } from "../target.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const record = {
  name: "127-0-0-1-8000",
  url: "http://127.0.0.1:8000",
  incarnation: "01J0000000000000000000000",
  key: "A".repeat(43),
  state: "serving",
  weight: 1,
  zone: "",
  joined: "2026-01-01T00:00:00.000Z",
  version: "0.1.0",
  runtime: "bun 1.4.5",
};

/** What a node takes for a peer it would write just so: url and all. */
function runRecord(input: Bytes): boolean {
  // Under its own name, or a record would seldom get past the rule that its key names it.
  const name = /"name"\s*:\s*"([\w-]+)"/.exec(textOf(input))?.[1] ?? "x";
  const read = tried(() => parseRecord("dict", `dict.${name}`, input), TypeError);
  if (read === undefined) return false;
  const [peer] = read;
  const { protocol, hostname, port, origin } = new URL(peer.url);
  assert.ok(/^https?:$/.test(protocol) && hostname !== "" && port !== "0" && origin === peer.url, peer.url);
  const written = encodeRecord("dict", peer);
  assert.ok(written.length <= maxRecordBytes);
  assert.deepEqual(parseRecord("dict", `dict.${peer.name}`, written), peer);
  return true;
}

function runInvalidation(input: Bytes): boolean {
  const read = tried(() => parseInvalidation(input), TypeError);
  if (read === undefined) return false;
  assert.deepEqual(parseInvalidation(encodeInvalidation(read[0])), read[0]);
  return true;
}

const checkOrigin = (origin: string): void => void parseOrigin(origin);

function runDefinition(input: Bytes): boolean {
  const read = tried(() => readDefinition("site", input, checkOrigin), ConfigError);
  if (read === undefined) return false;
  const [{ name, headers, ...policy }] = read;
  assert.equal(name, "site");
  checkOrigin(policy.origin);
  const written = json({ ...policy, headers: Object.fromEntries(headers) });
  assert.deepEqual(readDefinition("site", written, checkOrigin), read[0]);
  return true;
}

const seal = new Seal(["a secret of the cluster", "the one before it"]);
const SUBJECT = "$KV.peers.dict.a";

/** What carries a right signature is what would be written; everything else counts for nothing. */
function runSeal(input: Bytes): boolean {
  const opened = seal.open(SUBJECT, input);
  const unchecked = new Seal().open(SUBJECT, input);
  if (opened === UNSIGNED) return false;
  assert.deepEqual(unchecked, opened);
  assert.equal(textOf(seal.sign(SUBJECT, opened)), textOf(input).trimEnd());
  assert.equal(seal.open(`${SUBJECT}b`, input), UNSIGNED);
  return true;
}

/** Signed, and then mostly left as it is: of a changed one hardly any verifies. */
function sealed(dice: Dice): Bytes {
  const text = dice.pick([json(record), utf8('{"a":"é"}'), utf8('{"a": 1 }\n'), utf8('{"mac":"a","mac":"b"}')]);
  const white = dice.pick(["", "", "\n", " \r\n"]);
  return utf8(textOf(seal.sign(dice.isIn(0.9) ? SUBJECT : "$KV.peers.dict.b", text)) + white);
}

function runEpoch(input: Bytes): boolean {
  const read = tried(() => epochOf(textOf(input)), UnavailableError);
  if (read === undefined) return false;
  assert.ok(Number.isSafeInteger(read[0]) && read[0] > 0);
  return true;
}

export const registryTargets: readonly Target[] = [
  {
    name: "records",
    seeds: [
      json(record),
      json({
        ...record,
        state: "draining",
        weight: 0.25,
        zone: "eu-1",
        policy: "ttl 60000",
        origin: "3q2+7w",
        more: [1],
      }),
      json({ ...record, url: "https://[2001:db8::1]", name: "a", joined: "2026-01-01T00:00:00Z" }),
      json({ ...record, url: "https://cache.example.com:443/" }),
    ],
    tokens: [
      ...Object.keys(record),
      "http://",
      "https://",
      ":443",
      ":80",
      ":0",
      "[::1]",
      "0x7f.1",
      "xn--",
      "..",
      "serving",
    ],
    isJson: true,
    run: runRecord,
  },
  {
    name: "invalidations",
    seeds: [
      json({ keys: ["apple", "a/b?c", "", "Äpfel"] }),
      json({ prefixes: ["a/", "b"], soft: true }),
      json({ tags: ["menu", "page 1"] }),
      json({ all: true, soft: false }),
      json({ keys: Array.from({ length: 60 }, (_, i) => `key-${i}`), tags: ["a"], prefixes: ["b"] }),
    ],
    tokens: ["keys", "prefixes", "tags", "all", "soft", "true", "false", "\ufeff"],
    isJson: true,
    run: runInvalidation,
  },
  {
    name: "definitions",
    seeds: [
      json({ origin: "wordnet:" }),
      json({ origin: "dict://127.0.0.1:2628/wn", ttlMs: 60_000, ttlJitter: 0, negativeTtlMs: 1_000, retries: 2 }),
      json({ origin: "https://example.com/{key}?v=1", headers: { Authorization: "Bearer s3cret" }, maxConcurrent: 10 }),
      json({ origin: "http://10.0.0.1/base/*", hosts: ["example.com", "[::1]:8080"], setCookie: "store", replicas: 2 }),
      json({ origin: "none:", writable: true, budgetBytes: 2 ** 40, maxBlindMs: null, softTimeoutMs: 500 }),
      json({ origin: "module:./origin.ts", honourOrigin: false, refreshAhead: true, breakerShare: 0.5 }),
    ],
    tokens: [
      "origin",
      "ttlMs",
      "headers",
      "hosts",
      "writable",
      "none:",
      "{key}",
      "{+key}",
      "/*",
      "dict://",
      "file",
      "env",
      "%",
    ],
    isJson: true,
    run: runDefinition,
  },
  {
    name: "seals",
    seeds: [json(record), utf8('{"all":true,"mac":"0000000000000000000000000000000000000000000"}')],
    tokens: [',"mac":"', '"}', "}", " ", "\n", ',"mac":""'],
    make: sealed,
    run: runSeal,
  },
  {
    name: "epochs",
    seeds: [utf8("2026-01-31T12:00:00.123456789Z"), utf8("2026-01-31T12:00:00+02:00"), utf8("0001-01-01T00:00:00Z")],
    tokens: ["Z", "+00:00", "-23:59", ".", "T", "9999"],
    run: runEpoch,
  },
];
