/** Reads what `/metrics` answers. */
import assert from "node:assert/strict";

/** What an answer says. */
export interface Exposition {
  /** The type, by the name of the metric. */
  readonly types: ReadonlyMap<string, string>;
  readonly helps: ReadonlyMap<string, string>;
  /** The value, by `name{label=value,…}`: the labels sorted, their values as JSON. */
  readonly samples: ReadonlyMap<string, number>;
}

/**
 * Reads the text format 0.0.4 strictly. Written from its description
 * (https://prometheus.io/docs/instrumenting/exposition_formats/), not from the library's output.
 */
export function parse(text: string): Exposition {
  const types = new Map<string, string>();
  const helps = new Map<string, string>();
  const samples = new Map<string, number>();
  const ended = new Set<string>();
  let family = "";
  assert.ok(text.endsWith("\n"), "the last line has an end, too");
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const meta = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
    const sampleName = meta === null ? /^[a-zA-Z_:][a-zA-Z0-9_:]*/.exec(line)?.[0] : meta[2];
    assert.ok(sampleName !== undefined, `no line of this format: ${line}`);
    const histogram = /^(.*)_(?:bucket|sum|count)$/.exec(sampleName)?.[1];
    const name = types.get(histogram ?? "") === "histogram" ? histogram! : sampleName;
    if (name !== family) {
      assert.ok(!ended.has(name), `${name} stands in two places`);
      ended.add(family);
      family = name;
    }
    if (meta?.[1] === "HELP") {
      assert.ok(!helps.has(name), `two helps for ${name}`);
      helps.set(name, meta[3]);
    } else if (meta?.[1] === "TYPE") {
      assert.ok(!types.has(name), `two types for ${name}`);
      assert.match(meta[3], /^(counter|gauge|histogram)$/);
      types.set(name, meta[3]);
    } else {
      assert.ok(types.has(name) && helps.has(name), `a sample before the type and the help of ${name}`);
      const { labels, rest } = parseLabels(line.slice(sampleName.length));
      const value = /^ (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/.exec(rest);
      assert.ok(value !== null, `no value: ${line}`);
      assert.ok(types.get(name) !== "counter" || Number(value[1]) >= 0, `a counter below 0: ${line}`);
      const key = sample(sampleName, labels);
      assert.ok(!samples.has(key), `${key} stands twice`);
      samples.set(key, Number(value[1]));
    }
  }
  return { types, helps, samples };
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

/** The key of a sample: its name and its labels, sorted. */
export function sample(name: string, labels: Readonly<Record<string, string>> = {}): string {
  return `${name}{${Object.keys(labels).sort().map((label) => `${label}=${JSON.stringify(labels[label])}`)}}`;
}
