/** Finds the faults that one node knows of: a pure function of its report. */
import type { Finding, FindingKind, GroupFigures, NodeReport, Severity } from "../figures.ts";

/** A finding whose beginning is not known yet. */
export interface Fault {
  readonly what: FindingKind;
  readonly about?: string;
  readonly detail: string;
  readonly severity: Severity;
  /** When it began, in Unix milliseconds, if the report says so. */
  readonly sinceMs?: number;
  /** How long it must last before it is reported, in milliseconds. @default 0 */
  readonly graceMs?: number;
}

/** Figures over time, which the report of one moment does not hold. */
export interface Trend {
  /** Entries of the main cache that were evicted in the last minute. */
  evictedLately(group: string): number;
}

/** Chosen: a peer that has just joined needs up to this long to be connected. */
const CONNECTING_GRACE_MS = 3_000;
/** Derived: nodes report their position once a second, and the next look comes a second later. */
const BEHIND_GRACE_MS = 3_000;
/** One probe may be lost, so two count. The second is 400 ms later. */
const MISSES_OF_SILENT = 2;
/** Chosen: above this share a budget counts as full, since an entry may be longer than the rest. */
const FULL_SHARE = 0.9;

const RANK: Readonly<Record<Severity, number>> = { error: 0, warning: 1, notice: 2 };

/** Sorts findings, the worst first; equal ones keep their order. */
export function worstFirst<T extends { readonly severity: Severity }>(findings: readonly T[]): T[] {
  return [...findings].sort((a, b) => RANK[a.severity] - RANK[b.severity]);
}

/** The faults that a report shows, the worst first. */
export function faultsOf(report: NodeReport, trend: Trend): Fault[] {
  return worstFirst([
    ...nodeFaults(report),
    ...peerFaults(report),
    ...Object.entries(report.groups).flatMap(([name, group]) => [...groupFaults(name, group, trend)]),
    ...operatorFaults(report),
  ]);
}

function* nodeFaults({ ready, registry, log }: NodeReport): Iterable<Fault> {
  if (ready === false) {
    yield { what: "not-ready", detail: "this node is not ready: it is starting or stopping", severity: "error" };
  }
  const isAway = registry?.kind === "nats" && registry.isAway;
  if (isAway) {
    const detail = "NATS cannot be reached: this node uses its last list of peers, and nothing can be invalidated";
    const sinceMs = registry.contact?.isConnected === false ? registry.contact.sinceMs : undefined;
    yield { what: "registry-away", detail, severity: "error", ...(sinceMs !== undefined && { sinceMs }) };
  } else if ((log?.blindMs ?? 0) > 0) {
    const detail = "the log of invalidations cannot be read: this node may be behind";
    yield { what: "log-blind", detail, severity: "error" };
  }
}

function* peerFaults({ links = [], silent = [], lost = [], outOfReach, log, groups }: NodeReport): Iterable<Fault> {
  if (outOfReach !== undefined) {
    const { url, since, peers, count } = outOfReach;
    const names = peers.join(", ") + (count > peers.length ? ` and ${count - peers.length} more` : "");
    const detail = `other nodes evicted this node, and there is no connection to ${names}: ` +
      `they must reach it at ${url} (--advertise), and it must reach them`;
    yield { what: "out-of-reach", detail, severity: "error", sinceMs: Date.parse(since) };
  }
  const leaving = new Set(
    Object.values(groups).flatMap(({ roster }) => roster?.peers ?? [])
      .flatMap(({ name, state }) => state === "draining" ? [name] : []),
  );
  const gone = new Set<string>();
  for (const { name, state } of links) {
    if (state === "open" || leaving.has(name)) continue;
    gone.add(name);
    const fault = { what: "peer-down" as const, about: name, severity: "error" as const };
    if (state === "connecting") {
      yield { ...fault, detail: `this node cannot connect to ${name}`, graceMs: CONNECTING_GRACE_MS };
    } else yield { ...fault, detail: `${name} does not answer: there is no connection to it` };
  }
  for (const { name, misses } of silent) {
    if (misses < MISSES_OF_SILENT || gone.has(name)) continue;
    const detail = `${name} does not answer probes`;
    yield { what: "peer-silent", about: name, detail, severity: "error" };
  }
  for (const { name, atMs: sinceMs } of lost) {
    const detail = `${name} did not answer and was evicted; it has not come back`;
    yield { what: "peer-lost", about: name, detail, severity: "notice", sinceMs };
  }
  const fault = { severity: "warning" as const, graceMs: BEHIND_GRACE_MS };
  for (const { name, behindBy } of log?.peers ?? []) {
    if (gone.has(name) || behindBy === 0) continue;
    if (behindBy > 0) {
      const detail = `${name} is behind: it has not applied the latest invalidations`;
      yield { ...fault, what: "peer-behind", about: name, detail };
    } else {
      const detail = `this node is behind ${name}: it has not applied the latest invalidations`;
      yield { ...fault, what: "node-behind", about: name, detail };
    }
  }
}

function* groupFaults(name: string, group: GroupFigures, trend: Trend): Iterable<Fault> {
  const { health, guard, about, originUnreachableSince } = group;
  const reason = health?.lastFailure?.reason;
  if (originUnreachableSince !== undefined) {
    const detail = `this node cannot reach the origin of ${name}, so other nodes load for it${because(reason)}`;
    const sinceMs = Date.parse(originUnreachableSince);
    yield { what: "origin-unreachable", about: name, detail, severity: "error", sinceMs };
  } else if (health?.failingSinceMs !== undefined) {
    const { loads, failures, failuresInRow, failingSinceMs: sinceMs } = health;
    const share = failures > 0 ? ` (${failures} of the last ${loads} loads)` : "";
    const detail = `the origin of ${name} fails${share}${because(reason)}`;
    const severity = failuresInRow > 0 || 2 * failures >= loads ? "error" as const : "warning" as const;
    yield { what: "origin-failing", about: name, detail, severity, sinceMs };
  }
  if (guard?.breaker === "open") {
    const detail = `the breaker of ${name} is open: this node does not ask its origin now`;
    yield { what: "breaker-open", about: name, detail, severity: "error" };
  }
  if (isFull(group) && trend.evictedLately(name) > 0) {
    const mebibytes = Math.round((about?.budgetBytes ?? 0) / 1024 / 1024);
    const detail = `the budget of ${name} (${mebibytes} MiB) is full, and entries are evicted to make room`;
    yield { what: "evicting", about: name, detail, severity: "notice" };
  }
  for (const { peer, text } of group.differences ?? []) {
    yield { what: "policies-differ", about: `${name} at ${peer}`, detail: text, severity: "warning" };
  }
}

function* operatorFaults({ registry, definitions, config }: NodeReport): Iterable<Fault> {
  const { fault: wrong, needRestart = [] } = config ?? {};
  if (wrong !== undefined) {
    const detail = `the changed file of --config is not followed, and the former options count: ${wrong.reason}`;
    yield { what: "bad-config", detail, severity: "warning", sinceMs: Date.parse(wrong.since) };
  }
  if (needRestart.length > 0) {
    const detail = `changes in the file of --config wait for a restart: ${needRestart.join(", ")}`;
    yield { what: "needs-restart", detail, severity: "notice" };
  }
  for (const { key, fault } of registry?.ignored ?? []) {
    const detail = `the record ${key} in the list of peers is ignored: ${fault}`;
    yield { what: "bad-record", about: key, detail, severity: "warning" };
  }
  for (const { group, reason } of definitions?.refused ?? []) {
    const detail = `the definition of the group ${group} is refused: ${reason}`;
    yield { what: "bad-definition", about: group, detail, severity: "warning" };
  }
}

function isFull({ about, mainCache, hotCache }: GroupFigures): boolean {
  const usedBytes = (mainCache?.memoryBytes ?? 0) + (hotCache?.memoryBytes ?? 0);
  return about !== undefined && usedBytes >= about.budgetBytes * FULL_SHARE;
}

function because(reason: string | undefined): string {
  return reason === undefined ? "" : `: ${reason}`;
}

/** One line that says whether all is well. */
export function headlineOf(findings: readonly Finding[]): string {
  const count = (severity: Severity) => findings.filter((finding) => finding.severity === severity).length;
  const [errors, warnings, notices] = [count("error"), count("warning"), count("notice")];
  if (errors > 0) return errors === 1 ? "Something is broken." : `${errors} things are broken.`;
  if (warnings > 0) return warnings === 1 ? "Something needs attention." : `${warnings} things need attention.`;
  return notices > 0 ? "All is well, with something to know." : "All is well.";
}
