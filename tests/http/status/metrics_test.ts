import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { type GroupStats, latenciesOf } from "../../../lib/core/group/stats.ts";
import { BOUNDS_SECONDS } from "../../../lib/core/measure/histogram.ts";
import { FINDING_KINDS, type GroupFigures, type LinkFigures } from "../../../lib/http/figures.ts";
import { between, exchanged } from "../../readme/markers.ts";
import { bothRuntimes, root, startNode } from "../../support/node.ts";
import { test } from "../../support/test.ts";
import { until } from "../../support/until.ts";
import { appWith, MemoryGroup, rawRequest, serve } from "../support.ts";
import { type Exposition, parse, sample } from "./exposition.ts";
import { metricsMarkdown } from "./metrics-table.ts";

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
  muster_group_budget_bytes: "about.budgetBytes",
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
/** Those of the node, each with its factor. */
const nodeMetrics: Readonly<Record<string, readonly [path: string, factor: number]>> = {
  muster_requests_in_flight: ["requestsInFlight", 1],
  muster_nats_connected: ["registry.contact.isConnected", 1],
  muster_nats_state_timestamp_seconds: ["registry.contact.sinceMs", 1 / 1_000],
  muster_nats_round_trip_seconds: ["registry.contact.roundTripMs", 1 / 1_000],
  muster_nats_connections_total: ["registry.contact.connections", 1],
  muster_heap_bytes: ["usage.heapBytes", 1],
  muster_open_files: ["usage.openFiles", 1],
  muster_open_files_max: ["usage.maxOpenFiles", 1],
  process_resident_memory_bytes: ["usage.residentBytes", 1],
  process_cpu_seconds_total: ["usage.cpuSeconds", 1],
  process_start_time_seconds: ["usage.startedAtMs", 1 / 1_000],
  muster_log_applied: ["log.applied", 1],
  muster_log_blind_seconds: ["log.blindMs", 1 / 1_000],
  muster_invalidation_durable_seconds: ["log.lastDurableMs", 1 / 1_000],
  muster_invalidation_applied_by_all_seconds: ["log.lastAppliedByAllMs", 1 / 1_000],
};
/** Histograms, each with its path in a group or in the node. */
const groupTimes: Readonly<Record<string, string>> = {
  muster_response_duration_seconds: "latency.client",
  muster_hop_duration_seconds: "latency.hop",
  muster_origin_duration_seconds: "latency.origin",
};
const nodeTimes: Readonly<Record<string, string>> = {
  muster_invalidation_lag_seconds: "log.lag",
  muster_event_loop_delay_seconds: "loopDelay",
};
const histograms = [groupTimes, nodeTimes].flatMap(Object.keys);
const counted = ["muster_responses_total", "muster_route_responses_total"];
const gauges = [
  "muster_origin_unreachable",
  "muster_node_info",
  "muster_ready",
  "muster_peer_behind",
  "muster_findings",
  "muster_origin_failing",
  "muster_group_budget_bytes",
  ...Object.keys(nodeMetrics).filter((name) => !name.endsWith("_total")),
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
  ...[groupMetrics, cacheMetrics, linkMetrics, nodeMetrics].flatMap(Object.keys).filter((name) =>
    !gauges.includes(name)
  ),
  ...histograms,
  ...counted,
].sort();

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
    latency: latenciesOf({ client: times(next()), hop: times(next()), origin: times(next()) }),
    answers: { "200": next(), "5xx": next() },
    about: { origin: "wordnet:", lifetime: "no end", budgetBytes: next() },
    health: { loads: next(), failures: next(), failuresInRow: 0 },
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

/** As many times, all in different buckets as far as they go. */
function times(count: number) {
  return { count, sumSeconds: count / 10, buckets: { "0.001": 1, "0.25": count - 3, "+Inf": 2 } };
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
    const { health, answers = {} } = figures;
    if (health !== undefined) {
      expected.set(sample("muster_origin_failing", { group }), health.failingSinceMs === undefined ? 0 : 1);
    }
    for (const [code, count] of Object.entries<number>(answers)) {
      expected.set(sample("muster_responses_total", { group, code }), count);
    }
    for (const [metric, path] of Object.entries(groupTimes)) addTimes(expected, metric, { group }, at(figures, path));
    for (const [metric, path] of Object.entries(cacheMetrics)) {
      expected.set(sample(metric, { group, cache: "main" }), at(figures.mainCache, path));
      expected.set(sample(metric, { group, cache: "hot" }), at(figures.hotCache, path));
    }
  }
  for (const [metric, [path, factor]] of Object.entries(nodeMetrics)) {
    const value = at(stats, path);
    if (value != null) expected.set(sample(metric), Number(value) * factor);
  }
  for (const what of FINDING_KINDS) {
    expected.set(sample("muster_findings", { what }), stats.findings.filter((one: Json) => one.what === what).length);
  }
  for (const [route, counts] of Object.entries<Json>(stats.routeAnswers ?? {})) {
    for (const [code, count] of Object.entries<number>(counts)) {
      expected.set(sample("muster_route_responses_total", { route, code }), count);
    }
  }
  for (const [metric, path] of Object.entries(nodeTimes)) addTimes(expected, metric, {}, at(stats, path));
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

/** The buckets of Prometheus count all that took at most so long. */
function addTimes(expected: Map<string, number>, metric: string, labels: Record<string, string>, figures: Json): void {
  if (figures == null) return;
  let count = 0;
  for (const le of [...BOUNDS_SECONDS.map(String), "+Inf"]) {
    count += figures.buckets[le] ?? 0;
    expected.set(sample(`${metric}_bucket`, { ...labels, le }), count);
  }
  expected.set(sample(`${metric}_sum`, labels), figures.sumSeconds);
  expected.set(sample(`${metric}_count`, labels), figures.count);
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
    lag: times(40),
  };
  made.state.links = [linkTo("n2", 100), linkTo("n3", 200, "down"), linkTo("n4", 300, "connecting")];
  made.state.more = {
    registry: {
      kind: "nats",
      isAway: false,
      ignored: [{ key: "dict.x", fault: "it is no JSON" }],
      contact: { isConnected: true, sinceMs: 1_700_000_000_000, roundTripMs: 1.5, connections: 3 },
    },
    usage: {
      startedAtMs: 1_600_000_000_000,
      residentBytes: 11,
      heapBytes: 12,
      cpuSeconds: 13.5,
      openFiles: 14,
      maxOpenFiles: 15,
    },
    loopDelay: times(50),
    requestsInFlight: 16,
    routeAnswers: { cache: { "404": 17 }, none: { "400": 18 } },
  };
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
  bad.push(`${head}# HELP b c\n# TYPE b gauge\na 1\n`, "# HELP a b\n# TYPE a summary\n");
  for (const text of bad) assert.throws(() => parse(text), assert.AssertionError, text);
});

test("the README's table has every metric, with its type, its labels and its help", async () => {
  const readme = readFileSync(`${root}/lib/http/status/metrics/README.md`, "utf8");
  const table = metricsMarkdown(await scrape(busyApp().app));
  if (process.env.MUSTER_WRITE_METRICS !== undefined) {
    writeFileSync(`${root}/lib/http/status/metrics/README.md`, exchanged(readme, "metrics", table));
    return;
  }
  assert.equal(
    cellsOf(between(readme, "metrics")),
    cellsOf(table),
    "write it anew: MUSTER_WRITE_METRICS=1, then deno fmt",
  );
});

/** As it is before `deno fmt` aligns the columns. */
function cellsOf(table: string | undefined): string | undefined {
  return table?.replace(/ +\|/g, " |").replace(/-+/g, "-").trim();
}

test("every metric has its name, its type and a help, even without a sample", async () => {
  const { types } = await scrape(appWith({ groups: new Map() }).app);
  assert.deepEqual([...types.keys()].sort(), allNames);
  const typeOf = (name: string) =>
    gauges.includes(name) ? "gauge" : histograms.includes(name) ? "histogram" : "counter";
  for (const [name, type] of types) assert.equal(type, typeOf(name), name);
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

/** What promtool has to say of an answer. */
function promtoolCheck(text: string): string {
  const { stdout, stderr } = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
  return stdout + stderr;
}

/** What has changed by itself when the next answer comes. */
const goesOnByItself =
  /^(process_|muster_heap_|muster_event_loop_|muster_open_files|muster_requests_in_flight|muster_route_responses.*(status|health))/;

test("a client that asks for OpenMetrics gets the same figures in that format", async () => {
  const { app } = busyApp();
  const text = await (await app.request("http://h/metrics")).text();
  const accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
  const response = await app.request("http://h/metrics", { headers: { accept } });
  assert.equal(response.headers.get("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
  assert.equal(response.headers.get("vary"), "accept");
  const open = await response.text();
  assert.ok(open.endsWith("\n# EOF\n"));
  assert.match(open, /^# TYPE muster_gets counter\nmuster_gets_total\{group="dict"\} 1000$/m);
  const buckets = [...open.matchAll(/^muster_event_loop_delay_seconds_bucket\{le="(.*?)"\}/gm)].map(([, le]) => le!);
  assert.deepEqual(buckets.map(Number).slice(0, -1), BOUNDS_SECONDS);
  assert.ok(buckets.every((le) => le === "+Inf" || le.includes(".")), "each number has a point");
  const samplesIn = (lines: string) =>
    lines.split("\n").filter((line) => line !== "" && !line.startsWith("#")).map((line) =>
      line.replace(/le="(\d+)\.0"/, 'le="$1"')
    ).sort();
  assert.deepEqual(samplesIn(open), samplesIn(text));
});

for (const kind of bothRuntimes) {
  const needs = { programs: ["promtool"], timeoutMs: 60_000 };
  test(`promtool finds nothing to mend in the metrics of a node on ${kind}`, needs, async (defer) => {
    const node = await startNode(defer, kind, ["--nats", "off", "--group", "dict=wordnet:"]);
    for (const word of ["piston", "piston", "nosuchword"]) await (await fetch(`${node.url}/define/${word}`)).text();
    const text = await (await fetch(`${node.url}/metrics`)).text();
    assert.equal(promtoolCheck(text), "");
    assert.match(promtoolCheck("# HELP muster_x x\n# TYPE muster_x counter\nmuster_x 1\n"), /_total/, "it looks");
  });

  test(`a real node on ${kind} shows what its /stats shows`, { timeoutMs: 60_000 }, async (defer) => {
    const groups = ["--group", "dict=wordnet:", "--group", "idle=wordnet:"];
    const node = await startNode(defer, kind, ["--nats", "off", ...groups]);
    await until(async () => (await fetch(`${node.url}/readyz`)).status === 200, 15_000, () => "it never got ready");
    for (const word of ["piston", "piston", "nosuchword"]) await (await fetch(`${node.url}/define/${word}`)).text();
    const exposition = await scrape({ request: () => fetch(`${node.url}/metrics`) });
    const stats = await (await fetch(`${node.url}/stats`)).json();
    assert.deepEqual([...exposition.types.keys()].sort(), allNames);
    const standing = (samples: ReadonlyMap<string, number>) =>
      new Map([...samples].filter(([key]) => !goesOnByItself.test(key)).sort());
    assert.deepEqual(standing(exposition.samples), standing(expectedSamples(stats, 1)));
    assert.equal(exposition.samples.get(sample("muster_gets_total", { group: "dict" })), 3);
    assert.equal(exposition.samples.get(sample("muster_local_load_errs_total", { group: "dict" })), 1);
  });
}
