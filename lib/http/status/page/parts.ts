/** The parts of the status page: the figures of `/stats` for people. All text is escaped; URLs were checked by the roster. */
import { html, raw } from "hono/html";
import type { Latencies } from "../../../core/group/stats.ts";
import type { PeerRecord } from "../../../core/roster.ts";
import type {
  Finding,
  GroupFigures,
  InvalidationFigures,
  LinkFigures,
  LogFigures,
  MachineFace,
  NodeFace,
  NodeReport,
  RecentLine,
  WorkerReport,
} from "../../ports.ts";
import { headlineOf } from "../findings.ts";
import { latencyTable } from "./latency.ts";
import { machineFindings, summed } from "../machine.ts";
import { fleetFindings, type PeerReport } from "../peer-reports.ts";
import type { PageParts } from "./page.ts";
import { plotsOf } from "./plots.ts";
import { rateText, sparkline } from "./sparkline.ts";
import { type Cell, type Html, table } from "./table.ts";
import type { Sampled, Series } from "../watch.ts";

/** Facts for the page besides the report. */
export interface PageContext {
  readonly nowMs: number;
  readonly series: (group: string) => Series;
  /** How long things took in the last minute. */
  readonly latencies: (group: string) => Latencies | undefined;
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
  return {
    title: name,
    groups: groupChoices(groups),
    parts: await textsOf({
      verdict: verdict(fleetFindings(findings, context.peers), context.nowMs),
      nodes: html`${nodeTable(report, context)}${revisions(groups)}`,
      groups: html`${groupTable(groups, context)}${latencyTable(groups, context.latencies)}`,
      plots: plotsOf(Object.keys(groups), context.series),
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
  return {
    title: machine.name,
    groups: groupChoices(groups),
    parts: await textsOf({
      verdict: verdict(findings, context.nowMs),
      nodes: html`<p>${up} of ${workers.length} workers answer.</p>${workerTable(workers)}
${nodeTable(own, context)}${revisions(groups)}`,
      // The plots would be those of one worker.
      groups: html`${groupTable(groups, { series: undefined })}${latencyTable(groups, undefined)}`,
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

/** The names of the other nodes in the lists of these groups, sorted. Takes no report, which is dear. */
export function othersOf(node: Pick<NodeFace, "name" | "roster">, groups: Iterable<string>): string[] {
  const listed = [...groups].flatMap((group) => node.roster(group)?.peers ?? []);
  return [...new Set(listed.map(({ name }) => name))].filter((name) => name !== node.name).sort();
}

function nodeTable(report: NodeReport, { nowMs, peers: told }: Pick<PageContext, "nowMs" | "peers">): Html {
  const { links = [], log, silent = [] } = report;
  const linkOf = (name: string) => {
    const link = links.find((each) => each.name === name)?.state ?? "none";
    return link === "open" && silent.some((each) => each.name === name && each.misses > 1) ? "silent" : link;
  };
  const rows = [...peersOf(report).values()].sort((a, b) => a.name < b.name ? -1 : 1).map((peer): Cell[] => {
    const isOwn = peer.name === report.name;
    const link = isOwn ? "this node" : linkOf(peer.name);
    // What its record says is not true of a dead node.
    const isGone = peer.state === "serving" && (link === "down" || link === "silent");
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

function groupTable(
  groups: NodeReport["groups"],
  { series }: { readonly series: PageContext["series"] | undefined },
): Html {
  const rows = Object.entries(groups).map(([name, group]): Cell[] => {
    const { about, gets = 0, cacheHits = 0, hotCache, peerLoads = 0, originLoads = 0 } = group;
    const lately = series?.(name);
    const last = (field: Sampled) =>
      lately === undefined ? "" : html`<br><small>${rateText(lately[field].at(-1) ?? 0)}/s</small>`;
    return [
      html`<strong>${name}</strong>${group.serves === false ? html`<br><small>asked of other nodes</small>` : ""}`,
      about?.origin ?? "",
      about?.lifetime ?? "",
      budget(group),
      html`${gets}${last("gets")}`,
      html`${cacheHits} (${percent(cacheHits, gets)})${last("cacheHits")}`,
      html`${hotCache?.hits ?? 0}${last("hotHits")}`,
      html`${peerLoads}${last("peerLoads")}`,
      html`${originLoads}${last("originLoads")}`,
      (group.localLoadErrs ?? 0) + (group.peerErrors ?? 0),
      ...(lately === undefined ? [] : [raw(plot(lately))]),
    ];
  });
  const heads = ["group", "origin", "lifetime", "budget", "gets", "hits", "hot hits", "from peers", "from origin"];
  return html`${
    table("The groups of this node", [...heads, "errors", ...(series === undefined ? [] : ["lately"])], rows, 4)
  }
${
    series === undefined
      ? ""
      : html`<p class="key"><small><span class="gets">gets</span>, <span class="cacheHits">hits</span>
and <span class="originLoads">loads from the origin</span> a second, in the last five minutes at most, on one scale. Errors count "not found" of the
origin too.</small></p>`
  }`;
}

function plot(series: Series): string {
  return sparkline((["gets", "cacheHits", "originLoads"] as const).map((name) => ({ name, values: series[name] })));
}

function budget({ about, mainCache, hotCache }: GroupFigures): Cell {
  const usedBytes = (mainCache?.memoryBytes ?? 0) + (hotCache?.memoryBytes ?? 0);
  const used = `${(usedBytes / MEBIBYTE).toFixed(1)} MiB`;
  if (about === undefined) return used;
  const { budgetBytes } = about;
  return html`
    <meter max="${budgetBytes}" high="${Math.round(budgetBytes * 0.9)}"
      value="${usedBytes}">${percent(usedBytes, budgetBytes)}</meter><br><small>${used} of ${mebibytes(
        budgetBytes,
      )}</small>
  `;
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

function percent(part: number, whole: number): string {
  return whole === 0 ? "0 %" : `${(100 * part / whole).toFixed(1)} %`;
}

function mebibytes(bytes: number): string {
  return (bytes / MEBIBYTE).toFixed(bytes < 10 * MEBIBYTE ? 1 : 0);
}

/** The largest unit, and the one below it. */
function spanText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  const [minutes, hours, days] = [60, 3_600, 86_400].map((unit) => Math.floor(seconds / unit)) as [
    number,
    number,
    number,
  ];
  if (days > 0) return `${days} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes % 60} min`;
  return minutes > 0 ? `${minutes} min` : `${seconds} s`;
}

function clockText(iso: string): string {
  return `${iso.slice(11, 19)} UTC`;
}
