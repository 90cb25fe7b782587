import assert from "node:assert/strict";
import { readDefinition } from "../../lib/config/definition.ts";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { advertised, type Config, doubtsOf, version } from "../../lib/config/config.ts";
import { environmentNames, optionTableMarkdown, parseConfig } from "../../lib/config/parse.ts";
import type { ConfigInput } from "../../lib/config/values.ts";
import { readConfigFile } from "../../lib/config/file.ts";
import { defaultPolicy } from "../../lib/config/group-fields.ts";
import { options, redacted } from "../../lib/config/options.ts";
import { MAX_BODY_BYTES } from "../../lib/core/base/limits.ts";
import { ConfigError } from "../../lib/core/errors.ts";
import { secretsIn } from "../../lib/config/texts/secret.ts";
import { DEFAULT_LIFETIME } from "../../lib/core/lifetime/policy.ts";
import { endToEnd } from "../../lib/core/semantics/fields.ts";
import { NO_GUARD } from "../../lib/origins/guard/policy.ts";
import { parseOrigin } from "../../lib/origins/origin.ts";
import { test } from "../support/test.ts";

const nothing: ConfigInput = {
  argv: [],
  env: {},
  readFile: () => {
    throw new Error("no file is expected");
  },
  isTerminal: true,
  checkOrigin: () => {},
};

function run(argv: string[], rest: Partial<ConfigInput> = {}): Config {
  const parsed = parseConfig({ ...nothing, argv, ...rest });
  assert.equal(parsed.kind, "run");
  return (parsed as { config: Config }).config;
}

/** The faults, one a line, without the first line and the last. */
function faultsOf(argv: string[], rest: Partial<ConfigInput> = {}): string[] {
  try {
    parseConfig({ ...nothing, argv, ...rest });
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    const lines = error.message.split("\n");
    assert.match(lines[0], /^(1 fault|\d+ faults) in the options:$/);
    assert.equal(lines.at(-1), "See --help.");
    const faults = lines.slice(1, -1).map((line) => line.trim());
    assert.equal(faults.length, parseInt(lines[0]));
    return faults;
  }
  assert.fail(`accepted: ${argv.join(" ")}`);
}

const TOKEN = "a token of operators".replaceAll(" ", "-");
const file = (content: unknown): Partial<ConfigInput> => ({
  readFile: (path) => {
    if (path === "admin.token") return `${TOKEN}\n`;
    assert.equal(path, "muster.json");
    return typeof content === "string" ? content : JSON.stringify(content);
  },
});
const withFile = ["--config", "muster.json"];

/** The documented policy of a group of which nothing is said. */
const policy = {
  budgetBytes: 64 * 1024 * 1024,
  ttlMs: null,
  ttlJitter: 0.1,
  staleWhileRevalidateMs: 0,
  staleIfErrorMs: 0,
  softTimeoutMs: null,
  refreshAhead: false,
  negativeTtlMs: 0,
  honourOrigin: true,
  loadTimeoutMs: 10_000,
  valueBytesMax: 16 * 1024 * 1024,
  replicas: 1,
  hotAfterFetches: 2,
  headers: [],
  setCookie: "refuse",
  writable: false,
  maxBlindMs: null,
  maxConcurrent: null,
  maxQueued: 1_000,
  queueTimeoutMs: 5_000,
  breakerShare: null,
  breakerPauseMs: 5_000,
  retries: 0,
  retryBudget: 0.1,
  hosts: [],
};

test("without any option a node has the documented defaults", () => {
  assert.deepEqual(run([]), {
    addr: { host: "127.0.0.1", port: 8000 },
    peerAddr: undefined,
    tlsCert: undefined,
    tlsKey: undefined,
    tlsCa: undefined,
    advertise: undefined,
    name: undefined,
    nats: { kind: "embedded", port: 4222, storeDir: ".muster/nats" },
    natsLogin: {},
    secretFile: undefined,
    bucket: "peers",
    replicas: 1,
    groups: [{ name: "dict", origin: "wordnet:", ...policy }],
    groupsFromNats: false,
    adminTokenFile: undefined,
    publicStats: false,
    accessLog: "off",
    serve: undefined,
    log: "text",
    logLevel: "info",
    weight: 1,
    zone: "",
    peerNetworks: [],
    workers: 1,
    drainTimeoutMs: 5_000,
    farewellMs: 400,
    polling: { pollIntervalMs: 800, pollTimeoutMs: 250, pollMisses: 6, pollJitter: 0.1 },
  });
  assert.equal(run([], { isTerminal: false }).log, "json");
});

test("every option is taken from its flag, its variable and, where it may stand there, its field in the file", () => {
  const said: Record<string, string | number> = {
    addr: "127.0.0.1:1",
    peerAddr: "127.0.0.1:2",
    tlsCert: "cert.pem",
    tlsKey: "key.pem",
    tlsCa: "ca.pem",
    advertise: "https://cache.example",
    name: "n1",
    nats: "nats://h:1",
    natsPort: 14222,
    natsStore: "/tmp/store",
    bucket: "b",
    replicas: 3,
    group: "g=dict://h",
    groupsFromNats: "on",
    adminTokenFile: "admin.token",
    publicStats: "on",
    accessLog: "json",
    serve: "dict",
    ttl: "1m",
    log: "json",
    logLevel: "warn",
    weight: 2.5,
    zone: "z.1",
    peerNetworks: "10.0.0.0/8, fd00::1",
    workers: 3,
    drainTimeout: "2.5s",
    farewell: "0.5s",
    pollInterval: "100ms",
    pollTimeout: "1s",
    pollMisses: 3,
    pollJitter: 0.25,
  };
  /** What some options need beside them. */
  const beside: Record<string, string[]> = {
    tlsCert: ["--peer-addr", "127.0.0.1:2", "--tls-key", "key.pem"],
    tlsKey: ["--peer-addr", "127.0.0.1:2", "--tls-cert", "cert.pem"],
  };
  for (const [field, option] of Object.entries(options)) {
    if (field === "config" || field === "secretFile" || Object.hasOwn(logins, field)) continue;
    const value = said[field];
    const also = beside[field] ?? [];
    assert.notEqual(value, undefined, field);
    const isSwitch = option.value === "";
    const argv = isSwitch ? [`--${option.flag}`] : [`--${option.flag}`, String(value)];
    const files = file({});
    const want = run([...also, ...argv], files);
    assert.notDeepEqual(want, run([]), field);
    assert.deepEqual(run([...also, argv.join("=")], files), want, field);
    assert.deepEqual(run([...also, `-${argv[0]!.slice(2)}`, ...argv.slice(1)], files), want, field);
    assert.deepEqual(run([...also, `-${argv.join("=").slice(2)}`], files), want, field);
    assert.deepEqual(run(also, { ...files, env: { [option.env]: String(value) } }), want, field);
    if (field !== "group") assert.deepEqual(run([...also, ...withFile], file({ [field]: value })), want, field);
  }
  assert.deepEqual(run([], { env: { MUSTER_CONFIG: "muster.json" }, ...file({ zone: "z" }) }).zone, "z");
});

test("a token file that cannot be used is a fault, which shows nothing of what stands in it", () => {
  const faultOf = (text: string | Error) => {
    const readFile = () => {
      if (text instanceof Error) throw text;
      return text;
    };
    return faultsOf(["--admin-token-file", "admin.token"], { readFile });
  };
  const cases: [text: string | Error, reason: RegExp][] = [
    ["", /"admin.token": the first line has fewer than 16 characters$/],
    ["short-secret", /"admin.token": the first line has fewer than 16/],
    [`\n${TOKEN}`, /the first line has fewer/],
    ["x".repeat(1_025), /the first line has more than 1024/],
    ["secret with a space in it", /the first line has a character that is not printable ASCII$/],
    ["s\u00e9cret-s\u00e9cret-s\u00e9cret", /not printable ASCII$/],
    ["secret-secret-\x01secret", /not printable ASCII$/],
    [`${TOKEN}\nold`, /the second line has fewer/],
    [`${TOKEN}\n${TOKEN}\n${TOKEN}`, /more than two lines$/],
    [new Error("ENOENT: no such file"), /must be a file that can be read: "admin.token": ENOENT: no such file$/],
  ];
  for (const [text, reason] of cases) {
    const faults = faultOf(text);
    assert.equal(faults.length, 1, String(text));
    assert.match(faults[0]!, /^--admin-token-file must be a file /);
    assert.match(faults[0]!, reason);
    assert.doesNotMatch(faults[0]!, /secret|operators-|xxx/);
  }
  for (const text of [TOKEN, ` ${TOKEN} \r\n`, `\uFEFF${TOKEN}\n${"x".repeat(1_024)}\n\n`]) {
    const config = run(["--admin-token-file", "admin.token"], { readFile: () => text });
    assert.equal(config.adminTokenFile, "admin.token");
    assert.doesNotMatch(JSON.stringify(config), new RegExp(TOKEN));
  }
});

const seed = `SU${"A".repeat(56)}`;
/** The files of NATS logins, by the options that name them; `natsUser` is a name. */
const logins: Readonly<Record<string, string>> = {
  natsCreds: `-----BEGIN NATS USER JWT-----\nx\n-----BEGIN USER NKEY SEED-----\n${seed}\n`,
  natsNkey: `${seed}\n`,
  natsUser: "",
  natsPasswordFile: "pw",
  natsTokenFile: "t",
  natsCa: "-----BEGIN CERTIFICATE-----",
  natsCert: "-----BEGIN CERTIFICATE-----",
  natsKey: "-----BEGIN PRIVATE KEY-----",
};

/** The options of one login, from flags, variables and the file: each option's value is its own name. */
function loginFrom(where: "flags" | "env" | "file", fields: readonly string[], more: readonly string[] = []) {
  const nats = "nats://h:1";
  const optionOf = (field: string) => options[field as keyof typeof options];
  const inFile = JSON.stringify({ nats, ...Object.fromEntries(fields.map((field) => [field, field])) });
  const readFile = (path: string) => path === "muster.json" ? inFile : logins[path] ?? assert.fail(`reads ${path}`);
  const argv = fields.flatMap((field) => [`--${optionOf(field).flag}`, field]);
  const env = Object.fromEntries(fields.map((field) => [optionOf(field).env, field]));
  if (where === "flags") return { argv: [...argv, "--nats", nats, ...more], input: { readFile } };
  return where === "env"
    ? { argv: ["--nats", nats, ...more], input: { readFile, env } }
    : { argv: [...withFile, ...more], input: { readFile } };
}

test("a login at NATS is taken from flags, variables and the file, as the paths of its files", () => {
  const ways = [["natsCreds"], ["natsNkey"], ["natsUser", "natsPasswordFile"], ["natsTokenFile"]];
  for (const way of [...ways, ...ways.map((way) => [...way, "natsCa", "natsCert", "natsKey"]), ["natsCa"]]) {
    const want = Object.fromEntries(
      way.map((field) => [field.slice("nats".length).replace(/^./, (letter) => letter.toLowerCase()), field]),
    );
    for (const where of ["flags", "env", "file"] as const) {
      const { argv, input } = loginFrom(where, way);
      assert.deepEqual(run(argv, input).natsLogin, want, `${where} ${way}`);
    }
  }
});

test("the cluster's secret is a file of one or two lines that are long enough, and its text is never shown", () => {
  const secrets: Record<string, string> = {
    one: "0123456789abcdef\n",
    two: " 0123456789abcdef \r\n\nfedcba9876543210",
    short: "0123456789abcde\n",
    second: "0123456789abcdef\nshort",
    three: "0123456789abcdef\n".repeat(3),
    empty: "\n",
  };
  const readFile = (path: string) => secrets[path] ?? JSON.stringify({ secretFile: "one" });
  assert.equal(run(["--secret-file", "two"], { readFile }).secretFile, "two");
  assert.equal(run([], { readFile, env: { MUSTER_SECRET_FILE: "one" } }).secretFile, "one");
  assert.equal(run(withFile, { readFile }).secretFile, "one");
  assert.deepEqual(secretsIn(secrets["two"]!), ["0123456789abcdef", "fedcba9876543210"]);
  for (const path of ["short", "second", "three", "empty"]) {
    const [fault] = faultsOf(["--secret-file", path], { readFile });
    assert.match(fault!, /^--secret-file must be a file that can be used: .*(16 bytes|in two)/);
    assert.ok(!fault!.includes("0123"), fault);
  }
});

test("a login at NATS that cannot work is refused at the start, and what is in its files is not shown", () => {
  const faults = (fields: string[], more?: string[]) => {
    const { argv, input } = loginFrom("flags", fields, more);
    return faultsOf(argv, input);
  };
  assert.deepEqual(faults(["natsCreds", "natsNkey"]), [
    "one login must be given: there are --nats-creds and --nats-nkey",
  ]);
  assert.deepEqual(faults(["natsTokenFile"], ["--nats", "nats://m:pw@h:1"]), [
    "one login must be given: there are the login in the URL of --nats and --nats-token-file",
  ]);
  assert.deepEqual(faults(["natsUser"]), ["--nats-user and --nats-password-file must be given together"]);
  assert.deepEqual(faults(["natsKey"]), ["--nats-cert and --nats-key must be given together"]);
  assert.deepEqual(faults(["natsNkey"], ["--nats", "off"]), [
    "--nats-nkey must be given with --nats, which names the servers",
  ]);
  const { argv } = loginFrom("flags", ["natsNkey", "natsCa"]);
  const wrong = faultsOf(argv, { readFile: () => "hunter2" });
  assert.deepEqual(wrong, [
    "--nats-nkey must be a file that holds the seed of a user, which begins with SU",
    "--nats-ca must be a file that holds certificates in PEM",
  ]);
  const readFile = () => {
    throw new Error("ENOENT: no such file");
  };
  assert.match(faultsOf(argv, { readFile })[0]!, /^--nats-nkey must be a file that can be read: ENOENT/);
});

test("a flag wins over its variable, the variable over the file, the file over the default", () => {
  const input = { env: { MUSTER_ZONE: "env" }, ...file({ zone: "file", bucket: "file" }) };
  assert.equal(run([...withFile, "--zone", "flag"], input).zone, "flag");
  assert.equal(run(withFile, input).zone, "env");
  assert.equal(run(withFile, input).bucket, "file");
  assert.equal(run(withFile, { ...input, env: { MUSTER_BUCKET: "" } }).bucket, "file", "an empty variable is unset");
  assert.equal(run(["--zone=", "--zone", "a", "--zone", "b"], input).zone, "b", "the last of a flag counts");
  assert.equal(run([...withFile, "--zone="], input).zone, "", "an empty flag is said");
});

test("groups are as the strongest source lists them, with the policies that the file has for their names", () => {
  const input = file({
    groups: {
      dict: { origin: "wordnet:", budgetBytes: 1000, ttlMs: 5000, loadTimeoutMs: 100, replicas: 2, hotAfterFetches: 0 },
      other: { origin: "dict://h" },
    },
  });
  const mine = { ...policy, budgetBytes: 1000, ttlMs: 5000, loadTimeoutMs: 100, replicas: 2, hotAfterFetches: 0 };
  assert.deepEqual(run(withFile, input).groups, [
    { name: "dict", origin: "wordnet:", ...mine },
    { name: "other", origin: "dict://h", ...policy },
  ]);
  assert.deepEqual(run([...withFile, "--group", "dict=dict://x", "-group=new=wordnet:"], input).groups, [
    { name: "dict", origin: "dict://x", ...mine },
    { name: "new", origin: "wordnet:", ...policy },
  ]);
  const env = { MUSTER_GROUPS: "dict=http://h/{key}?a=b, b=wordnet:" };
  assert.deepEqual(run(withFile, { ...input, env }).groups.map((group) => [group.name, group.origin]), [
    ["dict", "http://h/{key}?a=b"],
    ["b", "wordnet:"],
  ]);
});

test("--serve names some of the node's groups; other nodes are there for the rest", () => {
  const groups = ["--group", "wn=wordnet:", "--group", "gcide=dict://h"];
  assert.deepEqual(run([...groups, "--serve", " wn, gcide"]).serve, ["wn", "gcide"]);
  assert.deepEqual(run([...groups, "--serve", "none:"]).serve, []);
  assert.deepEqual(faultsOf([...groups, "--serve", "wn,"]), [
    '--serve must be names of groups with commas between them, or none: for no group: it is "wn,"',
  ]);
  assert.deepEqual(faultsOf([...groups, "--serve", "wn,jargon"]), [
    "--serve must name groups of this node: it has no group jargon",
  ]);
  assert.deepEqual(run([...groups, "--serve", "wn,jargon", "--groups-from-nats"]).serve, ["wn", "jargon"]);
  assert.deepEqual(faultsOf([...groups, "--serve", "wn", "--nats", "off"]), [
    "--serve must name all groups with --nats off: there is no other node to ask for gcide",
  ]);
  assert.equal(run(["--farewell", "10s", "--drain-timeout", "11.6s"]).farewellMs, 10_000);
  assert.deepEqual(faultsOf(["--farewell", "10s"]), [
    "--drain-timeout must be 1.6 s longer than --farewell, or more: it is 5000 ms, and --farewell is 10000 ms",
  ]);
  const secret = { g: { origin: "http://h/{key}", headers: { "x-key": { file: "/run/secret" } } } };
  const unserved = run([...withFile, "--serve", "none:"], {
    readFile: (path) => {
      assert.equal(path, "muster.json", "the secrets of groups that it does not serve are not read");
      return JSON.stringify({ groups: secret });
    },
  });
  assert.deepEqual(unserved.groups[0]!.headers, [["x-key", ""]]);
});

test("a group's lifetime is its own, else that of --ttl, else there is none", () => {
  const ttls = (argv: string[], rest: Partial<ConfigInput> = {}) =>
    Object.fromEntries(run(argv, rest).groups.map(({ name, ttlMs }) => [name, ttlMs]));
  const groups = { own: { origin: "x", ttlMs: 7 }, endless: { origin: "x", ttlMs: null }, plain: { origin: "x" } };
  assert.deepEqual(ttls(withFile, file({ groups })), { own: 7, endless: null, plain: null });
  assert.deepEqual(ttls([...withFile, "--ttl", "1m"], file({ groups })), { own: 7, endless: null, plain: 60_000 });
  assert.deepEqual(ttls(withFile, file({ groups, ttl: "2h" })), { own: 7, endless: null, plain: 7_200_000 });
  const named = ["own=x;ttl=1s", "endless=x;ttl=1000.4ms", "plain=x;ttl=2d"]
    .flatMap((text) => ["--group", text]);
  assert.deepEqual(
    ttls([...withFile, "--ttl=1m", ...named], file({ groups })),
    { own: 1_000, endless: 1_000, plain: 172_800_000 },
  );
  const env = { MUSTER_GROUPS: "a=x;ttl=5s,b=http://h/{key}?a=b;ttl=250ms, c=x", MUSTER_TTL: "3s" };
  assert.deepEqual(ttls([], { env }), { a: 5_000, b: 250, c: 3_000 });
});

test(";ttl= counts only behind the whole origin", () => {
  const group = (text: string) => {
    const [{ origin, ttlMs }] = run(["--group", `a=${text}`]).groups as [Config["groups"][number]];
    return [origin, ttlMs];
  };
  assert.deepEqual(group("https://h/{key};ttl=1m"), ["https://h/{key}", 60_000]);
  assert.deepEqual(group("https://h/a/*;ttl=90s"), ["https://h/a/*", 90_000]);
  assert.deepEqual(group("https://h/;ttl=1m/{key}"), ["https://h/;ttl=1m/{key}", null]);
  assert.deepEqual(group("https://h/?a;ttl=1m&k={key}"), ["https://h/?a;ttl=1m&k={key}", null]);
  assert.deepEqual(group("https://h/a;ttl={key}"), ["https://h/a;ttl={key}", null]);
  assert.deepEqual(group("https://h/{key}%3Bttl=1m"), ["https://h/{key}%3Bttl=1m", null]);
  assert.deepEqual(group("https://h/{key};ttl=x;ttl=1m"), ["https://h/{key};ttl=x", 60_000]);
  const asked: string[] = [];
  run(["--group", "a=x;ttl=1m"], { checkOrigin: (origin) => void asked.push(origin) });
  assert.deepEqual(asked, ["x"]);
  assert.deepEqual(
    faultsOf(withFile, file({ groups: { a: { origin: "wordnet:;ttl=1m" } } })),
    ["--config muster.json: groups.a.origin must be an origin as --group takes it, without ;ttl=: it is a text"],
  );
});

test("the policies of groups are those that the core and the wire know", () => {
  const { ttlMs: _, ...rest } = DEFAULT_LIFETIME;
  for (const [field, value] of Object.entries(rest)) {
    assert.equal(defaultPolicy[field as keyof typeof defaultPolicy], value, field);
  }
  for (const [field, value] of Object.entries(NO_GUARD)) {
    assert.equal(defaultPolicy[field as keyof typeof defaultPolicy], value, field);
  }
  assert.equal(run([]).groups[0]!.ttlMs, DEFAULT_LIFETIME.ttlMs);
  assert.equal(defaultPolicy.valueBytesMax, MAX_BODY_BYTES);
  assert.equal(run(withFile, oneGroup({ valueBytesMax: MAX_BODY_BYTES })).groups[0]!.valueBytesMax, MAX_BODY_BYTES);
  assert.equal(faultsOf(withFile, oneGroup({ valueBytesMax: MAX_BODY_BYTES + 1 })).length, 1);
});

/** A file with one site, and these fields. */
const oneGroup = (fields: Record<string, unknown>) => file({ groups: { g: { origin: "https://h/*", ...fields } } });

test("each field of a group takes what its rule says, and nothing else", () => {
  const days30 = 30 * 24 * 60 * 60 * 1000;
  const spans: [good: unknown[], bad: unknown[]] = [[0, 1, days30], [-1, 0.5, days30 + 1, "1s", null, true]];
  const booleans: [good: unknown[], bad: unknown[]] = [[true, false], [0, 1, "true", null]];
  const cases: [field: string, good: unknown[], bad: unknown[]][] = [
    ["ttlMs", [1, 2 ** 40, null], [0, -1, 1.5, "1m", true, 2 ** 60]],
    ["ttlJitter", [0, 0.25, 1], [-0.1, 1.1, "0.1", null]],
    ["staleWhileRevalidateMs", ...spans],
    ["staleIfErrorMs", ...spans],
    ["negativeTtlMs", ...spans],
    ["softTimeoutMs", [null, 1, 120_000], [0, 120_001, 1.5, "1s", false]],
    ["refreshAhead", ...booleans],
    ["honourOrigin", ...booleans],
    ["valueBytesMax", [1, 16 * 1024 * 1024], [0, -1, 1.5, 16 * 1024 * 1024 + 1, null, "1"]],
    ["setCookie", ["store", "refuse"], ["", "Store", true, null]],
    ["writable", [false], [0, 1, "true", null]],
    ["maxBlindMs", [null, 1_000, days30], [0, 999, 1_000.5, "1s", true]],
    ["maxConcurrent", [null, 1, 10_000], [0, 10_001, 1.5, "8", true]],
    ["maxQueued", [0, 10_000], [-1, 10_001, 1.5, "8", null]],
    ["queueTimeoutMs", [1, 120_000], [0, 120_001, 1.5, "1s", null]],
    ["breakerShare", [null, 0.01, 1], [0, 1.1, "0.5", true]],
    ["breakerPauseMs", [1, 3_600_000], [0, 3_600_001, 1.5, "1s", null]],
    ["retries", [0, 5], [-1, 6, 1.5, "1", null]],
    ["retryBudget", [0, 0.25, 1], [-0.1, 1.1, "0.1", null]],
  ];
  for (const [field, good, bad] of cases) {
    for (const value of good) {
      const [group] = run(withFile, oneGroup({ [field]: value })).groups;
      assert.deepEqual((group as unknown as Record<string, unknown>)[field], value, field);
    }
    for (const value of bad) {
      const [fault, ...others] = faultsOf(withFile, oneGroup({ [field]: value }));
      assert.deepEqual(others, [], `${field} ${JSON.stringify(value)}`);
      assert.match(fault!, new RegExp(`^--config muster.json: groups.g.${field} must be .*: it is `));
    }
  }
});

test("a group without an origin must be writable, and a site must not", () => {
  const written = (origin: string, writable: boolean) => file({ groups: { g: { origin, writable } } });
  assert.equal(run(withFile, written("none:", true)).groups[0]!.writable, true);
  assert.equal(run(withFile, written("wordnet:", true)).groups[0]!.writable, true);
  assert.equal(run(withFile, written("http://h/{key}", true)).groups[0]!.writable, true);
  assert.deepEqual(faultsOf(withFile, written("none:", false)), [
    "--group g must be writable, as its origin is none:, so set groups.g.writable to true in muster.json",
  ]);
  assert.deepEqual(faultsOf(["--group", "x=none:"]), [
    "--group x must be writable, as its origin is none:, so set groups.x.writable to true in the file of --config",
  ]);
  assert.deepEqual(faultsOf(withFile, written("http://h/*", true)), [
    "--config muster.json: groups.g.writable must not be true: a site takes PUT and DELETE itself",
  ]);
  // A flag may give a group of the file another origin.
  assert.equal(run([...withFile, "--group", "g=none:"], written("wordnet:", true)).groups[0]!.writable, true);
  assert.equal(faultsOf([...withFile, "--group", "g=http://h/*"], written("none:", true)).length, 1);
});

test("hosts are names that a request can have, each of one site", () => {
  const hosts = (list: unknown) => run(withFile, oneGroup({ hosts: list })).groups[0]!.hosts;
  assert.deepEqual(
    hosts(["A.Example", "a.example:8080", "127.0.0.1", "[::1]", "[::1]:80", "my_host"]),
    ["a.example", "a.example:8080", "127.0.0.1", "[::1]", "[::1]:80", "my_host"],
  );
  const most = Array.from({ length: 1_000 }, (_, i) => `h${i}`);
  assert.equal(hosts(most).length, 1_000);
  for (
    const bad of [
      "h",
      null,
      {},
      [1],
      [""],
      ["http://h"],
      ["h/"],
      ["h:0"],
      ["h:65536"],
      ["h:"],
      ["::1"],
      ["u@h"],
      ["*.h"],
      ["h h"],
      ["hä"],
      ["h\n"],
      ["h", "H"],
      [...most, "h1000"],
    ]
  ) {
    const faults = faultsOf(withFile, oneGroup({ hosts: bad }));
    assert.equal(faults.length, 1, JSON.stringify(bad));
    assert.match(faults[0]!, /^--config muster\.json: groups\.g\.hosts must be a list/);
  }
  const two = (a: string, b: string, origin = "http://h/*") =>
    file({ groups: { a: { origin, hosts: [a] }, b: { origin: "http://h/*", hosts: [b] } } });
  assert.equal(run(withFile, two("h", "h:80")).groups.length, 2);
  assert.deepEqual(faultsOf(withFile, two("Same.example", "same.Example")), [
    "--config muster.json: groups.b.hosts must not name same.example: the group a has it",
  ]);
  run([...withFile, "--group", "a=http://h/*"], two("same", "same")); // b is not served
  const noSite =
    "--config muster.json: groups.a.hosts must not be set: the origin is no site, as http(s)://host/base/* is";
  for (const origin of ["wordnet:", "dict://h/*", "http://h/{key}"]) {
    assert.deepEqual(faultsOf(withFile, two("x", "y", origin)), [noSite]);
  }
  assert.deepEqual(faultsOf([...withFile, "--group", "a=wordnet:"], two("x", "y")), [noSite]);
});

test("headers are said in the file, or in a file or variable that is read at the start", () => {
  const files: Record<string, string> = { "/run/key": " from a file\r\n" };
  const read = {
    env: { IN_ENV: "of the process" },
    readVariable: (name: string) => ({ KEY: "from a variable" })[name],
  };
  const with_ = (headers: unknown, rest: Partial<ConfigInput> = read) => ({
    ...rest,
    readFile: (path: string) => {
      if (path === "muster.json") {
        return JSON.stringify({ groups: { g: { origin: "http://h/{key}", headers } } });
      }
      if (files[path] === undefined) throw new Error("no such file");
      return files[path];
    },
  });
  const headers = { "X-Plain": " a\tb ", "Authorization": { file: "/run/key" }, "x_key": { env: "KEY" }, "Accept": "" };
  assert.deepEqual(run(withFile, with_(headers)).groups[0]!.headers, [
    ["x-plain", "a\tb"],
    ["authorization", "from a file"],
    ["x_key", "from a variable"],
    ["accept", ""],
  ]);
  const { readVariable: _, ...plain } = read;
  assert.deepEqual(run(withFile, with_({ a: { env: "IN_ENV" } }, plain)).groups[0]!.headers, [["a", "of the process"]]);
  const faults = (value: unknown) => faultsOf(withFile, with_(value));
  const at = "--config muster.json: groups.g.headers";
  assert.deepEqual(faults({ a: { file: "/nowhere" } }), [
    `${at}.a must have a value in the file "/nowhere": no such file`,
  ]);
  assert.deepEqual(faults({ a: { env: "UNSET" } }), [`${at}.a must have a value in the variable UNSET: there is none`]);
  files["/run/key"] = "\n";
  assert.deepEqual(faults({ a: { file: "/run/key" } }), [
    `${at}.a must have a value in the file "/run/key": there is none`,
  ]);
  assert.deepEqual(faults({ a: "b", A: "c" }), [`${at}.A must be named once: case does not count`]);
  assert.deepEqual(faults({ "a b": "c" }), [
    `${at}.a b must have a name of 1 to 128 letters, digits and - _ . (RFC 9110, section 5.1)`,
  ]);
  for (
    const bad of [1, null, true, [], {}, { file: "" }, { file: 1 }, { env: "A B" }, { env: "A", file: "b" }, { x: "y" }]
  ) {
    assert.deepEqual(faults({ a: bad }), [`${at}.a must be a text, {"file": path} or {"env": name}`]);
  }
  for (const bad of ["x", null, [], 1]) {
    assert.match(faults(bad)[0]!, /headers must be an object from header names/);
  }
});

test("headers of the connection, of the request and of other protocols are refused", () => {
  const faults = (name: string) => faultsOf(withFile, oneGroup({ headers: { [name]: "x" } }));
  const hops = ["Connection", "keep-alive", "TE", "Trailer", "transfer-encoding", "UPGRADE", "proxy-authorization"];
  for (const name of [...hops, "proxy-connection", "http2-settings", "Host", "content-length", "expect"]) {
    assert.deepEqual(faults(name), [
      `--config muster.json: groups.g.headers.${name} must not be set: each connection has its own`,
    ]);
  }
  for (const name of hops) assert.deepEqual(endToEnd([[name.toLowerCase(), "x"]]), [], name);
  for (const name of ["Range", "if-none-match"]) assert.match(faults(name)[0]!, /each request has its own$/);
  for (const origin of ["wordnet:", "dict://h"]) {
    assert.deepEqual(
      faultsOf(withFile, file({ groups: { g: { origin, headers: { a: "b" } } } })),
      ["--config muster.json: groups.g.headers must not be set: the origin is no HTTP origin"],
    );
  }
});

test("a header's value never stands in a fault, nor is one read for a group that is not served", () => {
  const secret = "hunter2";
  const text = (value: string) => faultsOf(withFile, oneGroup({ headers: { a: value } }));
  const from = (source: unknown, value: string) =>
    faultsOf(withFile, {
      readFile: (path) =>
        path === "muster.json"
          ? JSON.stringify({ groups: { g: { origin: "http://h/*", headers: { a: source } } } })
          : value,
      readVariable: () => value,
    });
  const broken = [`${secret}\n${secret}`, `${secret}\r\nx: y`, `${secret}\0`, `${secret}ä`, secret.repeat(2_000)];
  for (const value of broken) {
    const faults = [text(value), from({ file: "f" }, value), from({ env: "E" }, value)];
    for (const [fault, ...others] of faults) {
      assert.deepEqual(others, []);
      assert.match(fault!, /^--config muster\.json: groups\.g\.headers\.a must have a value of /);
      assert.ok(!fault!.includes(secret), fault);
    }
  }
  for (const value of [{ [secret]: "x" }, [secret], { file: "f", env: secret }]) {
    for (const fault of faultsOf(withFile, oneGroup({ headers: { a: value } }))) {
      assert.ok(!fault.includes(secret), fault);
    }
  }
  const groups = { g: { origin: "http://h/*", headers: { a: { file: "secret" }, b: { env: "B" } } } };
  const readVariable = () => assert.fail("a variable is read");
  assert.equal(run([...withFile, "--group", "other=wordnet:"], { ...file({ groups }), readVariable }).groups.length, 1);
});

test("--nats takes several servers with one login, or off", () => {
  assert.deepEqual(run(["--nats", "off"]).nats, { kind: "off" });
  assert.deepEqual(run(["--nats", "nats://a:1, tls://b ,c:3,nats://[::1]:4/,nats://me:p%2Cw@d"]).nats, {
    kind: "urls",
    urls: ["nats://a:1", "tls://b:4222", "nats://c:3", "nats://[::1]:4", "nats://me:p%2Cw@d:4222"],
  });
  for (
    const text of [
      "of",
      "",
      "a:1,",
      "ws://a:1",
      "http://a",
      "nats://",
      "nats://a:0",
      "nats://a:65536",
      "nats://a/x",
      "nats://a?x",
      "nats://u%@a",
      "nats://u@a,nats://v@b",
    ]
  ) {
    assert.equal(faultsOf([`--nats=${text}`]).length, 1, text);
  }
});

test("values that break a rule are refused, those at the edge of it are not", () => {
  const cases: [flag: string, good: string[], bad: string[]][] = [
    ["addr", ["a.b_c-d:0", "0.0.0.0:65535", "[::1]:1", "[::ffff:1.2.3.4]:1", "localhost:80"], [
      "",
      "8000",
      ":8000",
      "a:",
      "a:65536",
      "a:-1",
      "a:1e3",
      "a b:1",
      "::1:1",
      "[::g]:1",
      "[fe80::1%eth0]:1",
      "999.1.1.1:1",
      "http://a:1",
      "a:1/x",
      "u@a:1",
      "a:1\n",
    ]],
    ["advertise", ["http://a", "https://a:1/", "http://[::1]:8000", "http://10.0.0.1:65535"], [
      "",
      "a:1",
      "ftp://a",
      "http://",
      "http://a/b",
      "http://a?b",
      "http://a#b",
      "http://u:p@a",
      "http://a:0",
      "http://a:65536",
      "http://a b",
      "http://a\\b",
    ]],
    ["name", ["a", "A_-9", "x".repeat(128)], ["", "a.b", "a b", "ä", "a\n", "x".repeat(129)]],
    ["bucket", ["a", "A_-9"], ["", "a.b", "a*", "a/b", "a\n"]],
    ["nats-port", ["1", "65535"], ["0", "65536", "1.5", "", "x", "0x10", " 1"]],
    ["nats-store", ["a b", "/x"], ["", "a\0b", "a\nb"]],
    ["replicas", ["1", "5"], ["0", "6", "1.5", "", "1 "]],
    ["weight", ["0.01", "100", "100.0", "1"], ["0", "0.009", "100.1", "1e1", ".5", "NaN", "Infinity", "", "1,5"]],
    ["farewell", ["100ms", "0.4s", "3.4s"], ["5", "99ms", "591s", "10m", "-1s", "0"]],
    ["drain-timeout", ["2s", "2500ms", "2.5s", "600s", "5m"], [
      "5",
      "1s",
      "1999ms",
      "601s",
      "11m",
      "5M",
      "5min",
      "-5s",
      "5 s",
      "",
    ]],
    ["ttl", ["1ms", "0.5s", "1m", "2h", "365d"], [
      "0",
      "0ms",
      "0.4ms",
      "1",
      "366d",
      "1w",
      "-1m",
      "1m ",
      "null",
      "",
      "1e3s",
    ]],
    ["poll-interval", ["10ms", "0.25s", "60s"], ["9ms", "61s", "0", "1e3ms"]],
    ["poll-misses", ["1", "1000"], ["0", "1001", "1.5"]],
    ["poll-jitter", ["0", "0.1", "0.5"], ["0.6", "1", "-0.1", ".1"]],
    ["zone", ["", "eu-1.a_B", "x".repeat(64)], ["a b", "a/b", "x".repeat(65), "ä"]],
    ["workers", ["1", "256", "auto"], ["0", "257", "1.5", "-1", "", "AUTO", "auto "]],
    ["log", ["text", "json"], ["", "TEXT", "xml"]],
    ["group", ["a=x", "A_-9=dict://h/*", `${"x".repeat(64)}=y`, "a=x;ttl=1m"], [
      "",
      "a",
      "=x",
      "a=",
      "a.b=x",
      `${"x".repeat(65)}=y`,
      "a=;ttl=1m",
      "a=x;ttl=",
      "a=x;ttl=1min",
      "a=x;ttl=0s",
      "a=x;ttl=366d",
      "a=x;ttl=1m ",
    ]],
  ];
  for (const [flag, good, bad] of cases) {
    for (const text of good) run([`--${flag}=${text}`]);
    for (const text of bad) {
      const [fault, ...others] = faultsOf([`--${flag}=${text}`]);
      assert.deepEqual(others, [], `${flag} ${JSON.stringify(text)}`);
      assert.ok(fault.startsWith(`--${flag} must be `), fault);
    }
  }
});

test("all faults come in one message, each with the option, the rule and the value", () => {
  assert.deepEqual(
    faultsOf(["-addr=x", "--nope", "word", "--replicas", "9", "--log"], { env: { MUSTER_WEIGHT: "heavy" } }),
    [
      "there is no option --nope",
      'every argument must belong to a flag: "word"',
      "--log must have a value: none follows",
      `--addr must be ${options.addr.rule}: it is "x"`,
      '--replicas must be a whole number from 1 to 5: it is "9"',
      '--weight must be a number from 0.01 to 100: in MUSTER_WEIGHT it is "heavy"',
    ],
  );
});

test("a flag does not swallow the next flag as its value, nor a switch a value", () => {
  assert.deepEqual(faultsOf(["--name", "--zone", "a"]), [
    '--name must have a value: "--zone" follows',
    'every argument must belong to a flag: "a"',
  ]);
  assert.deepEqual(faultsOf(["--help=no"]), ['--help takes no value: "no"']);
  assert.equal(run(["--name=-x"]).name, "-x");
  assert.deepEqual(faultsOf(["--__proto__=1", "--constructor"]), [
    "there is no option --__proto__",
    "there is no option --constructor",
  ]);
  assert.equal(run(["--", "--name", "x"]).name, "x", "a task runner's -- is passed over");
});

test("a login never stands in a fault", () => {
  const secret = "hunter2";
  const checkOrigin = (origin: string) => {
    throw new ConfigError(`${origin} must be something else`);
  };
  const faults = [
    ...faultsOf(["--nats", `nats://me:${secret}@h:x`]),
    ...faultsOf(["--nats", `nats://me:${secret}/,x@h:1`]),
    ...faultsOf(["--nats", `nats://${secret}@h:1,nats://other@h:1`]),
    ...faultsOf([], { env: { NATS_URL: `me:${secret}@h` } }),
    ...faultsOf([`nats://me:${secret}@h`]),
    ...faultsOf(["--advertise", `http://me:${secret}@h`]),
    ...faultsOf(["--group", `a=http://me:${secret}@h/{key}`], { checkOrigin }),
    ...faultsOf(["--group", `a=http://h/{key}?token=${secret}`], { checkOrigin }),
    ...faultsOf(["--group", `a b=http://me:${secret}@h/{key}`]),
    ...faultsOf(withFile, file({ nats: [`nats://me:${secret}@h`] })),
    ...faultsOf(withFile, file({ nats: `nats://me:${secret}@h:x` })),
  ];
  for (const fault of faults) assert.ok(!fault.includes(secret), fault);
  assert.equal(redacted("nats://me:a@b@h:1"), "nats://***@h:1");
  assert.equal(redacted("nats://h:1"), "nats://h:1");
  assert.equal(redacted("g=http://u@h/{key}"), "g=http://***@h/{key}");
});

test("a comma in MUSTER_GROUPS ends a group only where a name and = follow it", () => {
  const groups = (text: string) =>
    run([], { env: { MUSTER_GROUPS: text } }).groups.map(({ name, origin }) => `${name} ${origin}`);
  const url = "http://h/a,b/{key}?fields=a,b,c&x={key},1";
  assert.deepEqual(groups(`a=${url}`), [`a ${url}`]);
  assert.deepEqual(run(["--group", `a=${url}`]).groups, run([], { env: { MUSTER_GROUPS: `a=${url}` } }).groups);
  assert.deepEqual(groups(`a=${url},b=wordnet:,\n c=dict://h`), [`a ${url}`, "b wordnet:", "c dict://h"]);
  assert.deepEqual(groups("a=http://h/{key}?x=1%2Cy=2"), ["a http://h/{key}?x=1%2Cy=2"]);
  for (const text of ["a=http://h/{key},", ",a=x", "a=x, ", "a=x,b="]) {
    assert.equal(faultsOf([], { env: { MUSTER_GROUPS: text } }).length, 1, text);
  }
});

test("of a URL that its commas cut no part stands in a fault", () => {
  const checkOrigin = (origin: string) => void parseOrigin(origin);
  const faults = (text: string) => faultsOf([], { env: { MUSTER_GROUPS: text }, checkOrigin });
  for (
    const text of [
      "a=http://h/{key}?list=1,hush=hush",
      "a=http://h/{key}?list=1,hush=hush:hush,hush==",
      "a=http://h/{key}?list=1,token=hush,token=hush",
      "a=http://me:hush,hush=hush@h/{key}",
      "a=http://me:hush,b,hush=@h/{key},b=wordnet:",
      "a=http://h/{key}?hush,a=wordnet:",
      "a b=http://h/{key}?hush,hush=wordnet:hush",
      'a=ftp://h/{key}?"\\hush',
      'a=ftp://me:"hush@h/{key}',
      "a=ftp://h/$&?hush",
    ]
  ) {
    for (const fault of faults(text)) assert.ok(!fault.includes("hush"), fault);
  }
  assert.deepEqual(faults("a=http://h/{key}?list=1,token=hush"), [
    `--group must be ${options.group.rule}: in MUSTER_GROUPS number 2 is not; it is not shown, as it may be a part of a ` +
    "URL with a comma: write that %2C",
  ]);
  assert.match(faults("a=wordnet:,b=wordnt:")[0]!, /^--group b must have .* current value is "wordnt:"$/);
});

test("an origin is judged by those who know origins", () => {
  const asked: string[] = [];
  run(["--group", "a=x", "--group", "b=y"], { checkOrigin: (origin) => void asked.push(origin) });
  assert.deepEqual(asked, ["x", "y"]);
  const refuse = () => {
    throw new ConfigError("the scheme must be known: x is not");
  };
  assert.deepEqual(faultsOf(["--group", "a=x"], { checkOrigin: refuse }), [
    "--group a must have an origin that can be used: the scheme must be known: x is not",
  ]);
  const breaks = () => {
    throw new TypeError("a mistake in the program");
  };
  assert.throws(() => run([], { checkOrigin: breaks }), TypeError);
  assert.deepEqual(faultsOf(["--group", "a=x", "--group", "a=y"]), [
    "--group must name each group once: a stands twice",
  ]);
});

test("every fault of the file is told with its field", () => {
  const broken = {
    adr: "x",
    config: "y",
    help: true,
    weight: "1",
    zone: 1,
    name: null,
    addr: "nowhere",
    groups: {
      "a b": { origin: "wordnet:" },
      c: { origin: "", budgetBytes: -1, ttlMs: 0, loadTimeoutMs: 1e9, more: 1 },
      d: "wordnet:",
      e: { budgetBytes: "64", ttlMs: 1.5, loadTimeoutMs: null, replicas: 3 },
    },
  };
  assert.deepEqual(faultsOf(withFile, file(broken)), [
    '--config muster.json: has an unknown field "adr"',
    '--config muster.json: has an unknown field "config"',
    '--config muster.json: has an unknown field "help"',
    "--config muster.json: weight must be a number: it is a text",
    "--config muster.json: zone must be a text: it is 1",
    "--config muster.json: name must be a text: it is null",
    '--config muster.json: groups.c has an unknown field "more"',
    "--config muster.json: groups.c.origin must be an origin as --group takes it, without ;ttl=: it is a text",
    "--config muster.json: groups.c.budgetBytes must be a whole number from 0 to 2^40: it is -1",
    "--config muster.json: groups.c.ttlMs must be a whole number from 1, or null for no limit: it is 0",
    "--config muster.json: groups.c.loadTimeoutMs must be a whole number from 1 to 120000: it is 1000000000",
    "--config muster.json: groups.d must be an object: it is a text",
    "--config muster.json: groups.e.origin must be an origin as --group takes it, without ;ttl=: it is missing",
    "--config muster.json: groups.e.budgetBytes must be a whole number from 0 to 2^40: it is a text",
    "--config muster.json: groups.e.ttlMs must be a whole number from 1, or null for no limit: it is 1.5",
    "--config muster.json: groups.e.loadTimeoutMs must be a whole number from 1 to 120000: it is null",
    "--config muster.json: groups.e.replicas must be 1 or 2: it is 3",
    `--addr must be ${options.addr.rule}: addr in the file it is "nowhere"`,
    `--group must be ${options.group.rule}: in the file it is "a b=wordnet:"`,
  ]);
  assert.equal(faultsOf(withFile, file({ groups: {} })).length, 1);
  assert.equal(faultsOf(withFile, file({ groups: [] })).length, 1);
  assert.equal(faultsOf(withFile, file([])).length, 1);
  assert.equal(faultsOf(withFile, file('{"__proto__":{}}')).length, 1);
});

test("a file that cannot be read, is too long or is not JSON is one fault with the place", () => {
  const readFile = () => {
    throw new Error("no such file");
  };
  assert.deepEqual(faultsOf(withFile, { readFile }), [
    '--config must be a file that can be read: "muster.json": no such file',
  ]);
  const places: [text: string, place: string][] = [
    ["", "line 1, column 1: found its end"],
    ['{"zone": "a",}', 'line 1, column 14: found "}"'],
    ['{\n  "zone" "a"\n}', 'line 2, column 10: found "\\""'],
    ['{"weight": 01}', 'line 1, column 13: found "1"'],
    ['{\n"zone": "a"', "line 2, column 12: found its end"],
    ["{} x", 'line 1, column 4: found "x"'],
    ["// no", 'line 1, column 1: found "/"'],
    [`{"zone": "${"a".repeat(1_000_000)}`, 'line 1, column 10: found "\\""'],
  ];
  for (const [text, place] of places) {
    assert.deepEqual(faultsOf(withFile, file(text)), [`--config muster.json: is not JSON at ${place}`]);
  }
  const deep = "is nested deeper than 32 levels at line 1, column";
  assert.deepEqual(faultsOf(withFile, file("[".repeat(1_000_000))), [`--config muster.json: ${deep} 33`]);
  assert.deepEqual(faultsOf(withFile, file(`${'{"a":'.repeat(33)}1${"}".repeat(33)}`)), [
    `--config muster.json: ${deep} 161`,
  ]);
  assert.match(faultsOf(withFile, file(" ".repeat(1024 * 1024 + 1)))[0], /at most 1048576 characters/);
  assert.equal(run(withFile, file(`{"zone":"z"${" ".repeat(1_000_000)}}`)).zone, "z");
});

test("what the file names twice is a fault with the place of the second, as only one of them can be meant", () => {
  const places: [text: string, name: string, place: string][] = [
    ['{"zone": "a", "zone": "b"}', "zone", "line 1, column 15"],
    ['{"zone": "a",\n  "z\\u006fne": "b"}', "zone", "line 2, column 3"],
    ['{"groups": {\n"a": {"origin": "wordnet:"},\n"a": {"origin": "dict://h"}}}', "a", "line 3, column 1"],
    ['{"groups": {"a": {"origin": "wordnet:", "ttlMs": 1, "ttlMs": 2}}}', "ttlMs", "line 1, column 53"],
    ['{"__proto__": 1, "__proto__": 2, "zone": "a", "zone": "b"}', "__proto__", "line 1, column 18"],
  ];
  for (const [text, name, place] of places) {
    assert.deepEqual(faultsOf(withFile, file(text)), [
      `--config muster.json: must name each field once: a second "${name}" stands at ${place}`,
    ]);
  }
  assert.match(faultsOf(withFile, file('{"zone": "a", "zone": "b"'))[0]!, /is not JSON at line 1, column 26/);
  const groups = '{"groups": {"a": {"origin": "wordnet:"}, "b": {"origin": "wordnet:"}}, "name": "origin"}';
  assert.equal(run(withFile, file(groups)).groups.length, 2, "the same in two objects is no fault");
});

test("a byte order mark before the file's text is passed over, one within it is not", () => {
  assert.equal(run(withFile, file('\uFEFF{"zone": "z"}')).zone, "z");
  assert.deepEqual(faultsOf(withFile, file("\uFEFF{x")), [
    '--config muster.json: is not JSON at line 1, column 2: found "x"',
  ]);
  assert.match(faultsOf(withFile, file("\uFEFF\uFEFF{}"))[0]!, /is not JSON at line 1, column 1/);
});

test("the place of a fault agrees with JSON.parse on what is JSON", () => {
  const isJson = (text: string): boolean => {
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  };
  const says = (text: string) => !readConfigFile(text, new Map()).faults.some((fault) => fault.includes("not JSON"));
  const edited = fc.tuple(
    fc.json({ maxDepth: 4 }),
    fc.nat(),
    fc.nat(3),
    fc.constantFrom(...'{}[]",:0-.eE\\utn \n\u0001é'),
  )
    .map(([text, at, cut, add]) =>
      text.slice(0, at % (text.length + 1)) + add + text.slice(at % (text.length + 1) + cut)
    );
  fc.assert(fc.property(fc.oneof(fc.json({ maxDepth: 4 }), edited), (text) => says(text) === isJson(text)), {
    numRuns: 3000,
  });
});

test("a node is listed under the address that it listens on, unless told otherwise", () => {
  const listed = (argv: string[], port: number) => advertised(run(argv), port);
  assert.deepEqual(listed([], 8000), { url: "http://127.0.0.1:8000", name: "127-0-0-1-8000" });
  assert.deepEqual(listed(["--addr", "localhost:0"], 4567), { url: "http://localhost:4567", name: "localhost-4567" });
  assert.deepEqual(listed(["--addr", "[::1]:80"], 80), { url: "http://[::1]:80", name: "---1--80" });
  assert.deepEqual(listed(["--advertise", "https://Cache.Example/"], 8000), {
    url: "https://Cache.Example",
    name: "cache-example-443",
  });
  assert.deepEqual(listed(["--advertise", "http://h:81", "--name", "me"], 1), { url: "http://h:81", name: "me" });
  const long = `${"a".repeat(60)}.${"b".repeat(60)}.example`;
  assert.match(faultsOf(["--addr", `${long}:1`])[0], /^--name must be given/);
  assert.equal(run(["--addr", `${long}:1`, "--name", "short"]).name, "short");
});

test("a node with an address for its peers is listed there, and only that address is encrypted", () => {
  const listed = (argv: string[], port: number) => advertised(run(argv), port).url;
  const tls = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
  const peers = ["--peer-addr", "10.0.0.1:0"];
  assert.equal(listed(peers, 9000), "http://10.0.0.1:9000");
  assert.equal(listed([...peers, ...tls], 9000), "https://10.0.0.1:9000");
  assert.equal(listed([...peers, ...tls, "--advertise", "https://h:1"], 9000), "https://h:1");
  assert.equal(run(["--tls-ca", "ca.pem"]).tlsCa, "ca.pem");
  assert.deepEqual(faultsOf(tls), ["--peer-addr must be given too: it is what --tls-cert encrypts"]);
  assert.deepEqual(faultsOf([...peers, ...tls.slice(0, 2)]), ["--tls-key must be given too: each needs the other"]);
  assert.deepEqual(faultsOf([...peers, ...tls.slice(2)]), ["--tls-cert must be given too: each needs the other"]);
  assert.deepEqual(faultsOf([...peers, "--workers", "2"]), [
    "--peer-addr must not be given with more than one of --workers: each has an address for peers",
  ]);
});

test("workers share a name with a mark each, and no TLS end", () => {
  assert.equal(run(withFile, file({ workers: "auto" })).workers, "auto");
  assert.equal(run(withFile, file({ workers: 2 })).workers, 2);
  assert.deepEqual(faultsOf(withFile, file({ workers: true })), [
    "--config muster.json: workers must be a number or text: it is true",
  ]);
  const rule = "--advertise must be http:// with more than one of --workers: each has a port of its own";
  assert.deepEqual(faultsOf(["--workers", "2", "--advertise", "https://h"]), [rule]);
  run(["--workers", "1", "--advertise", "https://h"]);
  run(["--workers", "2", "--name", "x".repeat(123)]);
  assert.deepEqual(faultsOf(["--workers", "2", "--name", "x".repeat(124)]), [
    "--name must be shorter: it is a name of over 123 characters",
  ]);
});

test("--help tells every flag, variable and default; --version the version of the package", () => {
  const help = parseConfig({ ...nothing, argv: ["--nope", "-help"] });
  assert.equal(help.kind, "help");
  const text = (help as { text: string }).text;
  for (const option of Object.values<{ flag: string; env: string; fallback?: string }>(options)) {
    assert.ok(text.includes(`\n  --${option.flag} `), option.flag);
    assert.ok(text.includes(option.env), option.env);
    assert.ok(text.includes(`default: ${option.fallback ?? ""}`), option.flag);
    assert.match(optionTableMarkdown(), new RegExp(`\\| \`--${option.flag}[ \`]`), option.flag);
  }
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  assert.equal(version, manifest.version);
  assert.deepEqual(parseConfig({ ...nothing, argv: ["--version"] }), { kind: "version", text: `${version}\n` });
  assert.deepEqual(faultsOf(["--version", "--nope"]), ["there is no option --nope"]);
  assert.deepEqual(faultsOf(["--farewel", "3s", "--workrs=2", "--tl", "1m", "--tls"]), [
    "there is no option --farewel: is --farewell meant?",
    "there is no option --workrs: is --workers meant?",
    "there is no option --tl: is --ttl meant?",
    "there is no option --tls",
  ], "the value of a mistyped flag is no fault of its own");
  assert.deepEqual(faultsOf(["--nope", "3s"]).length, 2);
});

test("no variable is read that is not among the named ones", () => {
  const read = new Set<string | symbol>();
  const env = new Proxy({}, { get: (_, name) => void read.add(name) });
  run([], { env });
  assert.deepEqual([...read].sort(), [...environmentNames].sort());
});

test("an address that other machines could not reach is doubted, and no other", () => {
  const doubts = (argv: string[]) => doubtsOf(run(argv)).length;
  const far = ["--nats", "nats://10.0.0.2:4222"];
  const near = ["--nats", "nats://127.0.0.1:4222"];
  assert.match(doubtsOf(run(far))[0]!, /reach this node at 127\.0\.0\.1, which means the local machine/);
  for (const addr of ["0.0.0.0:8000", "[::]:8000"]) {
    assert.equal(doubts(["--addr", addr, ...near]), 1, addr);
    assert.equal(doubts(["--addr", addr, ...far, "--advertise", "http://a:8000"]), 0, addr);
    assert.equal(doubts(["--addr", addr, "--nats", "off"]), 0, addr);
  }
  for (const addr of ["localhost:8000", "[::1]:8000"]) assert.equal(doubts(["--addr", addr, ...far]), 1, addr);
  for (const argv of [near, [], ["--addr", "10.0.0.3:8000", ...far], ["--nats", "nats://[::1]:4222"]]) {
    assert.equal(doubts(argv), 0, argv.join(" "));
  }
});

test("a definition is one group of the file, whose headers stand in it", () => {
  const read = (definition: unknown) =>
    readDefinition("wn", new TextEncoder().encode(JSON.stringify(definition)), () => {});
  const { name, ...rest } = read({ origin: "http://h/{key}", ttlMs: 5, headers: { "X-Key": "secret" } });
  assert.deepEqual([name, rest], ["wn", {
    ...policy,
    origin: "http://h/{key}",
    ttlMs: 5,
    headers: [["x-key", "secret"]],
  }]);
  const faults: [definition: unknown, fault: RegExp][] = [
    [{}, /^origin must be .*: it is missing$/],
    [{ origin: "wordnet:", ttl: 5 }, /^groups\.wn has an unknown field "ttl"$/],
    [{ origin: "wordnet:", ttlMs: "5", replicas: 0 }, /^ttlMs must .*; replicas must /],
    [{ origin: "none:" }, /must be writable/],
    [[], /^groups\.wn must be an object: it is an array$/],
    [{ origin: "http://h/{key}", headers: { a: { file: "/etc/passwd" } } }, /^headers\.a must /],
    [{ origin: "http://h/{key}", headers: { a: { env: "HOME" } } }, /^headers\.a must /],
  ];
  for (const [definition, fault] of faults) {
    assert.throws(() => read(definition), (error: Error) => {
      assert.match(error.message, fault);
      assert.doesNotMatch(error.message, /definition\b.*definition|See --help|\n/);
      return error.name === "ConfigError";
    });
  }
  assert.throws(() => readDefinition("wn", new Uint8Array([0xff]), () => {}), /not JSON in UTF-8/);
});
