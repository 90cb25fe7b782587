/** The table of a run, in Markdown. */
import type { Outcome, Scenario, Seen } from "./world.ts";

export interface Row {
  readonly scenario: Pick<Scenario, "name" | "title">;
  readonly outcome?: Outcome;
  /** Why there is none. */
  readonly brokeOff?: string;
}

/**
 * The results of clients at healthy nodes and at faulty ones, extra loads, and the targets with the measured values.
 */
export function table(rows: readonly Row[]): string {
  return [
    "| scenario | at the others: failed, slowest, over 1 s | at the node at fault | extra loads | more | met |",
    "| --- | --- | --- | --- | --- | --- |",
    ...rows.map(line),
  ].join("\n");
}

function line({ scenario: { name, title }, outcome, brokeOff }: Row): string {
  const checks = outcome?.checks ?? [];
  const isMet = outcome !== undefined && checks.every((check) => check.isMet);
  const more = [
    ...checks.map(({ what, measured, target }) => `${what}: ${measured} (${target})`),
    ...(outcome?.notes ?? []),
    ...(brokeOff === undefined ? [] : [brokeOff]),
  ];
  const cells = [
    `\`${name}\`: ${title}`,
    seen(outcome?.others),
    seen(outcome?.atFault),
    String(outcome?.extraLoads ?? ""),
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
