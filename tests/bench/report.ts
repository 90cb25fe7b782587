/** The report as text: a Markdown table, and lines for profiles. */
import { bothRuntimes, type RuntimeKind } from "../support/node.ts";
import { golang, label } from "./clusters.ts";
import { median, ratiosOf } from "./figures.ts";
import { bareArrivalOf, bareHerdOf, bareHopOf, bareMeshOf, constantOf, lruCacheOf, mapOf } from "./limit.ts";
import type { Machine } from "./machine.ts";
import type { Profile, RowResult, Verdict } from "./types.ts";

export interface Report {
  readonly machine: Machine;
  /** MiB/s of SHA-256 on one core, before each row. */
  readonly hashingSpeeds: readonly number[];
  /** The time of a read from 8 MiB, in ns, before each row. */
  readonly memoryLatenciesNs: readonly number[];
  /** The command line. */
  readonly command: string;
  readonly quick: boolean;
  readonly rounds: number;
  readonly loadRounds: number;
  readonly turnMs: number;
  readonly tookMs: number;
  readonly rows: readonly RowResult[];
  readonly profiles: readonly Profile[];
}

/** A number with about three digits, and no exponent. */
export function shown(value: number): string {
  if (!Number.isFinite(value)) return "none";
  const size = Math.abs(value);
  if (size >= 1_000) return Math.round(value).toLocaleString("en-US");
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

export const wanted = ({ target }: Verdict): string => `${target.is === "==" ? "exactly" : target.is} ${target.limit}`;
const withUnit = (value: number, unit: string) => `${shown(value)}${unit === "x" ? " x" : ` ${unit}`}`;

/** The figure with the least and the greatest of a round, and whether it met its target. */
export function found({ value, rounds = [], unit, status, reason }: Verdict): string {
  if (value === undefined) return status === "skip" ? `skipped: ${reason}` : `**miss**: ${reason}`;
  const [low, high] = [Math.min(...rounds), Math.max(...rounds)];
  const span = rounds.length < 2 || low === high ? "" : ` (${shown(low)} to ${shown(high)})`;
  return `${withUnit(value, unit)}${span}${reason ? `; ${reason}` : ""} ${status === "miss" ? "**miss**" : status}`;
}

/** Where the figures come from, in one line. */
export function machineLine(report: Report): string {
  const { machine, hashingSpeeds, memoryLatenciesNs, command, rounds, loadRounds, turnMs, tookMs, quick } = report;
  const { cpu, cores, memoryGiB, kernel, date, versions, loadBefore } = machine;
  const programs = Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ");
  const span = (values: readonly number[]) => `${shown(Math.min(...values))} to ${shown(Math.max(...values))}`;
  const speed = hashingSpeeds.length === 0
    ? ""
    : `, a core hashes ${shown(median(hashingSpeeds))} MiB/s (SHA-256; ${span(hashingSpeeds)} before each row) ` +
      `and waits ${shown(median(memoryLatenciesNs))} ns (${span(memoryLatenciesNs)}) for what it reads from 8 MiB`;
  const hurried = quick ? "; --quick is too short to judge by" : "";
  return `${
    date.slice(0, 16)
  }Z, ${cores} cores (${cpu}), ${memoryGiB} GiB, Linux ${kernel}, load before ${loadBefore}${speed}; ` +
    `${programs}; \`${command}\`: ${rounds} rounds, of load ${loadRounds} with turns of ${turnMs} ms, ${
      (tookMs / 1_000).toFixed(0)
    } s in all${hurried}`;
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll("\n", " ");

/** The table of verdicts: medians, with the least and the greatest of a round. */
export function markdown(report: Report): string {
  const { rows } = report;
  if (rows.length === 0) return machineLine(report);
  const lines = rows.flatMap(({ what, verdicts }) =>
    [...new Set(verdicts.map(({ measure }) => measure))].map((measure) => {
      const cells = (["bun", "deno"] as const).flatMap((runtime) => {
        const verdict = verdicts.find((one) => one.measure === measure && one.runtime === runtime);
        return verdict === undefined ? ["", ""] : [found(verdict), wanted(verdict)];
      });
      return `| ${[what, measure, ...cells].map(cell).join(" | ")} |`;
    })
  );
  const total = (of: (row: RowResult) => number) => rows.reduce((sum, row) => sum + of(row), 0);
  const checked = total((row) => row.checked).toLocaleString("en-US");
  const failed = rows.filter(({ errors }) => errors > 0).map(({ id, errors }) => ` ${id}: ${errors}.`);
  const took = rows.map(({ id, tookMs }) => `${id} ${(tookMs / 1_000).toFixed(0)} s`).join(", ");
  return [
    machineLine(report),
    "",
    "| what | measure | Bun | target | Deno | target |",
    "| --- | --- | --- | --- | --- | --- |",
    ...lines,
    "",
    `${checked} bodies compared byte for byte, ${total((row) => row.errors)} errors.${
      failed.join("")
    } Rows took: ${took}.`,
  ].join("\n");
}

/**
 * The table of limits, for the rows with bare programs: a bare program's figure, and a node's share of it. Of a latency
 * it gives the multiple; of a difference of latencies, the node's own.
 */
export function limits(rows: readonly RowResult[]): string {
  const lines = rows.flatMap((row) =>
    [limitOf, mapLimitOf].flatMap((of) => {
      const cells = bothRuntimes.flatMap((kind) => of(row, kind) ?? ["", ""]);
      return cells.every((one) => one === "") ? [] : [`| ${[row.what, ...cells].map(cell).join(" | ")} |`];
    })
  );
  if (lines.length === 0) return "";
  return [
    "| what | limit on Bun | node / limit | limit on Deno | node / limit |",
    "| --- | --- | --- | --- | --- |",
    ...lines,
  ].join("\n");
}

type Limit = readonly [limit: string, share: string];

function limitOf(row: RowResult, kind: RuntimeKind): Limit | undefined {
  const herd = roundsOf(row, bareHerdOf(kind), "p99");
  if (herd.length > 0) {
    return [`p99 ${shown(median(herd))} ms`, percent(median(ratiosOf(roundsOf(row, label(kind), "p99"), herd)))];
  }
  const added = roundsOf(row, bareHopOf(kind), "added p99");
  if (added.length > 0) {
    // A difference of two times can be near zero: do not divide by it.
    return [`added p99 ${shown(median(added))} ms`, `${shown(median(roundsOf(row, label(kind), "added p99")))} ms`];
  }
  if (roundsOf(row, bareArrivalOf(kind), "ops/s").length > 0) {
    return against(row, kind, {
      limit: bareArrivalOf(kind),
      rival: lruCacheOf(kind),
      measure: "ops/s",
      than: "lru-cache",
    });
  }
  const limit = [constantOf(kind), bareHopOf(kind), bareMeshOf(kind)]
    .find((name) => roundsOf(row, name, "requests/s").length > 0);
  if (limit === undefined) return undefined;
  const told = against(row, kind, { limit, rival: golang, measure: "requests/s", than: golang });
  return limit === constantOf(kind) && told !== undefined ? [`a constant: ${told[0]}`, told[1]] : told;
}

/** For local hits: the figure of a Map behind Hono, as a share of the constant where Go has no turns. */
function mapLimitOf(row: RowResult, kind: RuntimeKind): Limit | undefined {
  const hasGo = roundsOf(row, golang, "requests/s").length > 0;
  const rival = hasGo ? golang : constantOf(kind);
  const than = hasGo ? golang : "the constant";
  const told = against(row, kind, { limit: mapOf(kind), rival, measure: "requests/s", than });
  return told && [`a Map behind Hono: ${told[0]}`, told[1]];
}

interface Against {
  readonly limit: string;
  readonly rival: string;
  readonly measure: string;
  /** The rival's name in the table. */
  readonly than: string;
}

/** Undefined where one of the two had no turns. */
function against(row: RowResult, kind: RuntimeKind, { limit, rival, measure, than }: Against): Limit | undefined {
  const [bare, theirs] = [roundsOf(row, limit, measure), roundsOf(row, rival, measure)];
  if (bare.length === 0 || theirs.length === 0) return undefined;
  const share = percent(median(ratiosOf(roundsOf(row, label(kind), measure), bare)));
  return [`${shown(median(ratiosOf(bare, theirs)))} x ${than}`, share];
}

function roundsOf({ series }: RowResult, name: string, measure: string): readonly number[] {
  return series.find((one) => one.contestant === name && one.measure === measure)?.rounds ?? [];
}

/** All figures of a row's contestants, measure by measure. */
export function contestantLines({ series }: RowResult): { measure: string; contestant: string; figures: string[] }[] {
  const told = series.filter(({ rounds }) => rounds.length > 0);
  return [...new Set(told.map(({ measure }) => measure))].flatMap((measure) =>
    told.filter((one) => one.measure === measure).map(({ contestant, unit, rounds }) => ({
      measure: measure === unit ? measure : `${measure}, ${unit}`,
      contestant,
      figures: [median(rounds), Math.min(...rounds), Math.max(...rounds)].map(shown),
    }))
  );
}

/** Where the time of a profiled node goes, and how far it is from its limit. */
export function profileHead(profile: Profile): string {
  const { row, runtime, requestsPerSecond, profiledPerSecond, limitPerSecond, native } = profile;
  const share = percent(requestsPerSecond / limitPerSecond);
  const limit = row.startsWith("hop") ? "a bare hop" : row === "zipf" ? "a bare mesh" : "the runtime's constant answer";
  return `${row} on ${runtime}, in one turn: ${shown(requestsPerSecond)} requests/s, ${share} of ${limit} ` +
    `(${shown(limitPerSecond)}); ${shown(profiledPerSecond)} under the profiler, where ${
      percent(native)
    } of the CPU time ` +
    "is native";
}

/** The same as text, with the functions that take the most time by themselves. */
export function profileLines(profiles: readonly Profile[]): string[] {
  return profiles.flatMap((profile) => [
    "",
    profileHead(profile),
    ...profile.top.map(({ share, what }) => `${percent(share).padStart(8)}  ${what}`),
  ]);
}
