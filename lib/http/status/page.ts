/**
 * The status page: the figures of `/stats` for people. It has no script and loads nothing. Text from the registry is
 * escaped; a URL from it becomes a link because the roster has checked it.
 */
import { createHash } from "node:crypto";
import { html, raw } from "hono/html";
import { OF_OPERATORS } from "../security.ts";
import { summed } from "./machine.ts";
import type {
  GroupFigures,
  InvalidationFigures,
  LinkFigures,
  LogFigures,
  MachineFace,
  NodeReport,
  WorkerReport,
} from "../ports.ts";

type Html = ReturnType<typeof html>;
type Cell = string | number | Html;

/** Chosen: often enough to watch, and no load. */
const REFRESH_SECONDS = 5;
const MEBIBYTE = 1024 * 1024;
const READY = "serving";
const NOT_READY = "not ready: starting or stopping";
const style =
  `body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;margin:.5rem 0 1.5rem;display:block;overflow-x:auto}
th,td{text-align:left;padding:.2rem .9rem .2rem 0;border-bottom:1px solid #ddd;white-space:nowrap}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}th,td{border-color:#444}a{color:#8bf}}`;

/** The page has one style and nothing else: no script, no picture, no form, no frame around it. */
const POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(style).digest("base64")}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** The page of one node. */
export function statusPage(node: NodeReport, isReady: boolean): Promise<Response> {
  const { name, incarnation, version, runtime, groups, links, log } = node;
  const head = html`${isReady ? READY : NOT_READY}; life ${incarnation}; muster ${version} on ${runtime}.`;
  const body = html`${Object.entries(groups).map(([group, figures]) => groupSection(group, [name], figures))}
    ${logSection(log)}
    <h2>Links</h2>
    ${linkTable(links ?? [])}`;
  return answer(page(name, head, body));
}

/** The page of a machine: its workers and the sums of their figures. `own` is the worker that answers. */
export function machinePage(
  machine: MachineFace,
  own: NodeReport,
  workers: readonly WorkerReport[],
): Promise<Response> {
  const names = workers.map(({ name }) => name);
  const up = workers.filter(({ report }) => report !== undefined).length;
  const head = html`${up} of ${workers.length} workers answer; muster ${own.version} on ${own.runtime}.`;
  const body = html`<h2>Workers</h2>
    ${workerTable(workers)}
    ${Object.entries(summed(own, workers)).map(([group, figures]) => groupSection(group, names, figures))}
    ${logSection(own.log)}`;
  return answer(page(machine.name, head, body));
}

/** A response that no cache stores and that may load nothing. */
async function answer(page: Html): Promise<Response> {
  const body = new TextEncoder().encode(String(await page));
  return new Response(body, {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-length": String(body.byteLength),
      "cache-control": "no-store",
      "content-security-policy": POLICY,
      "cross-origin-opener-policy": "same-origin",
      ...OF_OPERATORS,
    },
  });
}

function page(title: string, head: Html, body: Html): Html {
  return html`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width,initial-scale=1">
        <meta http-equiv="refresh" content="${REFRESH_SECONDS}">
        <title>${title} - muster</title>
        <style>${raw(style)}</style>
      </head>
      <body><h1>${title}</h1>
    <p>${head} As of ${new Date().toISOString()};
    <a href="/stats">JSON</a>, <a href="/metrics">Prometheus</a>.</p>
    ${body}
      </body>
    </html>
  `;
}

function workerTable(workers: readonly WorkerReport[]): Html {
  const total = (report: NodeReport, figure: (group: GroupFigures) => number | undefined) =>
    Object.values(report.groups).reduce((sum, group) => sum + (figure(group) ?? 0), 0);
  return table(
    ["worker", "state", "gets", "hits", "origin loads", "open links"],
    workers.map(({ name, url, report, fault = "" }) => [
      url === undefined ? name : html`<a href="${url}/">${name}</a>`,
      report === undefined ? fault : report.ready ? READY : NOT_READY,
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

/** @param own the names of this node, or of this machine's workers, which stand out in the list of peers */
function groupSection(group: string, own: readonly string[], figures: GroupFigures): Html {
  const { gets = 0, cacheHits = 0, peerLoads = 0, originLoads = 0, peerErrors = 0, roster } = figures;
  const caches = [["main", figures.mainCache], ["hot", figures.hotCache]] as const;
  return html`<h2>${group}${figures.serves === false ? " (asked of the nodes that serve it)" : ""}</h2>
${
    table(["gets", "hits", "from peers", "origin loads", "peer errors"], [[
      gets,
      `${cacheHits} (${share(cacheHits, gets)})`,
      peerLoads,
      originLoads,
      peerErrors,
    ]])
  }
${
    table(
      ["cache", "entries", "MiB", "evictions"],
      caches.map(([name, cache]) => [
        name,
        cache?.items ?? 0,
        ((cache?.bytes ?? 0) / MEBIBYTE).toFixed(1),
        cache?.evictions ?? 0,
      ]),
      1,
    )
  }
<h3>Peers at revision ${roster?.revision ?? 0}</h3>
${
    table(
      ["peer", "URL", "state", "weight", "zone", "runtime", "joined"],
      (roster?.peers ?? []).map((peer) => [
        own.includes(peer.name) ? html`<strong>${peer.name}</strong>` : peer.name,
        html`<a href="${peer.url}/">${peer.url}</a>`,
        peer.state,
        peer.weight,
        peer.zone,
        peer.runtime,
        peer.joined,
      ]),
      7,
    )
  }
${figures.invalidation === undefined ? "" : invalidationTables(figures.invalidation)}`;
}

function invalidationTables({ applied, refused, dropped, softened, last }: InvalidationFigures): Html {
  return html`<h3>Invalidations</h3>
${
    table(["applied", "unreadable", "values dropped", "made stale"], [[
      applied,
      refused,
      dropped,
      softened,
    ]])
  }
${
    last.length === 0 ? "" : table(
      ["message", "applied at", "sequence"],
      last.map(({ sequence, atMs, message }) => [message, new Date(atMs).toISOString(), sequence]),
      2,
    )
  }`;
}

/** Where the node is in the log of invalidations, and how far its peers are behind it. */
function logSection(log: LogFigures | undefined): Html {
  if (log === undefined) return html``;
  const { epoch, applied, blindMs, peers, lastDurableMs, lastAppliedByAllMs } = log;
  const spanOf = (ms: number | undefined) => ms === undefined ? "" : `${ms.toFixed(1)} ms`;
  return html`<h2>Log of invalidations</h2>
${
    table(["state", "epoch", "applied", "latest: durable after", "applied by all after"], [[
      blindMs > 0 ? `not reached for ${(blindMs / 1_000).toFixed(1)} s: this node may be behind` : "reached",
      epoch,
      applied,
      spanOf(lastDurableMs),
      spanOf(lastAppliedByAllMs),
    ]], 1)
  }
${
    peers.length === 0
      ? ""
      : table(["peer", "behind this node by"], peers.map(({ name, behindBy }) => [name, behindBy]), 1)
  }`;
}

function linkTable(links: readonly LinkFigures[]): Html {
  if (links.length === 0) return html`<p>No other node is known.</p>`;
  return table(
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
  );
}

/** @param textColumns how many columns at the front hold text; the others hold numbers */
function table(heads: readonly string[], rows: readonly (readonly Cell[])[], textColumns = 0): Html {
  const kind = (column: number) => column < textColumns ? "text" : "number";
  return html`
    <table>
      <thead>
        <tr>${heads.map((head, i) => html`<th class="${kind(i)}">${head}</th>`)}</tr>
      </thead>
      <tbody>${rows.map((row) =>
        html`<tr>${row.map((cell, i) => html`<td class="${kind(i)}">${cell}</td>`)}</tr>`
      )}</tbody>
    </table>
  `;
}

function share(part: number, whole: number): string {
  return whole === 0 ? "0 %" : `${(100 * part / whole).toFixed(1)} %`;
}
