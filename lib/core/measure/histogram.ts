/** A histogram of durations: counting one costs a few additions, and the figures of several nodes can be added up. */

/**
 * The upper ends of the buckets, in seconds; one more bucket is for longer times. Chosen: 1, 2.5 and 5 of each power of
 * ten, from a fast hop to a load that times out.
 */
export const BOUNDS_SECONDS: readonly number[] = [
  ...[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05],
  ...[0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
];
const BOUNDS_MS = BOUNDS_SECONDS.map((seconds) => seconds * 1_000);
const NAMES: readonly string[] = [...BOUNDS_SECONDS.map(String), "+Inf"];

/** A histogram at one moment, ready for JSON. */
export interface HistogramFigures {
  readonly count: number;
  readonly sumSeconds: number;
  /** The count of each bucket, by its upper end in seconds or `+Inf`. Empty buckets are left out. Not cumulative. */
  readonly buckets: Readonly<Record<string, number>>;
}

/** Figures for people, who do not read buckets: two percentiles in milliseconds; `undefined` without a count. */
export interface Percentiles {
  readonly p50Ms?: number;
  readonly p99Ms?: number;
}

/** Counts times. */
export class Histogram {
  readonly #counts = new Float64Array(BOUNDS_MS.length + 1);
  #sumMs = 0;

  /** Counts one duration in milliseconds. Most are short, so the search begins at the shortest bucket. */
  observe(tookMs: number): void {
    let at = 0;
    while (at < BOUNDS_MS.length && tookMs > BOUNDS_MS[at]!) at++;
    this.#counts[at]!++;
    this.#sumMs += tookMs;
  }

  figures(): HistogramFigures {
    const buckets: Record<string, number> = {};
    let count = 0;
    this.#counts.forEach((inBucket, at) => {
      if (inBucket > 0) buckets[NAMES[at]!] = inBucket;
      count += inBucket;
    });
    return { count, sumSeconds: this.#sumMs / 1_000, buckets };
  }
}

/** The counts between two moments; all counts of `now` if counting restarted in between. */
export function since(before: HistogramFigures | undefined, now: HistogramFigures): HistogramFigures {
  if (before === undefined || NAMES.some((name) => (now.buckets[name] ?? 0) < (before.buckets[name] ?? 0))) return now;
  const buckets = Object.fromEntries(
    Object.entries(now.buckets).map(([name, count]) => [name, count - (before.buckets[name] ?? 0)]),
  );
  return { count: now.count - before.count, sumSeconds: now.sumSeconds - before.sumSeconds, buckets };
}

/** Adds up the histograms of several nodes or groups. */
export function added(all: readonly HistogramFigures[]): HistogramFigures {
  const buckets: Record<string, number> = {};
  for (const one of all) {
    for (const [name, count] of Object.entries(one.buckets)) buckets[name] = (buckets[name] ?? 0) + count;
  }
  const sum = (field: "count" | "sumSeconds") => all.reduce((total, one) => total + one[field], 0);
  return { count: sum("count"), sumSeconds: sum("sumSeconds"), buckets };
}

/** The cumulative counts per bound in seconds and `+Inf`, as Prometheus has them. */
export function cumulative({ buckets }: HistogramFigures): [bound: string, count: number][] {
  let count = 0;
  return NAMES.map((name) => [name, count += buckets[name] ?? 0]);
}

/**
 * The quantile for `share`, in milliseconds: interpolated inside its bucket, as by Prometheus' `histogram_quantile`.
 * `undefined`: nothing was counted.
 */
export function quantileMs(figures: HistogramFigures, share: number): number | undefined {
  const counts = cumulative(figures).map(([, count]) => count);
  const rank = share * counts.at(-1)!;
  if (rank === 0) return undefined;
  const at = counts.findIndex((count) => count >= rank);
  const endMs = BOUNDS_MS[at];
  if (endMs === undefined) return BOUNDS_MS.at(-1)!;
  const [beginMs, before] = at === 0 ? [0, 0] : [BOUNDS_MS[at - 1]!, counts[at - 1]!];
  return beginMs + (endMs - beginMs) * (rank - before) / (counts[at]! - before);
}

/** The median and the 99th percentile. */
export function percentilesOf(figures: HistogramFigures): Percentiles {
  const [p50Ms, p99Ms] = [quantileMs(figures, 0.5), quantileMs(figures, 0.99)];
  return p50Ms === undefined || p99Ms === undefined ? {} : { p50Ms: rounded(p50Ms), p99Ms: rounded(p99Ms) };
}

/** Rounds, as buckets are wide and more digits would say nothing. */
function rounded(ms: number): number {
  return Number(ms.toPrecision(3));
}
