/**
 * Series of real nodes for `promtool test rules`. A node is scraped many times a second, and each scrape counts as one at
 * the interval of a usual Prometheus: what nodes do in seconds here takes minutes there, and the rules are those that are
 * shipped, with their own spans.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { root, temporaryDirectory } from "../../support/node.ts";
import type { Defer } from "../../support/test.ts";
import { until } from "../../support/until.ts";
import { parse } from "../../http/status/exposition.ts";

/** The rules that are tested. */
export const RULES = `${root}/lib/deploy/prometheus/alerts.yaml`;
const rulesText = readFileSync(RULES, "utf8");
/** Every alert of the rules. */
export const ALERTS: readonly string[] = [...rulesText.matchAll(/^ *- alert: (\w+)$/gm)].map(([, name]) => name!);
/** The metrics that the rules name: only these are kept. */
export const NAMED = new Set(rulesText.match(/\b(?:muster|process)_\w+/g));

/** From one scrape to the next, in real time and as the rules see it. */
const SCRAPE_MS = 150;
const SCRAPE_SECONDS = 30;
const SCRAPE_TIMEOUT_MS = 2_000;

/** Scrapes nodes until the end of the test. */
export class Capture {
  /** The address of each target, by its `instance`; tests may change it. */
  readonly targets: Map<string, string>;
  /** The values of each series; `undefined`: there was none. */
  readonly #series = new Map<string, (number | undefined)[]>();
  #scrapes = 0;
  #isOver = false;

  constructor(defer: Defer, targets: Readonly<Record<string, string>>) {
    this.targets = new Map(Object.entries(targets));
    const running = this.#run();
    defer(async () => {
      this.#isOver = true;
      await running;
    });
  }

  /** Whether a series of this name with this label has had the value. */
  saw(name: string, label: string, value: number): boolean {
    const isIt = (series: string) => series.startsWith(`${name}{`) && series.includes(label);
    return [...this.#series].some(([series, values]) => isIt(series) && values.includes(value));
  }

  /** How many scrapes there were. */
  get scrapes(): number {
    return this.#scrapes;
  }

  /** Waits for so many more minutes, as the rules see time. @returns the minute of the last scrape */
  async minutes(count: number): Promise<number> {
    const enough = this.#scrapes + count * 60 / SCRAPE_SECONDS;
    await until(() => this.#scrapes >= enough, 60_000, () => `${this.#scrapes} scrapes of ${enough}`);
    return this.now;
  }

  /** The minute of the last scrape. */
  get now(): number {
    return (this.#scrapes - 1) * SCRAPE_SECONDS / 60;
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      const nextMs = performance.now() + SCRAPE_MS;
      await Promise.all([...this.targets].map(([instance, url]) => this.#scrape(instance, url)));
      this.#scrapes++;
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, nextMs - performance.now())));
    }
  }

  /** As Prometheus does: `up` is 0 where a target gives no figures. */
  async #scrape(instance: string, url: string): Promise<void> {
    const add = (name: string, labels: string, value: number) => {
      const series = `${name}{instance=${JSON.stringify(instance)},job="muster"${labels && `,${labels}`}}`;
      const values = this.#series.get(series) ?? [];
      values[this.#scrapes] = value;
      this.#series.set(series, values);
    };
    let text: string | undefined;
    try {
      const response = await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(SCRAPE_TIMEOUT_MS) });
      if (response.status === 200) text = await response.text();
    } catch { /* it is down */ }
    add("up", "", text === undefined ? 0 : 1);
    for (const [key, value] of text === undefined ? [] : parse(text).samples) {
      const [, name, labels] = /^(\w+)\{(.*)\}$/s.exec(key)!;
      if (NAMED.has(name!)) add(name!, labels!, value);
    }
  }

  /** All series in promtool's notation. A series that ends is marked as Prometheus marks it. */
  series(): { series: string; values: string }[] {
    return [...this.#series].map(([series, values]) => {
      const texts = Array.from({ length: this.#scrapes }, (_, at) => {
        if (values[at] !== undefined) return String(values[at]);
        return at > 0 && values[at - 1] !== undefined ? "stale" : "_";
      });
      return { series, values: texts.join(" ") };
    });
  }
}

/** What is to be true at a minute. */
export interface Expectation {
  readonly minute: number;
  /** Gives samples. */
  readonly expr: string;
  /** Those samples, by their labels in PromQL; each has the value 1. */
  readonly labels: readonly string[];
}

/** No alert fires. */
export function quiet(minute: number): Expectation {
  return { minute, expr: 'group by (alertname) (ALERTS{alertstate="firing"})', labels: [] };
}

/** This alert fires, with these labels: `MusterNodeDown{instance="b"}`. */
export function fires(minute: number, alert: string): Expectation {
  const [, name, labels] = /^(\w+)(?:\{(.*)\})?$/s.exec(alert)!;
  const all = [`alertname="${name}"`, 'alertstate="firing"', ...(labels === undefined ? [] : [labels])];
  return { minute, expr: `group by (alertname) (ALERTS{${all.join(",")}})`, labels: [`{alertname="${name}"}`] };
}

/** Has promtool run the rules over the series. */
export function assertRules(defer: Defer, capture: Capture, expectations: readonly Expectation[]): void {
  const file = `${temporaryDirectory(defer)}/test.json`;
  const interval = `${SCRAPE_SECONDS}s`;
  const test = {
    rule_files: [RULES],
    evaluation_interval: interval,
    tests: [{
      interval,
      input_series: capture.series(),
      promql_expr_test: expectations.map(({ minute, expr, labels }) => ({
        expr,
        eval_time: `${minute * 60}s`,
        exp_samples: labels.map((each) => ({ labels: each, value: 1 })),
      })),
    }],
  };
  // YAML is a superset of JSON.
  writeFileSync(file, JSON.stringify(test));
  const { status, stdout, stderr } = spawnSync("promtool", ["test", "rules", file], { encoding: "utf8" });
  assert.equal(status, 0, stdout + stderr);
}
