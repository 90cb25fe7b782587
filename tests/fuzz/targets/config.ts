/** What operators write: the command line, variables and the file; and origins alone. */
import assert from "node:assert/strict";
import { advertised, doubtsOf } from "../../../lib/config/config.ts";
import { parseConfig } from "../../../lib/config/parse.ts";
import { ConfigError } from "../../../lib/core/errors.ts";
import { type OriginSpec, parseOrigin } from "../../../lib/origins/origin.ts";
import { json, type Target, textOf, tried, utf8 } from "../target.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const checkOrigin = (origin: string): void => void parseOrigin(origin);

/** The parser of the runtime takes more than linear time for more, which only the operator's own shell can give. */
const MAX_ARGUMENTS = 1_000;
/** The same goes for what is longer: thousands of wrong groups take as many error messages. */
const MAX_TEXT_BYTES = 32 * 1024;

/** A line is an argument; one that begins with `$` a variable. Behind a line `{` begins the file. */
function run(input: Bytes): boolean {
  const text = textOf(input.subarray(0, MAX_TEXT_BYTES));
  const brace = text.indexOf("\n{");
  const [lines, file] = brace < 0 ? [text, undefined] : [text.slice(0, brace), text.slice(brace + 1)];
  const [argv, env]: [string[], Record<string, string>] = [[], {}];
  for (const line of lines.split("\n")) {
    const [, name, value] = /^\$(\w+)=(.*)$/s.exec(line) ?? [];
    if (name !== undefined) env[name] = value!;
    else if (line !== "" && argv.length < MAX_ARGUMENTS) argv.push(line);
  }
  const readFile = () => {
    if (file === undefined) throw new Error("there is no such file");
    return file;
  };
  const read = tried(() => parseConfig({ argv, env, readFile, isTerminal: true, checkOrigin }), ConfigError);
  if (read === undefined) return false;
  const [parsed] = read;
  if (parsed.kind !== "run") return true;
  const { config } = parsed;
  assert.equal(new URL(advertised(config, 8_000).url).username, "");
  assert.match(advertised(config, 8_000).name, /^[A-Za-z0-9_-]{1,128}$/);
  doubtsOf(config);
  assert.ok(config.groups.length > 0);
  return true;
}

function runFile(input: Bytes): boolean {
  return run(utf8(`--config=muster.json\n${textOf(input).trimStart()}`));
}

function runOrigin(input: Bytes): boolean {
  let spec: OriginSpec;
  try {
    spec = parseOrigin(textOf(input));
  } catch (error) {
    // Its message holds the whole text: the configuration shows it without a login, and cut.
    if (error instanceof ConfigError) return false;
    throw error;
  }
  if (spec.kind === "dict") assert.ok(spec.port > 0 && /^[\w.-]+$|^[0-9a-f:.]+$/i.test(spec.host), spec.host);
  if (spec.kind === "site") assert.ok(new URL(spec.base).href === spec.base && spec.base.endsWith("/"));
  return true;
}

const policy = { origin: "http://h/{key}", ttlMs: 1_000, hosts: [], headers: { "x-a": { env: "A" }, "x-b": "b" } };

export const configTargets: readonly Target[] = [
  {
    name: "options",
    seeds: [
      utf8("--addr\n127.0.0.1:0\n--group\ndict=dict://127.0.0.1\n--nats=off"),
      utf8("-addr=[::1]:8000\n--advertise=https://cache.example.com\n--name=a\n--weight=0.5\n--zone=eu"),
      utf8(
        "--\n$MUSTER_GROUPS=a=http://h/{key}?a=1,2,b=wordnet:;ttl=1m, c=none:\n$NATS_URL=nats://user:s3cret@a,b:4223",
      ),
      utf8(
        "--workers=auto\n--ttl=7d\n--drain-timeout=2.5s\n--poll-interval=250ms\n--poll-jitter=0.5\n--groups-from-nats",
      ),
      utf8(`--config=f\n--group=a=wordnet:\n${JSON.stringify({ addr: "127.0.0.1:1", groups: { a: policy } })}`),
      utf8("--help"),
      utf8("--group=a=http://u:p@h/{key},x\n--nats=tls://t0ken@h:1,tls://h:2"),
    ],
    tokens: [
      ...[
        "--addr",
        "--group",
        "--nats",
        "--name",
        "--config",
        "--ttl",
        "\n",
        "\n--",
        "=",
        "\n$",
        "MUSTER_GROUPS",
        ";ttl=",
      ],
      ...[",a=", "@", "://", "{key}", "/*", "off", "auto", "[::1]", ":0", "--no-", "-", "__proto__", "--__proto__"],
    ],
    run,
  },
  {
    name: "config-files",
    seeds: [
      json({
        addr: "127.0.0.1:8000",
        replicas: 3,
        workers: "auto",
        weight: 0.5,
        groups: { dict: { origin: "wordnet:" } },
      }),
      json({ groups: { a: policy, b: { origin: "http://h/*", hosts: ["H.example", "h:81"], retries: 1 } } }),
      json({ nats: "nats://user:s3cret@127.0.0.1", log: "json", groupsFromNats: "on" }),
    ],
    tokens: [
      "addr",
      "groups",
      "origin",
      "hosts",
      "headers",
      "file",
      "env",
      "ttlMs",
      "\ufeff",
      "//",
      "/*",
      "*/",
      ",",
      "workers",
    ],
    isJson: true,
    run: runFile,
  },
  {
    name: "origins",
    seeds: [
      ...["wordnet:", "none:", "dict://127.0.0.1:2628/wn", "dict://[::1]/%77n", "http://example.com/a/{key}?b={+key}"],
      ...["https://example.com:8443/base/*", "module:./origin.ts", "module:file:///a/b.js"],
    ].map(utf8),
    tokens: [
      "{key}",
      "{+key}",
      "/*",
      "dict://",
      "http://",
      "module:",
      "file:///",
      "@",
      "#",
      "?",
      "%",
      "..",
      "[::1]",
      ":0",
    ],
    run: runOrigin,
  },
];
