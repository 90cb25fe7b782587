/** The table of a run, in Markdown. */
import type { Outcome, Scenario, Seen } from "./world.ts";

export interface Row {
  readonly scenario: Pick<Scenario, "name" | "title">;
  readonly outcome?: Outcome;
  /** Why there is none. */
  readonly brokeOff?: string;
}

/** The check that has a column of its own. */
export const AGREED = "all agree after";

/**
 * The answers of healthy and of faulty nodes, extra loads, the time until all nodes agreed, and the other targets with
 * their measurements.
 */
export function table(rows: readonly Row[]): string {
  return [
    "| scenario | at the others: failed, slowest, over 1 s | at the node at fault | extra loads | all agree after | more | met |",
    "| --- | --- | --- | --- | --- | --- | --- |",
    ...rows.map(line),
  ].join("\n");
}

function line({ scenario: { name, title }, outcome, brokeOff }: Row): string {
  const checks = outcome?.checks ?? [];
  const isMet = outcome !== undefined && checks.every((check) => check.isMet);
  const agreed = checks.find(({ what }) => what === AGREED);
  const more = [
    ...checks.filter((check) => check !== agreed)
      .map(({ what, measured, target }) => `${what}: ${measured} (${target})`),
    ...(outcome?.notes ?? []),
    ...(brokeOff === undefined ? [] : [brokeOff]),
  ];
  const cells = [
    `\`${name}\`: ${title}`,
    seen(outcome?.others),
    seen(outcome?.atFault),
    String(outcome?.extraLoads ?? ""),
    agreed === undefined ? "" : `${agreed.measured} (${agreed.target})`,
    more.join("; "),
    isMet ? "yes" : "**no**",
  ];
  return `| ${
    cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(
      " | ",
    )
  } |`;
}

function seen(seen: Seen | undefined): string {
  if (seen === undefined) return "";
  const { requests, failed, slowestMs, overOneSecondPercent } = seen;
  return `${failed} of ${requests}, ${(slowestMs / 1_000).toFixed(1)} s, ${overOneSecondPercent.toFixed(1)} %`;
}
