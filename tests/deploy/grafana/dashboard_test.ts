/**
 * The dashboard and the rules ask for what real nodes have, and a real Prometheus takes both of them.
 * Runs once: its subject is in processes of their own.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { parse } from "../../http/status/exposition.ts";
import { freePort } from "../../support/free-port.ts";
import { startNats, temporaryFolder } from "../../support/nats-server.ts";
import { assembled, root, startNode } from "../../support/node.ts";
import { type Defer, test } from "../../support/test.ts";
import { until } from "../../support/until.ts";
import { ALERTS, NAMED, RULES } from "../prometheus/capture.ts";

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly datasource?: { readonly uid: string };
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly refId: string; readonly expr: string; readonly legendFormat: string }[];
}

const text = readFileSync(`${root}/lib/deploy/grafana/dashboard.json`, "utf8");
const dashboard = JSON.parse(text) as {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string }[] };
};
const queries = dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr })));

/** What stands for Grafana's variables. */
function filledIn(expr: string): string {
  const values: Readonly<Record<string, string>> = {
    job: "muster",
    instance: ".*",
    group: ".*",
    __rate_interval: "10s",
  };
  return expr.replace(/\$(\w+)/g, (_, name: string) => values[name] ?? assert.fail(`an unknown variable: ${name}`));
}

interface Answer {
  readonly status: string;
  readonly error?: string;
  // deno-lint-ignore no-explicit-any
  readonly data: any;
}

/** A real Prometheus with the shipped configuration, but for the targets and the spans between scrapes. */
async function startPrometheus(defer: Defer, targets: readonly string[]) {
  const folder = await temporaryFolder(defer);
  const shipped = readFileSync(`${root}/lib/deploy/prometheus/prometheus.yaml`, "utf8");
  const config = shipped.replace(/targets: .*/, `targets: ${JSON.stringify(targets)}`).replace(/: 15s/g, ": 1s");
  assert.notEqual(config, shipped);
  writeFileSync(`${folder}/prometheus.yaml`, config);
  copyFileSync(RULES, `${folder}/alerts.yaml`);
  const url = `127.0.0.1:${await freePort()}`;
  const child = spawn("prometheus", [
    `--config.file=${folder}/prometheus.yaml`,
    `--storage.tsdb.path=${folder}/data`,
    `--web.listen-address=${url}`,
  ], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => said = (said + chunk).slice(-10_000));
  const ended = new Promise((done) => child.once("exit", done));
  defer(() => {
    if (child.exitCode === null) process.kill(child.pid!, "SIGTERM");
    return ended;
  });
  const isReady = () => fetch(`http://${url}/-/ready`).then(({ ok }) => ok, () => false);
  await until(isReady, 20_000, () => `Prometheus is not ready: ${said}`);
  const get = async (path: string) => (await (await fetch(`http://${url}/api/v1/${path}`)).json()) as Answer;
  return { get, query: (expr: string) => get(`query?query=${encodeURIComponent(expr)}`) };
}

test("the dashboard is whole: its panels have room, queries and a name each", () => {
  const ids = dashboard.panels.map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
  const taken = new Set<string>();
  for (const { title, type, gridPos: { x, y, w, h }, targets = [], datasource } of dashboard.panels) {
    assert.ok(title !== "" && x + w <= 24, title);
    for (let column = x; column < x + w; column++) {
      for (let line = y; line < y + h; line++) {
        assert.ok(!taken.has(`${column} ${line}`), `${title} lies on another panel`);
        taken.add(`${column} ${line}`);
      }
    }
    if (type === "row") continue;
    assert.ok(["timeseries", "stat"].includes(type), type);
    assert.equal(datasource?.uid, "${datasource}", title);
    assert.ok(targets.length > 0, title);
    assert.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length, title);
  }
  const variables = new Set(dashboard.templating.list.map(({ name }) => name));
  for (const [, name] of text.matchAll(/\$\{?(\w+)/g)) assert.ok(variables.has(name!) || name!.startsWith("__"), name);
});

test(
  "a real Prometheus takes the nodes' figures, the rules and every query",
  { programs: ["prometheus"] },
  async (defer) => {
    const nats = await startNats(defer);
    const groups = ["--group", "dict=wordnet:", "--group", "more=wordnet:"];
    const [first, second] = await Promise.all([
      startNode(defer, "bun", ["--nats", nats.url, ...groups]),
      startNode(defer, "deno", ["--nats", nats.url, ...groups]),
    ]);
    await assembled([first, second]);
    const targets = [first, second].map(({ url }) => new URL(url).host);
    const { get, query } = await startPrometheus(defer, targets);
    let isOver = false;
    const words = ["piston", "cat", "nosuchword", "house", "rendezvous"];
    const traffic = async () => {
      while (!isOver) {
        // At both: of each word one of them is not the owner, and asks the other.
        for (const word of words) {
          for (const { url } of [first, second]) await (await fetch(`${url}/define/${word}`)).text();
        }
        await fetch(`${second.url}/cache/dict/cat`, { method: "PURGE" });
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    };
    const running = traffic();
    defer(async () => {
      isOver = true;
      await running;
    });

    const rate = 'sum(rate(muster_hop_duration_seconds_count{job="muster"}[10s])) > 0';
    const isSeen = async () => (await query(rate)).data.result.length > 0;
    await until(isSeen, 20_000, () => "no rate of hops");
    // Prometheus asks for OpenMetrics first, and refuses a text that it cannot read. A busy node may be late once.
    let up: unknown[] = [];
    const areUp = async () => {
      const { data: { activeTargets } } = await get("targets?state=active");
      up = activeTargets.map(({ health, lastError }: Record<string, string>) => `${health}${lastError}`);
      return up.join() === "up,up";
    };
    await until(areUp, 10_000, () => up.join());
    let rules: Record<"name" | "health" | "state", string>[] = [];
    const areEvaluated = async () => {
      const { data: { groups: loaded } } = await get("rules");
      rules = loaded.flatMap((group: { rules: unknown[] }) => group.rules);
      return rules.every(({ health }) => health !== "unknown");
    };
    // The state of a rule is unknown until Prometheus has evaluated it once.
    await until(areEvaluated, 10_000, () => JSON.stringify(rules));
    assert.deepEqual(rules.map(({ name }) => name).sort(), [...ALERTS].sort());
    for (const rule of rules) assert.deepEqual([rule.name, rule.health, rule.state], [rule.name, "ok", rule.state]);
    assert.deepEqual(rules.filter(({ state }) => state === "firing"), []);

    // Nothing is down or wrong, and no origin has a guard.
    const mayBeEmpty = ["State", "Guard", "Connections to peers", "Findings by kind", "Alerts that fire"];
    let empty: string[] = [];
    const haveResults = async () => {
      empty = [];
      for (const { title, expr } of queries) {
        const { status, error, data } = await query(filledIn(expr));
        assert.equal(status, "success", `${title}: ${expr}: ${error}`);
        if (data.result.length === 0 && !mayBeEmpty.includes(title)) empty.push(title);
      }
      return empty.length === 0;
    };
    // A rate needs two samples of each figure.
    await until(haveResults, 10_000, () => `no result: ${empty}`);

    const { types } = parse(await (await fetch(`${first.url}/metrics`)).text());
    const names = new Set([...NAMED, ...text.match(/\b(?:muster|process)_\w+/g)!]);
    const known = (name: string) =>
      types.has(name) || types.get(name.replace(/_(bucket|count|sum)$/, "")) === "histogram";
    // That one only a machine with workers has: alerts_test.ts.
    assert.deepEqual([...names].filter((name) => !known(name)), ["muster_worker_up"]);
    assert.ok(names.size > 40, String(names.size));
  },
);
