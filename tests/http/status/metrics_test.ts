import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { GroupStats } from "../../../lib/core/group/stats.ts";
import type { GroupFigures, LinkFigures } from "../../../lib/http/ports.ts";
import { bothRuntimes, startNode } from "../../support/node.ts";
import { test } from "../../support/test.ts";
import { until } from "../../support/until.ts";
import { appWith, MemoryGroup, rawRequest, serve } from "../support.ts";

/** The metrics of a group, each with the path of its figure in `/stats`. */
const groupMetrics: Readonly<Record<string, string>> = {
  muster_gets_total: "gets",
  muster_cache_hits_total: "cacheHits",
  muster_peer_loads_total: "peerLoads",
  muster_peer_errors_total: "peerErrors",
  muster_loads_total: "loads",
  muster_loads_deduped_total: "loadsDeduped",
  muster_local_loads_total: "localLoads",
  muster_local_load_errs_total: "localLoadErrs",
  muster_server_requests_total: "serverRequests",
  muster_origin_loads_total: "originLoads",
  muster_hedges_total: "hedges",
  muster_peeks_total: "peeks",
  muster_peek_hits_total: "peekHits",
  muster_entries_pushed_total: "entriesPushed",
  muster_entries_taken_total: "entriesTaken",
  muster_stale_hits_total: "staleHits",
  muster_refreshes_total: "refreshes",
  muster_stale_on_error_total: "staleOnError",
  muster_behind_peers_total: "behindPeers",
  muster_origin_unreachable: "originUnreachable",
  muster_invalidations_applied_total: "invalidation.applied",
  muster_invalidations_refused_total: "invalidation.refused",
  muster_invalidations_dropped_total: "invalidation.dropped",
  muster_invalidations_softened_total: "invalidation.softened",
  muster_guard_running: "guard.running",
  muster_guard_queued: "guard.queued",
  muster_guard_limit: "guard.limit",
  muster_guard_share: "guard.share",
  muster_guard_refused_total: "guard.refused",
  muster_guard_broken_total: "guard.broken",
  muster_guard_retries_total: "guard.retries",
  muster_roster_revision: "roster.revision",
  muster_roster_peers: "roster.peers.length",
};
/** The same for one cache of a group. */
const cacheMetrics: Readonly<Record<string, string>> = {
  muster_cache_bytes: "bytes",
  muster_cache_memory_bytes: "memoryBytes",
  muster_cache_items: "items",
  muster_cache_gets_total: "gets",
  muster_cache_lookup_hits_total: "hits",
  muster_cache_evictions_total: "evictions",
};
/** The same for a link. */
const linkMetrics: Readonly<Record<string, string>> = {
  muster_link_asks_in_flight: "asksInFlight",
  muster_link_served_in_flight: "servedInFlight",
  muster_link_asked_total: "asked",
  muster_link_answered_total: "answered",
  muster_link_frames_out_total: "framesOut",
  muster_link_frames_in_total: "framesIn",
  muster_link_bytes_out_total: "bytesOut",
};
/** Those of the node, in `/stats` under `log`; each with its factor. */
const logMetrics: Readonly<Record<string, readonly [path: string, factor: number]>> = {
  muster_log_applied: ["applied", 1],
  muster_log_blind_seconds: ["blindMs", 1 / 1_000],
  muster_invalidation_durable_seconds: ["lastDurableMs", 1 / 1_000],
  muster_invalidation_applied_by_all_seconds: ["lastAppliedByAllMs", 1 / 1_000],
};
const gauges = [
  "muster_origin_unreachable",
  "muster_node_info",
  "muster_ready",
  "muster_peer_behind",
  ...Object.keys(logMetrics),
  ...["running", "queued", "limit", "share", "breaker_open"].map((figure) => `muster_guard_${figure}`),
  "muster_roster_revision",
  "muster_roster_peers",
  "muster_cache_bytes",
  "muster_cache_memory_bytes",
  "muster_cache_items",
  "muster_link_up",
  "muster_link_asks_in_flight",
  "muster_link_served_in_flight",
];
const allNames = [
  ...gauges,
  ...[groupMetrics, cacheMetrics, linkMetrics].flatMap(Object.keys).filter((name) => !gauges.includes(name)),
].sort();

interface Exposition {
  /** The type, by the name of the metric. */
  readonly types: ReadonlyMap<string, string>;
  /** The value, by `name{label=value,…}`: the labels sorted, their values as JSON. */
  readonly samples: ReadonlyMap<string, number>;
}

/**
 * Reads the text format 0.0.4 strictly. Written from its description
 * (https://prometheus.io/docs/instrumenting/exposition_formats/), not from the library's output.
 */
function parse(text: string): Exposition {
  const types = new Map<string, string>();
  const helps = new Set<string>();
  const samples = new Map<string, number>();
  const ended = new Set<string>();
  let family = "";
  assert.ok(text.endsWith("\n"), "the last line has an end, too");
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const meta = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
    const name = meta === null ? /^[a-zA-Z_:][a-zA-Z0-9_:]*/.exec(line)?.[0] : meta[2];
    assert.ok(name !== undefined, `no line of this format: ${line}`);
    if (name !== family) {
      assert.ok(!ended.has(name), `${name} stands in two places`);
      ended.add(family);
      family = name;
    }
    if (meta?.[1] === "HELP") {
      assert.ok(!helps.has(name), `two helps for ${name}`);
      helps.add(name);
    } else if (meta?.[1] === "TYPE") {
      assert.ok(!types.has(name), `two types for ${name}`);
      assert.match(meta[3], /^(counter|gauge)$/);
      types.set(name, meta[3]);
    } else {
      assert.ok(types.has(name) && helps.has(name), `a sample before the type and the help of ${name}`);
      const { labels, rest } = parseLabels(line.slice(name.length));
      const value = /^ (\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/.exec(rest);
      assert.ok(value !== null, `no value: ${line}`);
      const key = sample(name, labels);
      assert.ok(!samples.has(key), `${key} stands twice`);
      samples.set(key, Number(value[1]));
    }
  }
  return { types, samples };
}

function parseLabels(text: string): { labels: Record<string, string>; rest: string } {
  const labels: Record<string, string> = {};
  if (!text.startsWith("{")) return { labels, rest: text };
  let rest = text.slice(1);
  while (!rest.startsWith("}")) {
    const label = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"/.exec(rest);
    assert.ok(label !== null && !(label[1] in labels), `no label: ${rest}`);
    labels[label[1]] = label[2].replace(/\\(.)/g, (_, escaped) => escaped === "n" ? "\n" : escaped);
    rest = rest.slice(label[0].length);
    if (rest.startsWith(",")) rest = rest.slice(1);
    else assert.ok(rest.startsWith("}"), `labels without an end: ${rest}`);
  }
  return { labels, rest: rest.slice(1) };
}

function sample(name: string, labels: Readonly<Record<string, string>> = {}): string {
  return `${name}{${Object.keys(labels).sort().map((label) => `${label}=${JSON.stringify(labels[label])}`)}}`;
}

function figuresFrom(first: number): GroupStats & GroupFigures {
  const next = () => first++;
  const cache = () => ({
    bytes: next(),
    memoryBytes: next(),
    items: next(),
    gets: next(),
    hits: next(),
    evictions: next(),
  });
  return {
    gets: next(),
    cacheHits: next(),
    peerLoads: next(),
    peerErrors: next(),
    loads: next(),
    loadsDeduped: next(),
    localLoads: next(),
    localLoadErrs: next(),
    serverRequests: next(),
    originLoads: next(),
    hedges: next(),
    peeks: next(),
    peekHits: next(),
    entriesPushed: next(),
    entriesTaken: next(),
    staleHits: next(),
    refreshes: next(),
    staleOnError: next(),
    mainCache: cache(),
    hotCache: cache(),
    roster: { revision: next(), peers: [] },
    behindPeers: next(),
    originUnreachable: next(),
    invalidation: { applied: next(), refused: next(), dropped: next(), softened: next(), last: [] },
    guard: {
      running: next(),
      queued: next(),
      limit: next(),
      share: next(),
      refused: next(),
      broken: next(),
      breaker: "half-open",
      retries: next(),
    },
  };
}

function linkTo(name: string, first: number, state = "open"): LinkFigures {
  return {
    name,
    state,
    asked: first,
    answered: first + 1,
    asksInFlight: first + 2,
    servedInFlight: first + 3,
    framesOut: first + 4,
    framesIn: first + 5,
    bytesOut: first + 6,
  };
}

// deno-lint-ignore no-explicit-any
type Json = any;

/** What `/metrics` has to show when `/stats` shows this. */
function expectedSamples(stats: Json, ready: number): Map<string, number> {
  const at = (from: Json, path: string) => path.split(".").reduce((value, name) => value?.[name], from);
  const { name, incarnation, version, runtime } = stats;
  const expected = new Map([
    [sample("muster_node_info", { name, incarnation, version, runtime }), 1],
    [sample("muster_ready"), ready],
  ]);
  for (const [group, figures] of Object.entries<Json>(stats.groups)) {
    for (const [metric, path] of Object.entries(groupMetrics)) {
      const figure = at(figures, path);
      if (figure != null || !path.startsWith("guard.")) expected.set(sample(metric, { group }), figure);
    }
    const breaker: string | undefined = figures.guard?.breaker;
    const isOpen: Record<string, number> = { closed: 0, "half-open": 0.5, open: 1 };
    if (breaker != null) expected.set(sample("muster_guard_breaker_open", { group }), isOpen[breaker]!);
    for (const [metric, path] of Object.entries(cacheMetrics)) {
      expected.set(sample(metric, { group, cache: "main" }), at(figures.mainCache, path));
      expected.set(sample(metric, { group, cache: "hot" }), at(figures.hotCache, path));
    }
  }
  for (const [metric, [path, factor]] of Object.entries(logMetrics)) {
    const value = stats.log?.[path];
    if (value !== undefined) expected.set(sample(metric), value * factor);
  }
  for (const { name: peer, behindBy } of stats.log?.peers ?? []) {
    expected.set(sample("muster_peer_behind", { peer }), behindBy);
  }
  for (const link of stats.links ?? []) {
    const peer = link.name;
    for (const [metric, path] of Object.entries(linkMetrics)) expected.set(sample(metric, { peer }), at(link, path));
    expected.set(sample("muster_link_up", { peer }), link.state === "open" ? 1 : 0);
  }
  return expected;
}

interface Requestable {
  request(url: string): Response | Promise<Response>;
}

async function scrape(app: Requestable): Promise<Exposition> {
  const response = await app.request("http://h/metrics");
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  assert.equal(response.headers.get("cache-control"), "no-store");
  return parse(await response.text());
}

/** An app whose every figure is another number. */
function busyApp() {
  const made = appWith();
  made.dict.figures = figuresFrom(1_000);
  made.g.figures = figuresFrom(2_000);
  made.state.log = {
    epoch: 7,
    applied: 9_000,
    blindMs: 250,
    peers: [{ name: "n2", behindBy: 3 }, { name: "n3", behindBy: 0 }],
    lastDurableMs: 500,
    lastAppliedByAllMs: 1_500,
  };
  made.state.links = [linkTo("n2", 100), linkTo("n3", 200, "down"), linkTo("n4", 300, "connecting")];
  return made;
}

test("the parser of this test takes what the format allows, and nothing else", () => {
  const head = "# HELP a b\n# TYPE a counter\n";
  assert.deepEqual(
    [...parse(`${head}a 1\na{x="\\"\\\\\\n,}",y=""} 2.5e+3\n`).samples],
    [["a{}", 1], [sample("a", { x: '"\\\n,}', y: "" }), 2_500]],
  );
  const bad = ["a 1\n", `${head}a 1`, `${head}a\n`, `${head}a -1\n`, `${head}a NaN\n`, `${head}a 1\na 1\n`];
  bad.push(
    `${head}a{x="1} 1\n`,
    `${head}a{x="\\t"} 1\n`,
    `${head}a{x="1" y="2"} 1\n`,
    `${head}${head}`,
    `${head}1 1\n`,
  );
  bad.push(`${head}# HELP b c\n# TYPE b gauge\na 1\n`, "# HELP a b\n# TYPE a histogram\n");
  for (const text of bad) assert.throws(() => parse(text), assert.AssertionError, text);
});

test("every metric has its name, its type and a help, even without a sample", async () => {
  const { types } = await scrape(appWith({ groups: new Map() }).app);
  assert.deepEqual([...types.keys()].sort(), allNames);
  for (const [name, type] of types) assert.equal(type, gauges.includes(name) ? "gauge" : "counter", name);
});

test("the numbers are those of /stats, each of its own group, cache and peer", async () => {
  const { app, state } = busyApp();
  for (const ready of [1, 0]) {
    state.ready = ready === 1;
    const stats = await (await app.request("http://h/stats")).json();
    const { samples } = await scrape(app);
    assert.deepEqual(new Map([...samples].sort()), new Map([...expectedSamples(stats, ready)].sort()));
  }
});

test("a second scrape doubles nothing, and shows the new counts", async () => {
  const { app, g } = busyApp();
  const first = await scrape(app);
  const [second, third] = await Promise.all([scrape(app), scrape(app)]);
  assert.deepEqual(second, first);
  assert.deepEqual(third, first);

  g.figures = { ...g.figures, gets: 5_000 };
  const { samples } = await scrape(app);
  const gets = sample("muster_gets_total", { group: "g" });
  assert.deepEqual([...samples].filter(([key, value]) => value !== first.samples.get(key)), [[gets, 5_000]]);
});

test("a peer that left disappears, and a new one appears", async () => {
  const { app, state } = busyApp();
  const peersIn = ({ samples }: Exposition) =>
    [...new Set([...samples.keys()].flatMap((key) => /peer="([^"]*)"/.exec(key)?.[1] ?? []))].sort();
  assert.deepEqual(peersIn(await scrape(app)), ["n2", "n3", "n4"]);
  const peersBehind = (...names: string[]) => names.map((name) => ({ name, behindBy: 1 }));
  state.log = { ...state.log!, peers: peersBehind("n3", "n5") };
  state.links = [linkTo("n3", 0), linkTo("n5", 0)];
  assert.deepEqual(peersIn(await scrape(app)), ["n3", "n5"]);
  state.log = { ...state.log!, peers: [] };
  state.links = [];
  assert.deepEqual(peersIn(await scrape(app)), []);
});

test("a peer that has told of more than this node has applied is behind by less than nothing", async () => {
  const { app, state } = appWith();
  state.log = { epoch: 7, applied: 2, blindMs: 0, peers: [{ name: "n2", behindBy: -3 }] };
  const text = await (await app.request("http://h/metrics")).text();
  assert.match(text, /^muster_peer_behind\{peer="n2"\} -3$/m);
  assert.doesNotMatch(text, /^muster_invalidation_durable_seconds /m, "there was none yet");
});

test("names of groups and peers are escaped, whatever they contain", async () => {
  const names = ['"', "\\", "\n", "\\n", '\\"', "}", 'a",group="b', "# TYPE", "ä€😀", "__proto__", "constructor", ""];
  const groups = new Map(names.map((name) => [name, new MemoryGroup(name)]));
  for (const [name, group] of groups) group.figures = figuresFrom(1_000 * names.indexOf(name));
  const { app, state } = appWith({ groups });
  state.links = names.map((name, index) => linkTo(name, 100 * index));
  const { samples } = await scrape(app);
  names.forEach((name, index) => {
    assert.equal(samples.get(sample("muster_cache_bytes", { group: name, cache: "main" })), 1_000 * index + 18, name);
    assert.equal(samples.get(sample("muster_link_asked_total", { peer: name })), 100 * index, name);
  });
});

test("a figure that a group does not count is left out, and is not 0", async () => {
  const { app } = appWith();
  const { samples } = await scrape(app);
  assert.deepEqual([...samples.keys()].filter((key) => key.includes("group=")).sort(), [
    sample("muster_gets_total", { group: "dict" }),
    sample("muster_gets_total", { group: "g" }),
  ]);
});

test("a guard without a limit or a breaker has no figure for it", async () => {
  const { app, g } = appWith();
  const { guard } = figuresFrom(1);
  g.figures = { guard: { ...guard!, limit: null, share: null, breaker: null } };
  const { samples } = await scrape(app);
  const shown = [...samples.keys()].flatMap((key) => /^muster_guard_(\w+)/.exec(key)?.[1] ?? []).sort();
  assert.deepEqual(shown, ["broken_total", "queued", "refused_total", "retries_total", "running"]);
});

test("two nodes of one process keep their figures apart", async () => {
  const one = appWith();
  const other = appWith();
  one.g.figures = { hedges: 1 };
  other.g.figures = { hedges: 2 };
  const hedges = async ({ app }: typeof one) =>
    (await scrape(app)).samples.get(sample("muster_hedges_total", { group: "g" }));
  assert.deepEqual(await Promise.all([one, other, one].map(hedges)), [1, 2, 1]);
});

test("HEAD answers as GET does, other methods are refused, and no group is asked for a value", async (defer) => {
  const { app, g } = busyApp();
  const port = serve(app.fetch, defer);
  const get = await rawRequest(port, "/metrics");
  const head = await rawRequest(port, "/metrics", "HEAD");
  assert.deepEqual([get.status, head.status, head.body], [200, 200, ""]);
  assert.equal(get.headers.get("content-length"), String(Buffer.byteLength(get.body)));
  for (const name of ["content-type", "content-length", "cache-control", "x-content-type-options"]) {
    assert.ok(get.headers.has(name), name);
    assert.equal(head.headers.get(name), get.headers.get(name), name);
  }
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
    const response = await app.request("http://h/metrics", { method });
    assert.equal(response.status, 405);
    assert.equal(response.headers.get("allow"), "GET, HEAD");
  }
  assert.equal((await app.request("http://h/metrics/")).status, 404);
  assert.deepEqual(g.calls, []);
});

test("figures that cannot be had are a logged 500 without their message", async () => {
  const { app, g, log } = appWith();
  g.stats = () => {
    throw new Error("secret");
  };
  const response = await app.request("http://h/metrics");
  assert.equal(response.status, 500);
  assert.doesNotMatch(await response.text(), /secret/);
  assert.deepEqual(log.lines, ["error cannot answer GET /metrics: Error: secret"]);
});

for (const kind of bothRuntimes) {
  test(`a real node on ${kind} shows what its /stats shows`, { timeoutMs: 60_000 }, async (defer) => {
    const groups = ["--group", "dict=wordnet:", "--group", "idle=wordnet:"];
    const node = await startNode(defer, kind, ["--nats", "off", ...groups]);
    await until(async () => (await fetch(`${node.url}/readyz`)).status === 200, 15_000, () => "it never got ready");
    for (const word of ["piston", "piston", "nosuchword"]) await (await fetch(`${node.url}/define/${word}`)).text();
    const exposition = await scrape({ request: () => fetch(`${node.url}/metrics`) });
    const stats = await (await fetch(`${node.url}/stats`)).json();
    assert.deepEqual([...exposition.types.keys()].sort(), allNames);
    assert.deepEqual(new Map([...exposition.samples].sort()), new Map([...expectedSamples(stats, 1)].sort()));
    assert.equal(exposition.samples.get(sample("muster_gets_total", { group: "dict" })), 3);
    assert.equal(exposition.samples.get(sample("muster_local_load_errs_total", { group: "dict" })), 1);
  });
}
