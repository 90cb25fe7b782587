import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import {
  advertised,
  type Config,
  type ConfigInput,
  doubtsOf,
  environmentNames,
  optionTableMarkdown,
  parseConfig,
  version,
} from "../../lib/config/config.ts";
import { readConfigFile } from "../../lib/config/file.ts";
import { options, redacted } from "../../lib/config/options.ts";
import { ConfigError } from "../../lib/core/errors.ts";
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

const file = (content: unknown): Partial<ConfigInput> => ({
  readFile: (path) => {
    assert.equal(path, "muster.json");
    return typeof content === "string" ? content : JSON.stringify(content);
  },
});
const withFile = ["--config", "muster.json"];

test("without any option a node has the documented defaults", () => {
  assert.deepEqual(run([]), {
    addr: { host: "127.0.0.1", port: 8000 },
    advertise: undefined,
    name: undefined,
    nats: { kind: "embedded", port: 4222, storeDir: ".muster/nats" },
    bucket: "peers",
    replicas: 1,
    groups: [{
      name: "dict",
      origin: "wordnet:",
      budgetBytes: 64 * 1024 * 1024,
      ttlMs: null,
      loadTimeoutMs: 10_000,
      replicas: 1,
      hotAfterFetches: 2,
    }],
    log: "text",
    weight: 1,
    zone: "",
    workers: 1,
    drainTimeoutMs: 5_000,
    polling: { pollIntervalMs: 800, pollTimeoutMs: 250, pollMisses: 6, pollJitter: 0.1 },
  });
  assert.equal(run([], { isTerminal: false }).log, "json");
});

test("every option is taken from its flag, its variable and, where it may stand there, its field in the file", () => {
  const said: Record<string, string | number> = {
    addr: "127.0.0.1:1",
    advertise: "https://cache.example",
    name: "n1",
    nats: "nats://h:1",
    natsPort: 14222,
    natsStore: "/tmp/store",
    bucket: "b",
    replicas: 3,
    group: "g=dict://h",
    log: "json",
    weight: 2.5,
    zone: "z.1",
    workers: 3,
    drainTimeout: "2.5s",
    pollInterval: "100ms",
    pollTimeout: "1s",
    pollMisses: 3,
    pollJitter: 0.25,
  };
  for (const [field, option] of Object.entries(options)) {
    if (field === "config") continue;
    const value = said[field];
    assert.notEqual(value, undefined, field);
    const argv = [`--${option.flag}`, String(value)];
    const want = run(argv);
    assert.notDeepEqual(want, run([]), field);
    assert.deepEqual(run([argv.join("=")]), want, field);
    assert.deepEqual(run([`-${argv[0].slice(2)}`, argv[1]]), want, field);
    assert.deepEqual(run([`-${argv.join("=").slice(2)}`]), want, field);
    assert.deepEqual(run([], { env: { [option.env]: String(value) } }), want, field);
    if (field !== "group") assert.deepEqual(run(withFile, file({ [field]: value })), want, field);
  }
  assert.deepEqual(run([], { env: { MUSTER_CONFIG: "muster.json" }, ...file({ zone: "z" }) }).zone, "z");
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
  const policy = { budgetBytes: 67108864, ttlMs: null, loadTimeoutMs: 10_000, replicas: 1, hotAfterFetches: 2 };
  const mine = { budgetBytes: 1000, ttlMs: 5000, loadTimeoutMs: 100, replicas: 2, hotAfterFetches: 0 };
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
    ["drain-timeout", ["2s", "2500ms", "2.5s", "600s"], ["5", "1s", "1999ms", "601s", "5m", "-5s", "5 s", ""]],
    ["poll-interval", ["10ms", "0.25s", "60s"], ["9ms", "61s", "0", "1e3ms"]],
    ["poll-misses", ["1", "1000"], ["0", "1001", "1.5"]],
    ["poll-jitter", ["0", "0.1", "0.5"], ["0.6", "1", "-0.1", ".1"]],
    ["zone", ["", "eu-1.a_B", "x".repeat(64)], ["a b", "a/b", "x".repeat(65), "ä"]],
    ["workers", ["1", "256", "auto"], ["0", "257", "1.5", "-1", "", "AUTO", "auto "]],
    ["log", ["text", "json"], ["", "TEXT", "xml"]],
    ["group", ["a=x", "A_-9=dict://h/*", `${"x".repeat(64)}=y`], ["", "a", "=x", "a=", "a.b=x", `${"x".repeat(65)}=y`]],
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
    "--config muster.json: groups.c.origin must be an origin as --group takes it: it is a text",
    "--config muster.json: groups.c.budgetBytes must be a whole number from 0 to 2^40: it is -1",
    "--config muster.json: groups.c.ttlMs must be a whole number from 1, or null for no limit: it is 0",
    "--config muster.json: groups.c.loadTimeoutMs must be a whole number from 1 to 120000: it is 1000000000",
    "--config muster.json: groups.d must be an object: it is a text",
    "--config muster.json: groups.e.origin must be an origin as --group takes it: it is missing",
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
    assert.ok(optionTableMarkdown().includes(`| \`--${option.flag} `), option.flag);
  }
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  assert.equal(version, manifest.version);
  assert.deepEqual(parseConfig({ ...nothing, argv: ["--version"] }), { kind: "version", text: `${version}\n` });
  assert.deepEqual(faultsOf(["--version", "--nope"]), ["there is no option --nope"]);
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
