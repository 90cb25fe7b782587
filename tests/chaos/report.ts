/** The report at the end of a run. */
import { execFileSync } from "node:child_process";
import { cpus, totalmem } from "node:os";
import { EXTRA_LOADS, FAILED_REQUESTS, type Outcome, type Scenario, type System } from "./result.ts";

export interface Row {
  readonly scenario: Pick<Scenario, "name" | "title">;
  readonly outcomes: Readonly<Partial<Record<System, Outcome>>>;
  /** The reason why a system has no outcome. */
  readonly reasons: Readonly<Partial<Record<System, string>>>;
}

/** Whether all targets of muster were met; a scenario that broke off has not met them. */
export function isMet({ outcomes: { muster } }: Row): boolean {
  return muster !== undefined && muster.checks.every((check) => check.isMet);
}

/** The table, in Markdown. */
export function table(rows: readonly Row[]): string {
  const head = [
    "| scenario | failed requests | extra origin loads | more | met | groupcache-go: failed | groupcache-go: extra origin loads |",
    "| --- | --- | --- | --- | --- | --- | --- |",
  ];
  return [...head, ...rows.map(line)].join("\n");
}

function line(row: Row): string {
  const { muster, "groupcache-go": other } = row.outcomes;
  const otherReason = row.reasons["groupcache-go"] ?? "";
  const checks = muster?.checks ?? [];
  const failed = checks.find(({ what }) => what === FAILED_REQUESTS);
  const extra = checks.find(({ what }) => what === EXTRA_LOADS);
  const shown = [
    ...checks.filter((check) => check !== failed && check !== extra).map(({ what, measured, target }) =>
      `${what}: ${measured} (${target})`
    ),
    ...(muster?.notes ?? []),
  ];
  const cells = [
    row.scenario.title,
    failed === undefined ? "" : `${failed.measured} (${failed.target})`,
    extra === undefined ? "" : `${extra.measured} (${extra.target})`,
    muster === undefined ? row.reasons.muster ?? "" : shown.join("; "),
    isMet(row) ? "yes" : "**no**",
    other?.failed === undefined ? otherReason : String(other.failed),
    other?.extraLoads === undefined ? "" : [other.extraLoads, ...other.notes].join("; "),
  ];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
}

/** The part of tests/chaos/README.md that a run writes. */
export function readmePart(rows: readonly Row[], title: string): string {
  return `${title}; targets stand in brackets.\n\n${table(rows)}`;
}

/** When, where and with what it was measured. */
export function circumstances(command: string, versions: readonly string[]): string {
  const [cpu] = cpus();
  const gigabytes = (totalmem() / 2 ** 30).toFixed(0);
  return `${new Date().toISOString().slice(0, 16)}Z, ${cpus().length} cores (${cpu?.model.trim() ?? "unknown"}), ` +
    `${gigabytes} GiB; ${versions.join(", ")}; \`${command}\``;
}

/** The first line of a program's version; undefined if the program is missing. */
export function versionOf(program: string, args: readonly string[]): string | undefined {
  try {
    return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).split("\n")[0];
  } catch {
    return undefined;
  }
}
