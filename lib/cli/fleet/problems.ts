/** Finds what is wrong with a fleet, from the figures of its nodes. Pure functions. */
import type { PeerRecord } from "../../core/roster.ts";
import type { FindingKind, GroupFigures } from "../../http/figures.ts";
import { policyDifferences } from "../../node/groups/policy-digest.ts";
import { spanText } from "../table.ts";
import type { Fleet, NodeRow, Stats } from "./fleet.ts";

/** A fault, with its remedy. */
export interface Problem {
  /** The node with the fault; `null`: the whole fleet. */
  readonly node: string | null;
  /** The part of the fleet with the fault, such as the key of a record. */
  readonly about?: string;
  readonly problem: string;
  /** What to do about it. */
  readonly todo: string;
}

/** Remedies for findings of a node that this file does not detect itself. */
const REMEDY: Readonly<Partial<Record<FindingKind, string>>> = {
  "origin-failing": "look at the origin's own errors",
  "out-of-reach": "give the node an --advertise that the other nodes reach, or open the network between them",
  "peer-lost": "start it again; if it was removed for good, do nothing",
  "bad-record": "find the writer of the record, and delete it: nats kv del, with the bucket and the key",
  "bad-config": "correct the file, and check it with config check: until then the former options count",
  "evicting": "raise budgetBytes if evicted values are loaded again",
  "needs-restart": "restart the node at a good time",
};

/** How many messages a node may be behind for a moment while many come. Chosen. */
const MAX_BEHIND = 100;

/** Findings that every node reports. They belong to the fleet and are shown once. */
const OF_FLEET: ReadonlySet<FindingKind> = new Set(["bad-record", "peer-lost"]);

/** Facts that are worth knowing but are no faults. */
export function noticesOf({ rows }: Pick<Fleet, "rows">): Problem[] {
  const found = rows.flatMap(({ name, state, report }): Problem[] => {
    if (report === undefined) return [];
    const leaves = report.ready === false && state === "draining";
    const leaving = leaves ? [{ node: name, problem: "it is leaving", todo: "nothing: it hands over its values" }] : [];
    return [...leaving, ...findingsOf(name, report, true)];
  });
  const told = new Set<string>();
  return found.filter(({ node, problem }) => node !== null || (!told.has(problem) && told.add(problem)));
}

/** The node's own findings of the kinds above. */
function findingsOf(node: string, { findings = [] }: Stats, areNotices: boolean): Problem[] {
  return findings.flatMap(({ what, about, detail, since, severity }): Problem[] => {
    const todo = REMEDY[what];
    if (todo === undefined || (severity === "notice") !== areNotices) return [];
    // Leave out the time, as nodes see the fault at different times.
    if (OF_FLEET.has(what)) return [{ node: null, ...(about !== undefined && { about }), problem: detail, todo }];
    return [{ node, problem: `${detail} (since ${since})`, todo }];
  });
}

/** All faults, with the nodes in the order of the rows. */
export function problemsOf(fleet: Fleet): Problem[] {
  const found: Problem[] = [];
  for (const row of fleet.rows) {
    const add = (problem: string, todo: string) => void found.push({ node: row.name, problem, todo });
    if (row.fault !== undefined) {
      add(
        row.fault,
        "start it again, or wait: the other nodes evict it when they agree that it is dead",
      );
    }
    if (row.report === undefined) continue;
    ofReport(row, row.report, fleet, add);
    for (const told of findingsOf(row.name, row.report, false)) {
      if (told.node !== null || !found.some(({ problem }) => problem === told.problem)) found.push(told);
    }
  }
  found.push(...disagreements(fleet.rows), ...differences(fleet.rows));
  return found;
}

type Add = (problem: string, todo: string) => void;

function ofReport({ state: listedAs }: NodeRow, report: Stats, { rows }: Fleet, add: Add): void {
  const { ready, log, links = [], definitions, groups } = report;
  // A leaving node is not ready by intent, so it is a notice.
  if (ready === false && listedAs !== "draining") add("it is not ready", "it has not joined yet: its log says why");
  if (log !== undefined && log.blindMs > 0) {
    add(
      `it has been out of touch with NATS for ${spanText(log.blindMs)}`,
      "run doctor on its machine: nothing can be invalidated, and no node can join, until NATS is back",
    );
  }
  const behind = log === undefined ? 0 : behindOf(report, rows);
  if (behind > MAX_BEHIND) {
    add(
      `it is ${behind} invalidations behind`,
      "it may be overloaded, or its connection to NATS is slow: look at its log",
    );
  }
  for (const { name, state } of links) {
    // A node that does not answer at all is reported once.
    const isUp = rows.some((row) => row.name === name && row.state === "serving" && row.fault === undefined);
    if (isUp && state !== "open") {
      add(
        `it has no connection to ${name} (${state})`,
        `make sure that it reaches the URL of ${name}, without a proxy between them`,
      );
    }
  }
  for (const { group, reason } of definitions?.refused ?? []) {
    add(`it refuses the definition of ${group}: ${reason}`, "put a correct definition into the bucket of groups");
  }
  for (const [name, figures] of Object.entries(groups)) ofGroup(name, figures, add);
}

function ofGroup(name: string, { originUnreachableSince, guard }: GroupFigures, add: Add): void {
  if (originUnreachableSince !== undefined) {
    add(
      `it has not reached the origin of ${name} since ${originUnreachableSince}`,
      "make sure that the origin runs, and that this node can reach it; other nodes load for it meanwhile",
    );
  }
  if (guard?.breaker === "open") {
    add(
      `the breaker of ${name} is open: its origin fails`,
      "look at the origin's own errors; the breaker probes by itself",
    );
  }
}

/** How many messages of the log another node has applied but this one has not. */
function behindOf({ log }: Stats, rows: readonly NodeRow[]): number {
  const applied = rows.flatMap(({ report }) => report?.log?.epoch === log!.epoch ? report.log.applied : []);
  return Math.max(0, ...applied) - log!.applied;
}

/** Finds lists of one group that differ between nodes. */
function disagreements(rows: readonly NodeRow[]): Problem[] {
  const lists = new Map<string, Map<string, string[]>>();
  for (const { name, report } of rows) {
    for (const [group, { roster }] of Object.entries(report?.groups ?? {})) {
      if (roster === undefined) continue;
      const text = roster.peers.map((peer) => peer.name).join(", ");
      const ofGroup = lists.get(group) ?? new Map<string, string[]>();
      lists.set(group, ofGroup.set(text, [...ofGroup.get(text) ?? [], name]));
    }
  }
  return [...lists].filter(([, texts]) => texts.size > 1).map(([group, texts]) => ({
    node: null,
    problem: `nodes have different lists of the peers of ${group}: ${
      [...texts].map(([text, nodes]) => `${nodes.join(" and ")}: ${text || "nobody"}`).join("; ")
    }`,
    todo:
      "look again in a few seconds: a change may be on its way. If it stays, run doctor on the node with the old list",
  }));
}

/** Finds versions, policies and origins that differ between nodes. */
function differences(rows: readonly NodeRow[]): Problem[] {
  const found: Problem[] = [];
  const first = new Map<string, PeerRecord>();
  const all = rows.flatMap(({ records }) => [...records]);
  for (const [group, record] of all) {
    const other = first.get(group) ?? record;
    first.set(group, other);
    if (isOther(record.origin, other.origin)) {
      found.push({
        node: record.name,
        problem: `its origin of ${group} differs from that of ${other.name}: they share no value`,
        todo: "start them with the same --group, or give one of the groups another name",
      });
    } else if (record.policy !== undefined && other.policy !== undefined) {
      const fields = policyDifferences(other.policy, record.policy);
      if (fields.length === 0) continue;
      found.push({
        node: record.name,
        problem: `its policy of ${group} differs from that of ${other.name}: ${fields.join("; ")}`,
        todo: "start them with the same options and the same file",
      });
    }
  }
  const versions = new Map(all.map(([, { name, version }]) => [name, version]));
  if (new Set(versions.values()).size > 1) {
    const told = [...versions].map(([name, version]) => `${name} ${version}`).join(", ");
    found.push({ node: null, problem: `nodes run different versions: ${told}`, todo: "finish the upgrade" });
  }
  return found;
}

function isOther(one: string | undefined, other: string | undefined): boolean {
  return one !== undefined && other !== undefined && one !== other;
}
