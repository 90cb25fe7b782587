/** The parts of the status page: the figures of `/stats` for people. All text is escaped; URLs were checked by the roster. */
import { html } from "hono/html";
import type { PeerRecord } from "../../../core/roster.ts";
import type {
  Finding,
  GroupFigures,
  InvalidationFigures,
  LinkFigures,
  LogFigures,
  NodeReport,
  RecentLine,
  WorkerReport,
} from "../../figures.ts";
import type { MachineFace, NodeFace } from "../../ports.ts";
import { headlineOf } from "../findings.ts";
import { fleetGroups } from "./fleet-groups.ts";
import { groupTables } from "./group-tables.ts";
import { machineFindings, summed } from "../machine.ts";
import { fleetFindings, type PeerReport } from "../peer-reports.ts";
import type { PageParts } from "./page.ts";
import { plotsOf } from "./plots.ts";
import { type Cell, type Html, table } from "./table.ts";
import { clockText, mebibytes, percent, spanText } from "./texts.ts";
import type { Series } from "../watch.ts";

/** Facts for the page besides the report. */
export interface PageContext {
  readonly nowMs: number;
  readonly series: (group: string) => Series;
  readonly lines: readonly RecentLine[] | undefined;
  /** The reports of other nodes, by name. */
  readonly peers: ReadonlyMap<string, PeerReport>;
}

/** Entries of the log that are shown, in a box that scrolls. Chosen: a restart of each of ten nodes with three groups. */
const MAX_EVENTS = 100;
const MEBIBYTE = 1024 * 1024;

/** The page of one node. */
export async function nodeParts(report: NodeReport, context: PageContext): Promise<PageParts> {
  const { name, incarnation, version, runtime, groups, links = [], findings = [] } = report;
  const answering = new Map([...context.peers].filter(([peer]) => isUp(linkTo(peer, report))));
  return {
    title: name,
    groups: groupChoices(groups),
    parts: await textsOf({
      verdict: verdict(fleetFindings(findings, context.peers), context.nowMs),
      nodes: html`${nodeTable(report, context)}${revisions(groups)}`,
      groups: groupTables(fleetGroups(groups, answering), 1 + answering.size),
      plots: html`${plotsOf(Object.keys(groups), context.series)}
<p class="key"><small>The plots show ${name} alone, for five minutes at most.</small></p>`,
      events: eventList(groups, context.lines),
      inside: html`<p>Life ${incarnation}; muster ${version} on ${runtime}.</p>${fileLine(report)}
${Object.entries(groups).map(([group, figures]) => groupInside(group, figures))}
${logTable(report.log)}${linkTable(links)}`,
    }),
  };
}

/** The page of a machine: its workers and the sums of their figures. `own` is the worker that answers. */
export async function machineParts(
  machine: MachineFace,
  own: NodeReport,
  workers: readonly WorkerReport[],
  context: PageContext,
): Promise<PageParts> {
  const groups = summed(own, workers);
  const up = workers.filter(({ report }) => report !== undefined).length;
  const ofWorkers = machineFindings(workers, new Date(context.nowMs).toISOString());
  const findings = fleetFindings(ofWorkers, context.peers);
  // The other workers of this machine are peers of this one, and are in the sums.
  const elsewhere = new Map([...context.peers].filter(([name]) => workers.every((worker) => worker.name !== name)));
  return {
    title: machine.name,
    groups: groupChoices(groups),
    parts: await textsOf({
      verdict: verdict(findings, context.nowMs),
      nodes: html`<p>${up} of ${workers.length} workers answer.</p>${workerTable(workers)}
${nodeTable(own, context)}${revisions(groups)}`,
      // The plots would be those of one worker.
      groups: groupTables(fleetGroups(groups, elsewhere), up + elsewhere.size),
      events: eventList(groups, context.lines),
      inside: html`<p>${own.name} has answered; muster ${own.version} on ${own.runtime}.</p>
${Object.entries(groups).map(([group, figures]) => groupInside(group, figures))}${logTable(own.log)}`,
    }),
  };
}

/** Tells when the options in force were read. A later reading that failed is one of the findings. */
function fileLine({ config }: NodeReport): Html | "" {
  if (config === undefined) return "";
  return html`<p>Options of ${config.path}, read <time datetime="${config.readAt}">${config.readAt}</time>.</p>`;
}

async function textsOf(parts: Readonly<Record<string, Html>>): Promise<Record<string, string>> {
  const texts = Object.entries(parts).map(async ([id, part]) => [id, String(await part)] as const);
  return Object.fromEntries(await Promise.all(texts));
}

function groupChoices(groups: NodeReport["groups"]): { name: string; isSite: boolean }[] {
  return Object.entries(groups).map(([name, { about }]) => ({ name, isSite: about?.origin.endsWith("/*") === true }));
}

function verdict(findings: readonly Finding[], nowMs: number): Html {
  const worst = findings[0]?.severity ?? "well";
  const lines = findings.map(({ severity, detail, since }) =>
    html`
      <li
        class="${severity}"><strong>${severity}</strong> ${detail} <small>for ${spanText(
          nowMs - Date.parse(since),
        )}, since <time datetime="${since}">${clockText(since)}</time></small></li>
    `
  );
  return html`<p class="headline ${worst}">${headlineOf(findings)}</p>
${lines.length === 0 ? "" : html`<ul>${lines}</ul>`}`;
}

/** The peers of all groups, each once. */
function peersOf(report: NodeReport): ReadonlyMap<string, PeerRecord> {
  const listed = Object.values(report.groups).flatMap(({ roster }) => roster?.peers ?? []);
  return new Map(listed.map((peer) => [peer.name, peer]));
}

/** The names of the other nodes in the lists of these groups, sorted. Needs no report, which would be costly. */
export function othersOf(node: Pick<NodeFace, "name" | "roster">, groups: Iterable<string>): string[] {
  const listed = [...groups].flatMap((group) => node.roster(group)?.peers ?? []);
  return [...new Set(listed.map(({ name }) => name))].filter((name) => name !== node.name).sort();
}

function nodeTable(report: NodeReport, { nowMs, peers: told }: Pick<PageContext, "nowMs" | "peers">): Html {
  const { log } = report;
  const rows = [...peersOf(report).values()].sort((a, b) => a.name < b.name ? -1 : 1).map((peer): Cell[] => {
    const isOwn = peer.name === report.name;
    const link = isOwn ? "this node" : linkTo(peer.name, report);
    // What its record says is not true of a dead node.
    const isGone = peer.state === "serving" && !isUp(link);
    const figures = isOwn ? report : isGone ? undefined : told.get(peer.name);
    const behindBy = isOwn ? 0 : log?.peers.find(({ name }) => name === peer.name)?.behindBy;
    return [
      isOwn ? html`<strong>${peer.name}</strong>` : html`<a href="${peer.url}/">${peer.name}</a>`,
      isGone ? html`<span class="error">no answer</span>` : stateText(peer, figures?.ready),
      isOwn || link === "open" ? link : html`<span class="error">${link}</span>`,
      isGone ? "" : spanText(nowMs - Date.parse(peer.joined)),
      peer.version,
      peer.runtime,
      peer.zone,
      peer.weight,
      shareText(peer, report.groups),
      behindBy === undefined ? "" : behindBy,
      figures === undefined ? "" : hitRatio(Object.values(figures.groups)),
      figures?.memoryBytes === undefined ? "" : `${mebibytes(figures.memoryBytes)} MiB`,
    ];
  });
  const heads = [
    "node",
    "state",
    "link",
    "up for",
    "version",
    "runtime",
    "zone",
    "weight",
    "keys",
    "behind by",
    "hits",
  ];
  return table("The nodes that this node knows", [...heads, "memory"], rows, 7);
}

/** The state of this node's link to a peer. An open link to a peer that misses probes is "silent". */
function linkTo(name: string, { links = [], silent = [] }: NodeReport): string {
  const link = links.find((each) => each.name === name)?.state ?? "none";
  return link === "open" && silent.some((each) => each.name === name && each.misses > 1) ? "silent" : link;
}

function isUp(link: string): boolean {
  return link !== "down" && link !== "silent";
}

function stateText({ state }: PeerRecord, isReady = true): string {
  return !isReady && state === "serving" ? "not ready" : state;
}

/** A node's part of the keys of each group: its part of the weights of the serving nodes. */
function shareText({ name, weight, state }: PeerRecord, groups: NodeReport["groups"]): string {
  const shares = Object.entries(groups).flatMap(([group, { roster }]) => {
    const peers = (roster?.peers ?? []).filter((peer) => peer.state === "serving");
    if (roster?.peers.some((peer) => peer.name === name) !== true) return [];
    const all = peers.reduce((sum, peer) => sum + peer.weight, 0);
    return [[group, percent(state === "serving" ? weight : 0, all)] as const];
  });
  const texts = new Set(shares.map(([, text]) => text));
  return texts.size === 1 ? shares[0]![1] : shares.map(([group, text]) => `${group} ${text}`).join(", ");
}

function revisions(groups: NodeReport["groups"]): Html {
  const texts = Object.entries(groups).map(([group, { roster }]) => `${group} ${roster?.revision ?? 0}`);
  return html`<p><small>Revision of the list of peers: ${
    texts.join(", ")
  }. Other nodes are asked for their hits and memory every 2 s.</small></p>`;
}

function eventList(groups: NodeReport["groups"], lines: readonly RecentLine[] = []): Html {
  const ofInvalidations = Object.entries(groups).flatMap(([group, { invalidation }]) =>
    (invalidation?.last ?? []).map(({ atMs, message, sequence }) => ({
      atMs,
      level: "info" as const,
      message: `invalidated in ${group}: ${message} (sequence ${sequence})`,
    }))
  );
  const events = [...lines, ...ofInvalidations].sort((a, b) => b.atMs - a.atMs).slice(0, MAX_EVENTS);
  if (events.length === 0) return html`<p>Nothing has happened yet.</p>`;
  return html`<ol>${
    events.map(({ atMs, level, message }) => {
      const iso = new Date(atMs).toISOString();
      return html`<li class="${level}"><time datetime="${iso}">${clockText(iso)}</time> ${
        level === "info" ? "" : html`
          <strong>${level}</strong>
        `
      }${message}</li>`;
    })
  }</ol>`;
}

function workerTable(workers: readonly WorkerReport[]): Html {
  const total = (report: NodeReport, figure: (group: GroupFigures) => number | undefined) =>
    Object.values(report.groups).reduce((sum, group) => sum + (figure(group) ?? 0), 0);
  return table(
    "The workers of this machine",
    ["worker", "state", "gets", "hits", "origin loads", "open links"],
    workers.map(({ name, url, report, fault = "" }): Cell[] => [
      url === undefined ? name : html`<a href="${url}/">${name}</a>`,
      report === undefined ? html`<span class="error">${fault}</span>` : report.ready ? "serving" : "not ready",
      ...(report === undefined ? ["", "", "", ""] : [
        total(report, ({ gets }) => gets),
        total(report, ({ cacheHits }) => cacheHits),
        total(report, ({ originLoads }) => originLoads),
        (report.links ?? []).filter(({ state }) => state === "open").length,
      ]),
    ]),
    2,
  );
}

function groupInside(name: string, { mainCache, hotCache, invalidation, health, roster }: GroupFigures): Html {
  const caches = ([["main", mainCache], ["hot", hotCache]] as const).map(([cache, figures]) => [
    cache,
    figures?.items ?? 0,
    ((figures?.bytes ?? 0) / MEBIBYTE).toFixed(1),
    figures?.hits ?? 0,
    figures?.evictions ?? 0,
  ]);
  const peers = (roster?.peers ?? []).map(({ name, url, state, joined }) => [name, url, state, joined]);
  const failure = health?.lastFailure;
  return html`<h3>${name}</h3>
${table(`The caches of ${name}`, ["cache", "entries", "MiB", "hits", "evictions"], caches, 1)}
${table(`The peers of ${name}`, ["peer", "URL", "state", "joined"], peers, 4)}
${
    failure === undefined
      ? ""
      : html`<p>The last failure of the origin was at ${new Date(failure.atMs).toISOString()}: ${failure.reason}</p>`
  }
${invalidation === undefined ? "" : invalidationTable(name, invalidation)}`;
}

function invalidationTable(name: string, { applied, refused, dropped, softened }: InvalidationFigures): Html {
  const heads = ["invalidations applied", "unreadable", "values dropped", "made stale"];
  return table(`Invalidations of ${name}`, heads, [[applied, refused, dropped, softened]]);
}

/** The node's position in the log of invalidations. */
function logTable(log: LogFigures | undefined): Html {
  if (log === undefined) return html``;
  const { epoch, applied, blindMs, lastDurableMs, lastAppliedByAllMs } = log;
  const spanOf = (ms: number | undefined) => ms === undefined ? "" : `${ms.toFixed(1)} ms`;
  const state = blindMs > 0 ? `not reached for ${(blindMs / 1_000).toFixed(1)} s: this node may be behind` : "reached";
  return html`<h3>The log of invalidations</h3>
${
    table("The log of invalidations", ["state", "epoch", "applied", "latest: durable after", "applied by all after"], [[
      state,
      epoch,
      applied,
      spanOf(lastDurableMs),
      spanOf(lastAppliedByAllMs),
    ]], 1)
  }`;
}

function linkTable(links: readonly LinkFigures[]): Html {
  if (links.length === 0) return html`<p>No other node is known.</p>`;
  return html`<h3>Connections to other nodes</h3>
${
    table(
      "Connections to other nodes",
      ["peer", "state", "asked", "answered", "in flight to it", "in flight from it"],
      links.map(({ name, state, asked, answered, asksInFlight, servedInFlight }) => [
        name,
        state,
        asked,
        answered,
        asksInFlight,
        servedInFlight,
      ]),
      2,
    )
  }`;
}

function hitRatio(groups: readonly Pick<GroupFigures, "gets" | "cacheHits">[]): string {
  const sum = (field: "gets" | "cacheHits") => groups.reduce((all, group) => all + (group[field] ?? 0), 0);
  return percent(sum("cacheHits"), sum("gets"));
}
