/** `/stats` at the public address of a machine: the figures of its workers, added up. */
import { type Latencies, latenciesOf } from "../../core/group/stats.ts";
import { added, type HistogramFigures } from "../../core/measure/histogram.ts";
import { worstFirst } from "./findings.ts";
import type {
  Finding,
  GroupFigures,
  GuardFigures,
  InvalidationFigures,
  LatelyFigures,
  NodeReport,
  WorkerReport,
} from "../figures.ts";
import type { MachineFace } from "../ports.ts";

/** @param own the report of the worker that answers; the rosters come from it */
export function machineStats(
  machine: MachineFace,
  own: NodeReport,
  workers: readonly WorkerReport[],
  since: string,
): object {
  const { version, runtime } = own;
  return {
    name: machine.name,
    url: machine.url,
    version,
    runtime,
    findings: machineFindings(workers, since),
    groups: summed(own, workers),
    workers: workers.map(({ name, url, report, fault }) => report ?? { name, url, fault }),
  };
}

/** The findings of all workers, each with its worker, and the workers that do not answer. */
export function machineFindings(workers: readonly WorkerReport[], since: string): Finding[] {
  return worstFirst(workers.flatMap(({ name, report, fault }): Finding[] => {
    if (report !== undefined) {
      return (report.findings ?? []).map((finding) => ({ ...finding, detail: `${name}: ${finding.detail}` }));
    }
    const detail = `the worker ${name} ${fault ?? "does not answer"}`;
    return [{ what: "worker-down", about: name, since, detail, severity: "error" }];
  }));
}

/**
 * Sums each group's numbers over all workers. Rosters, and whether the group is served, come from `own`. Every worker
 * applies every invalidation, so only the numbers of covered values are added up. The worst breaker state counts.
 * Percentiles come from the summed histograms.
 */
export function summed(own: NodeReport, workers: readonly WorkerReport[]): Record<string, GroupFigures> {
  const reports = workers.flatMap(({ report }) => report ?? []);
  return Object.fromEntries(
    Object.entries(own.groups).map(([group, { serves, roster, invalidation, about }]) => {
      const parts = reports.flatMap(({ groups }) => Object.hasOwn(groups, group) ? [groups[group]!] : []);
      const sum = sumOf(parts);
      if (serves !== undefined) sum.serves = serves;
      if (roster !== undefined) sum.roster = roster;
      if (about !== undefined) sum.about = { ...about, ...sum.about as object };
      delete sum.health;
      if (invalidation !== undefined) {
        const { applied, refused, last } = invalidation;
        sum.invalidation = { ...sum.invalidation as InvalidationFigures, applied, refused, last };
      }
      const latencies = parts.flatMap(({ latency }) => latency ?? []);
      if (latencies.length > 0) sum.latency = allLatencies(latencies);
      const recent = parts.flatMap(({ lately }) => lately?.latency ?? []);
      if (recent.length > 0) sum.lately = { ...sum.lately as LatelyFigures, latency: allLatencies(recent) };
      const guards = parts.flatMap(({ guard }) => guard ?? []);
      if (guards.length > 0) sum.guard = { ...sum.guard as GuardFigures, ...unsummed(guards) };
      return [group, sum];
    }),
  );
}

/** Adds up the histograms of several nodes. */
export function allLatencies(all: readonly Readonly<Record<keyof Latencies, HistogramFigures>>[]): Latencies {
  const sumOfAll = (what: keyof Latencies) => added(all.map((latency) => latency[what]));
  return latenciesOf({ client: sumOfAll("client"), hop: sumOfAll("hop"), origin: sumOfAll("origin") });
}

/** From bad to good; the state is `null` without a breaker. */
const BREAKER_STATES = ["open", "half-open", "closed"] as const;

/** The fields of guards that are not always numbers. */
function unsummed(guards: readonly GuardFigures[]): Partial<GuardFigures> {
  const breaker = BREAKER_STATES.find((state) => guards.some((guard) => guard.breaker === state)) ?? null;
  const isUnlimited = guards.every(({ limit }) => limit === null);
  return { breaker, ...(isUnlimited && { limit: null, share: null }) };
}

/** Adds up numbers, also inside objects (the caches); other fields are left out. */
function sumOf(parts: readonly object[]): Record<string, unknown> {
  const total: Record<string, unknown> = {};
  for (const part of parts) {
    for (const [name, value] of Object.entries(part)) {
      const before = total[name];
      if (typeof value === "number") total[name] = (typeof before === "number" ? before : 0) + value;
      else if (isObject(value) && !Array.isArray(value) && name !== "roster") {
        total[name] = sumOf(isObject(before) ? [before, value] : [value]);
      }
    }
  }
  return total;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
