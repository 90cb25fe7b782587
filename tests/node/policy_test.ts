/** Nodes whose policies for one group differ say so once. */
import assert from "node:assert/strict";
import type { Config, GroupConfig } from "../../lib/config/config.ts";
import { parseConfig } from "../../lib/config/parse.ts";
import { rosterOf } from "../../lib/core/roster.ts";
import { Node } from "../../lib/node/node.ts";
import { PolicyCheck } from "../../lib/node/groups/policy-check.ts";
import { originDigest, policyDifferences, policyDigest } from "../../lib/node/groups/policy-digest.ts";
import { MemoryStream } from "../../lib/registry/store/memory-log.ts";
import { MemoryBucket } from "../../lib/registry/store/memory-store.ts";
import { encodeRecord, parseRecord } from "../../lib/registry/record.ts";
import { systemClock } from "../../lib/runtime/process.ts";
import { recordOf } from "../registry/support.ts";
import { ManualClock } from "../support/clock.ts";
import { serveBodies } from "../support/serve-bodies.ts";
import { MemoryLog } from "../support/log.ts";
import { test } from "../support/test.ts";
import { until } from "../support/until.ts";

const SITE = "https://shop.example.org/*";

/** A file with the group `g`, which has these fields. */
function configOf(fields: Record<string, unknown>): Config {
  const parsed = parseConfig({
    argv: ["--config", "f.json", "--nats", "off", "--addr", "127.0.0.1:0", "--drain-timeout", "2s"],
    env: {},
    readFile: (path) =>
      path === "f.json" ? JSON.stringify({ groups: { g: { origin: SITE, ...fields } } }) : `in ${path}`,
    isTerminal: false,
    checkOrigin: () => {},
  });
  assert.ok(parsed.kind === "run", JSON.stringify(parsed));
  return parsed.config;
}

const groupOf = (fields: Record<string, unknown>): GroupConfig => configOf(fields).groups[0]!;

const digest = (fields: Record<string, unknown>) => policyDigest(groupOf(fields));
const differences = (mine: Record<string, unknown>, theirs: Record<string, unknown>) =>
  policyDifferences(digest(mine), digest(theirs));

test("policies differ in each field that steers what a client gets", () => {
  assert.deepEqual(differences({}, {}), []);
  assert.deepEqual(differences({ ttlMs: 60_000 }, { ttlMs: 2_000, refreshAhead: true }), [
    "ttlMs 2000, not 60000",
    "refreshAhead true, not false",
  ]);
  assert.deepEqual(differences({}, { ttlMs: 5 }), ["ttlMs 5, not null"]);
  for (
    const fields of [
      { ttlJitter: 0.2 },
      { staleWhileRevalidateMs: 1 },
      { staleIfErrorMs: 1 },
      { softTimeoutMs: 1 },
      { negativeTtlMs: 1 },
      { honourOrigin: false },
      { loadTimeoutMs: 1 },
      { valueBytesMax: 1 },
      { replicas: 2 },
      { setCookie: "store" },
      { maxBlindMs: 1_000 },
    ]
  ) assert.equal(differences({}, fields).length, 1, JSON.stringify(fields));
  assert.deepEqual(differences({}, { hosts: ["a.example"] }), ["other hosts"]);
  assert.deepEqual(differences({ hosts: ["b.example", "a.example"] }, { hosts: ["a.example", "b.example"] }), []);
  assert.deepEqual(differences({}, { budgetBytes: 1, hotAfterFetches: 7 }), [], "a matter of each node's memory");
});

test("no secret steers what is told of a policy", () => {
  const header = (source: unknown) => ({ headers: { authorization: source } });
  assert.deepEqual(differences(header("secret"), header({ file: "other" })), []);
  assert.deepEqual(differences({}, header("secret")), ["other headers"]);
  const login = (text: string) => originDigest({ origin: `https://${text}api.example.org/{key}` });
  assert.equal(login("user:secret@"), login("user:other@"));
  assert.match(login(""), /^[0-9a-f]{8}$/, "32 bits: no secret in a query can be found by them");
});

test("each other scheme, host, port, path or query is another origin", () => {
  const origins = [
    "http://shop.example.org/*",
    "https://shop.example.org/*",
    "https://shop.example.org/a/*",
    "https://shop.example.org:8443/*",
    "https://shop.example.org/{key}?tenant=a",
    "https://shop.example.org/{key}?tenant=b",
    "dict://127.0.0.1/wn",
    "dict://127.0.0.1/gcide",
    "wordnet:",
  ];
  assert.equal(new Set(origins.map((origin) => originDigest({ origin }))).size, origins.length);
});

test("fields that only one of the two nodes knows are no difference", () => {
  assert.deepEqual(policyDifferences("a=1 b=2", "b=2 c=3"), []);
  assert.deepEqual(policyDifferences("a=1", ""), []);
  assert.deepEqual(policyDifferences("a=1", "= a a=2 =3"), ["a 2, not 1"]);
});

test("each peer with another policy is told once, by each difference", () => {
  const log = new MemoryLog();
  const mine = digest({ ttlMs: 60_000 });
  const factsOf = (group: string) => group === "g" ? { policy: mine } : undefined;
  const check = new PolicyCheck({ selfName: "self", factsOf, clock: new ManualClock(), log });
  const at = (name: string, fields: Record<string, unknown>) => {
    const record = recordOf(name, { policy: digest(fields) });
    return parseRecord("g", `g.${name}`, encodeRecord("g", record));
  };
  const same = at("same", { ttlMs: 60_000 });
  const old = recordOf("old");
  for (let revision = 1; revision < 4; revision++) {
    check.check(
      rosterOf("g", revision, [at("self", { ttlMs: 1 }), same, old, at("b", { ttlMs: 1 }), at("c", { ttlMs: 1 })]),
    );
    check.check(rosterOf("gone", revision, [at("b", { ttlMs: 1 })]));
  }
  assert.deepEqual(log.lines.map((line) => line.replace(/^warn:? /, "")), [
    "the policy of g at b differs from mine: ttlMs 1, not 60000",
    "the policy of g at c differs from mine: ttlMs 1, not 60000",
  ]);
  assert.deepEqual(check.differences("g").map(({ peer }) => peer), ["b", "c"], "it still stands");
  check.check(rosterOf("g", 5, [at("b", { ttlMs: 60_000, replicas: 2 })]));
  assert.match(log.lines.at(-1)!, /the policy of g at b differs from mine: replicas 2, not 1/);
  assert.equal(log.lines.length, 3);
  assert.deepEqual(check.differences("g").map(({ text }) => text), [
    "the policy of g at b differs from mine: replicas 2, not 1",
  ]);
  check.check(rosterOf("g", 6, [same]));
  assert.deepEqual([check.differences("g"), check.differences("other")], [[], []]);
  check.check(rosterOf("g", 7, Array.from({ length: 100 }, (_, i) => at(`p${i}`, { ttlMs: 1 }))));
  assert.equal(check.differences("g").length, 20, "no list without an end");
  check.forget("g");
  assert.deepEqual(check.differences("g"), []);
});

test("a peer is a stranger while it is listed with another origin", () => {
  const check = new PolicyCheck({
    selfName: "self",
    factsOf: (group) => group === "g" ? { origin: "00000001" } : undefined,
    clock: new ManualClock(),
    log: new MemoryLog(),
  });
  const roster = rosterOf("g", 1, [
    recordOf("same", { origin: "00000001" }),
    recordOf("other", { origin: "00000002" }),
    recordOf("old"),
  ]);
  const askers = rosterOf("g=askers", 1, [
    recordOf("same", { origin: "00000002" }),
    recordOf("asker", { origin: "00000002" }),
  ]);
  assert.deepEqual([...check.strangers("g", [roster, askers])], ["other", "asker"]);
  assert.deepEqual([...check.strangers("gone", [roster, askers])], []);
});

test("the line fits into a record, however many hosts and headers there are", () => {
  const hosts = Array.from({ length: 1_000 }, (_, i) => `${i}.${"h".repeat(50)}.example`);
  const headers = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`x-${i}`, "v".repeat(500)]));
  const most = {
    hosts,
    headers,
    ttlMs: Number.MAX_SAFE_INTEGER,
    valueBytesMax: 16 * 2 ** 20,
    ttlJitter: 0.1234567890123,
  };
  const policy = digest(most);
  const record = recordOf("n", { policy });
  assert.equal(parseRecord("g", "g.n", encodeRecord("g", record)).policy, policy);
  assert.ok(policy.length < 512, String(policy.length));
});

test("two nodes with different policies say so, each once", async (defer) => {
  const bucket = new MemoryBucket();
  const stream = new MemoryStream(systemClock);
  const logs = await Promise.all([1_000, 2_000].map(async (ttlMs, i) => {
    const log = new MemoryLog();
    const listedAs = (port: number) => ({ url: `http://127.0.0.1:${port}`, name: `n${i}` });
    const worker = { listedAs, store: bucket.open(), log: stream.open() };
    const node = new Node(configOf({ ttlMs }), { clock: systemClock, log, worker });
    await node.start();
    defer(() => node.stop());
    return log;
  }));
  const told = () => logs.map(({ lines }) => lines.filter((line) => line.includes("differs from mine")));
  await until(
    () => told().every((lines) => lines.length > 0),
    5_000,
    () => logs.flatMap(({ lines }) => lines).join("\n"),
  );
  assert.deepEqual(told(), [
    ["warn the policy of g at n1 differs from mine: ttlMs 2000, not 1000"],
    ["warn the policy of g at n0 differs from mine: ttlMs 1000, not 2000"],
  ]);
});

test("two nodes that give one group other origins say so, share nothing, and serve on", async (defer) => {
  const bucket = new MemoryBucket();
  const stream = new MemoryStream(systemClock);
  const nodes = await Promise.all(["one", "two"].map(async (body, i) => {
    const log = new MemoryLog();
    const origin = await serveBodies(defer, () => ({ body: new TextEncoder().encode(body), delayMs: 0 }));
    const listedAs = (port: number) => ({ url: `http://127.0.0.1:${port}`, name: `n${i}` });
    const worker = { listedAs, store: bucket.open(), log: stream.open() };
    const node = new Node(configOf({ origin: `${origin}/{key}` }), { clock: systemClock, log, worker });
    await node.start();
    defer(() => node.stop());
    return { node, log, body };
  }));
  const told = () => nodes.map(({ log }) => log.lines.filter((line) => line.includes("is another than mine")));
  await until(() => told().every((lines) => lines.length > 0), 5_000, () => JSON.stringify(told()));
  assert.deepEqual(told(), [
    ["warn the origin of g at n1 is another than mine: no value of it is shared with that node"],
    ["warn the origin of g at n0 is another than mine: no value of it is shared with that node"],
  ]);
  for (const { node, body } of nodes) {
    for (let key = 0; key < 40; key++) {
      const answer = await fetch(`http://127.0.0.1:${node.port}/cache/g/k${key}`);
      assert.equal(await answer.text(), body);
    }
  }
});
