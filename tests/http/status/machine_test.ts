import assert from "node:assert/strict";
import { latenciesOf } from "../../../lib/core/group/stats.ts";
import type { GuardFigures, NodeReport, WorkerReport } from "../../../lib/http/figures.ts";
import { test } from "../../support/test.ts";
import { appWith } from "../support.ts";

/** A report whose figures are `by` times 1, 2, 3 …, so a sum shows which were added. */
function report(name: string, by: number): NodeReport {
  const cache = (first: number) => ({
    bytes: by * first,
    items: by * (first + 1),
    gets: by * (first + 2),
    hits: by * (first + 3),
    evictions: by * (first + 4),
  });
  const figures = { gets: by, cacheHits: 2 * by, originLoads: 3 * by, mainCache: cache(10), hotCache: cache(20) };
  return {
    name,
    incarnation: `life-${name}`,
    version: "0.1.0",
    runtime: "test 1",
    ready: true,
    links: [],
    groups: Object.fromEntries([["dict", figures], ["__proto__", { gets: by }]]),
  };
}

function machineWith(others: readonly WorkerReport[]) {
  const asked: NodeReport[] = [];
  const all = appWith({
    machine: {
      name: "m",
      url: "http://h:1",
      workers: (own) => {
        asked.push(own);
        return Promise.resolve([{ name: "w1", url: "http://h:2", report: own }, ...others]);
      },
    },
  });
  return { ...all, asked };
}

const silent: WorkerReport = { name: "w3", url: "http://h:4", fault: "gave no answer" };

test("/stats of a machine adds up what its workers did, and lists each of them", async () => {
  const { app, dict, g } = machineWith([{ name: "w2", report: report("w2", 100) }, silent]);
  const peers = [{ name: "n1" }] as never;
  dict.figures = { ...report("w1", 1).groups["dict"], roster: { revision: 5, peers } };
  g.figures = { gets: 7 };
  const stats = await (await app.request("http://h/stats")).json();
  assert.deepEqual([stats.name, stats.url], ["m", "http://h:1"]);
  assert.deepEqual(stats.groups.dict, { ...report("sum", 101).groups["dict"], roster: { revision: 5, peers } });
  assert.deepEqual(stats.groups.g, { gets: 7 }, "the other worker does not serve this group");
  assert.deepEqual(stats.workers.map(({ name }: { name: string }) => name), ["n1", "w2", "w3"]);
  assert.equal(stats.workers[1].groups.dict.gets, 100);
  assert.deepEqual(stats.workers[2], silent);
});

test("a machine tells the percentiles of its workers' answers together, not a sum of percentiles", async () => {
  const latencyOf = (bucket: string, count: number) => {
    const some = { count, sumSeconds: count, buckets: { [bucket]: count } };
    const none = { count: 0, sumSeconds: 0, buckets: {} };
    return latenciesOf({ client: some, hop: none, origin: some });
  };
  const figures = { gets: 1, latency: latencyOf("1", 10), answers: { "200": 9, "404": 1 } };
  const { app, dict } = machineWith([{ name: "w2", report: { ...report("w2", 100), groups: { dict: figures } } }]);
  dict.figures = { gets: 2, latency: latencyOf("0.01", 990), answers: { "200": 980, "502": 10 } };
  const { groups } = await (await app.request("http://h/stats")).json();
  const { client, hop, origin } = groups.dict.latency;
  assert.deepEqual(client.buckets, { "0.01": 990, "1": 10 });
  assert.deepEqual([client.count, client.sumSeconds, client.p50Ms, client.p99Ms], [1_000, 1_000, 7.53, 10]);
  assert.deepEqual(hop, { count: 0, sumSeconds: 0, buckets: {} });
  assert.equal(origin.count, 1_000);
  assert.deepEqual(groups.dict.answers, { "200": 989, "404": 1, "502": 10 });
});

test("of the invalidations, which each worker applies, a machine adds up only the values that they cover", async () => {
  const ofWorker = (by: number) => {
    const last = [{ sequence: by, atMs: 0, message: `message ${by}` }];
    return { applied: by, refused: 10 * by, dropped: 100 * by, softened: 1_000 * by, last };
  };
  const other = { ...report("w2", 1), groups: { dict: { gets: 1, invalidation: ofWorker(2) } } };
  const { app, dict } = machineWith([{ name: "w2", report: other }]);
  dict.figures = { gets: 1, invalidation: ofWorker(1) };
  const stats = await (await app.request("http://h/stats")).json();
  assert.deepEqual(stats.groups.dict, {
    gets: 2,
    invalidation: { ...ofWorker(1), dropped: 300, softened: 3_000 },
  });
  assert.deepEqual(stats.workers[1].groups.dict.invalidation, ofWorker(2));
  const page = await (await app.request("http://h/")).text();
  assert.match(page, /invalidated in dict: message 1 \(/);
  assert.match(page, />3000<\/td>/);
});

test("of the guards a machine adds up the numbers, and tells the worst breaker", async () => {
  const guard = (by: number, breaker: GuardFigures["breaker"], limit: number | null = 1_000 * by): GuardFigures => {
    const share = limit && 5 * limit;
    return { running: by, queued: 10 * by, limit, share, refused: 100 * by, broken: 2 * by, breaker, retries: 3 * by };
  };
  const { app, dict, g } = machineWith([
    { name: "w2", report: { ...report("w2", 1), groups: { dict: { guard: guard(2, "half-open") }, g: {} } } },
    { name: "w3", report: { ...report("w3", 1), groups: { dict: { guard: guard(4, "closed") } } } },
    silent,
  ]);
  dict.figures = { guard: guard(1, "closed") };
  g.figures = { guard: guard(1, null, null) };
  const { groups } = await (await app.request("http://h/stats")).json();
  assert.deepEqual(groups.dict.guard, guard(7, "half-open"));
  assert.deepEqual(groups.g.guard, guard(1, null, null));
});

test("/metrics of a machine keeps its workers apart, and shows which did not answer", async () => {
  const { app, dict, state } = machineWith([{ name: "w2", report: report("w2", 100) }, silent]);
  dict.figures = { gets: 1 };
  state.ready = false;
  const text = await (await app.request("http://h/metrics")).text();
  const samples = text.split("\n").filter((line) => /^muster_(gets_total|worker_up|ready)\{/.test(line)).sort();
  assert.deepEqual(samples, [
    'muster_gets_total{worker="w1",group="dict"} 1',
    'muster_gets_total{worker="w1",group="g"} 0',
    'muster_gets_total{worker="w2",group="__proto__"} 100',
    'muster_gets_total{worker="w2",group="dict"} 100',
    'muster_ready{worker="w1"} 0',
    'muster_ready{worker="w2"} 1',
    'muster_worker_up{worker="w1"} 1',
    'muster_worker_up{worker="w2"} 1',
    'muster_worker_up{worker="w3"} 0',
  ]);
});

test("the page of a machine shows its workers and the sums", async () => {
  const hostile = "<script>";
  const { app, dict } = machineWith([{ name: "w2", report: report("w2", 100) }, { name: hostile, fault: "is down" }]);
  dict.figures = { ...report("w1", 1).groups["dict"] };
  const page = await (await app.request("http://h/")).text();
  assert.match(page, /2 of 3 workers answer/);
  assert.doesNotMatch(page, /class="plots"/, "no worker's plots are those of the machine");
  assert.match(page, /<h1>m<\/h1>/);
  assert.match(page, />101\s*</);
  assert.match(page, /href="http:\/\/h:2\/"/);
  assert.match(page, /is down/);
  assert.equal(page.split(hostile).length, 2, "the page's own script");
});

test("what is wrong with a machine is what its workers find, and the workers that do not answer", async () => {
  const finding = {
    what: "registry-away",
    since: "2026-01-01T00:00:00.000Z",
    detail: "NATS",
    severity: "error",
  } as const;
  const notice = { ...finding, what: "evicting", severity: "notice" } as const;
  const { app } = machineWith([{ name: "w2", report: { ...report("w2", 1), findings: [notice, finding] } }, silent]);
  const { findings } = await (await app.request("http://h/stats")).json();
  assert.deepEqual(findings.map(({ detail, severity }: typeof finding) => [detail, severity]), [
    ["w2: NATS", "error"],
    ["the worker w3 gave no answer", "error"],
    ["w2: NATS", "notice"],
  ]);
  assert.match(await (await app.request("http://h/")).text(), /2 things are broken/);
});

test("probes and keys on the public address are the worker's own", async () => {
  const { app, state, asked } = machineWith([]);
  state.ready = false;
  assert.equal((await app.request("http://h/readyz")).status, 503);
  assert.equal((await (await app.request("http://h/healthz")).json()).name, "n1");
  assert.equal(await (await app.request("http://h/cache/g/k")).text(), "k");
  assert.equal((await app.request("http://h/_peer")).status, 404);
  assert.equal(asked.length, 0);
});
