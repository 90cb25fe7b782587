/** Watches one node: when each fault began, and how its figures changed in the last minutes. */
import type { Clock } from "../../core/base/clock.ts";
import { type Latencies, latenciesOf } from "../../core/group/stats.ts";
import { type Percentiles, percentilesOf, since } from "../../core/measure/histogram.ts";
import type { Finding, LatelyFigures, NodeReport, Rates } from "../figures.ts";
import { type Fault, faultsOf } from "./findings.ts";
import { byCounter, countsOf } from "./rates.ts";

/** The time between two looks. Chosen: a fault is reported within 3 s, and a look costs well under a millisecond. */
const LOOK_MS = 1_000;
/** Keeps every second look, for five minutes. */
const LOOKS_PER_SAMPLE = 2;
const MAX_SAMPLES = 150;
/** The period for recent evictions and latencies. */
const LATELY_MS = 60_000;
/** Derived: the looks of a minute, and the one before. */
const MAX_LATENCIES = LATELY_MS / LOOK_MS / LOOKS_PER_SAMPLE + 1;
/**
 * How many findings are reported. Chosen: an operator reads the first ones, and a thousand peers may be down at once.
 */
const MAX_FINDINGS = 50;

/** The time from one sample to the next. */
export const SAMPLE_MS = LOOK_MS * LOOKS_PER_SAMPLE;

/** A group's recent figures, one for each sample, the oldest first. */
export interface Series extends Readonly<Record<keyof Rates, readonly number[]>> {
  /** The times of answers, in milliseconds; `undefined`: there were none. */
  readonly p50Ms: readonly (number | undefined)[];
  readonly p99Ms: readonly (number | undefined)[];
}

interface Sample {
  readonly atMs: number;
  /** From the node's start. */
  readonly counts: Rates;
  readonly evictions: number;
  /** The times of the answers since the previous sample. */
  readonly took: Percentiles;
}

export interface WatchOptions {
  readonly clock: Clock;
  /** The node's figures now, without findings. */
  readonly report: () => NodeReport;
}

/** The observations of one node. */
export class Watch {
  readonly #options: WatchOptions;
  /** When each present fault was first seen, in Unix milliseconds, by its kind and subject. */
  #seenMs: ReadonlyMap<string, number> = new Map();
  #samples: ReadonlyMap<string, readonly Sample[]> = new Map();
  #latencies: ReadonlyMap<string, readonly Latencies[]> = new Map();
  #looks = 0;
  #cancel: (() => void) | undefined;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  /** Looks once a second from now on, until `stop`. */
  start(): void {
    const look = () => {
      this.#cancel = this.#options.clock.after(LOOK_MS, look);
      const report = this.#options.report();
      if (this.#looks++ % LOOKS_PER_SAMPLE === 0) this.#sample(report);
      this.findings(report);
    };
    look();
  }

  stop(): void {
    this.#cancel?.();
  }

  /** The faults in this present report, the worst first. */
  findings(report: NodeReport): Finding[] {
    const nowMs = this.#options.clock.nowMs();
    const faults = faultsOf(report, { evictedLately: (group) => this.#evictedLately(group, report, nowMs) });
    const seenMs = new Map<string, number>();
    for (const fault of faults) {
      const id = idOf(fault);
      seenMs.set(id, fault.sinceMs ?? this.#seenMs.get(id) ?? nowMs);
    }
    this.#seenMs = seenMs;
    const told = faults.filter((fault) => nowMs - seenMs.get(idOf(fault))! >= (fault.graceMs ?? 0));
    const findings = told.slice(0, MAX_FINDINGS).map(({ what, about, detail, severity, ...fault }): Finding => ({
      what,
      ...(about !== undefined && { about }),
      since: new Date(seenMs.get(idOf({ what, about, ...fault }))!).toISOString(),
      detail,
      severity,
    }));
    if (told.length <= MAX_FINDINGS) return findings;
    const detail = `${told.length - MAX_FINDINGS} more findings are not shown`;
    return [...findings, { what: "more", since: new Date(nowMs).toISOString(), detail, severity: "notice" }];
  }

  /** The rates of all counters per second, and the times of answers. */
  series(group: string): Series {
    const samples = this.#samples.get(group) ?? [];
    const all = samples.slice(1).map((sample, i) => ratesBetween(samples[i]!, sample));
    const rates = byCounter((counter) => all.map((one) => one[counter]));
    const took = samples.slice(1).map((sample) => sample.took);
    return { ...rates, p50Ms: took.map(({ p50Ms }) => p50Ms), p99Ms: took.map(({ p99Ms }) => p99Ms) };
  }

  /** The latest rates, and the times of the last minute; `undefined`: there are no two samples yet. */
  lately(group: string): LatelyFigures | undefined {
    const [before, last] = this.#samples.get(group)?.slice(-2) ?? [];
    if (before === undefined || last === undefined) return undefined;
    const latency = this.latencies(group);
    return { perSecond: ratesBetween(before, last), ...(latency && { latency }) };
  }

  /** The times of the last minute without the current two seconds; `undefined`: nothing is known yet. */
  latencies(group: string): Latencies | undefined {
    const kept = this.#latencies.get(group) ?? [];
    const [before, now] = [kept[0], kept.at(-1)];
    if (before === undefined || now === undefined) return undefined;
    const { client, hop, origin } = now;
    return latenciesOf({
      client: since(before.client, client),
      hop: since(before.hop, hop),
      origin: since(before.origin, origin),
    });
  }

  #sample({ groups }: NodeReport): void {
    const atMs = this.#options.clock.nowMs();
    this.#latencies = new Map(
      Object.entries(groups).flatMap(([name, { latency }]) =>
        latency === undefined ? [] : [[name, [...(this.#latencies.get(name) ?? []), latency].slice(-MAX_LATENCIES)]]
      ),
    );
    this.#samples = new Map(
      Object.entries(groups).map(([name, figures]) => {
        const before = this.#samples.get(name) ?? [];
        const [last, former] = [this.#latencies.get(name)?.at(-1), this.#latencies.get(name)?.at(-2)];
        const took = last === undefined ? {} : percentilesOf(since(former?.client, last.client));
        const sample = { atMs, counts: countsOf(figures), evictions: figures.mainCache?.evictions ?? 0, took };
        return [name, [...before, sample].slice(-MAX_SAMPLES)];
      }),
    );
  }

  #evictedLately(group: string, report: NodeReport, nowMs: number): number {
    const since = this.#samples.get(group)?.find(({ atMs }) => nowMs - atMs <= LATELY_MS);
    const evictions = report.groups[group]?.mainCache?.evictions ?? 0;
    return since === undefined ? 0 : Math.max(0, evictions - since.evictions);
  }
}

function ratesBetween(before: Sample, { atMs, counts }: Sample): Rates {
  const seconds = Math.max(1, atMs - before.atMs) / 1_000;
  // A group that was replaced counts from 0 again.
  return byCounter((counter) => Math.max(0, counts[counter] - before.counts[counter]) / seconds);
}

function idOf({ what, about = "" }: Pick<Fault, "what" | "about">): string {
  return `${what} ${about}`;
}
