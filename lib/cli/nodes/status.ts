/** `status` and `groups`: the fleet, and a node's groups, as tables. */
import type { commands } from "../../config/command-line/commands.ts";
import type { Values } from "../../config/command-line/command-line.ts";
import type { GroupFigures } from "../../http/figures.ts";
import { clientFor } from "../fleet/client.ts";
import { type Fleet, fleetOf, type NodeRow, type Stats } from "../fleet/fleet.ts";
import { noticesOf, type Problem, problemsOf } from "../fleet/problems.ts";
import { bytesText, type Cell, coloured, plain, shareText, table } from "../table.ts";
import type { ExitCode, Terminal } from "../terminal.ts";

/** Shows every node, then the faults. */
export async function status(
  values: Values<typeof commands.status>,
  terminal: Terminal,
): Promise<ExitCode> {
  const fleet = await fleetOf(clientFor(values, terminal.readFile));
  const [problems, notices] = [problemsOf(fleet), noticesOf(fleet)];
  if (values.json) await terminal.out(`${JSON.stringify({ ...statusJson(fleet, problems), notices })}\n`);
  else {
    const { isColoured } = terminal;
    await terminal.out(
      nodeTable(fleet, isColoured) + problemText(problems, isColoured) + noticeText(notices, isColoured),
    );
  }
  return problems.length === 0 ? 0 : 1;
}

/** Shows the groups of one node. */
export async function groups(values: Values<typeof commands.groups>, terminal: Terminal): Promise<ExitCode> {
  const client = clientFor(values, terminal.readFile);
  const stats = await client.json<Stats>({ path: "/stats" });
  const rows = Object.entries(stats.groups).map(([name, figures]) => ({ name, ...groupFigures(figures) }));
  if (values.json) {
    await terminal.out(`${JSON.stringify({ node: stats.name, groups: rows })}\n`);
    return 0;
  }
  const head = [
    "GROUP",
    "SERVED",
    "PEERS",
    "REVISION",
    "ITEMS",
    "MEMORY",
    "GETS",
    "HITS",
    "FROM PEERS",
    "FROM ORIGIN",
    "ORIGIN",
  ];
  await terminal.out(table(
    head,
    rows.map((row): Cell[] => [
      row.name,
      row.serves ? "yes" : { text: "no", tone: "dim" },
      row.peers,
      row.revision,
      row.items,
      bytesText(row.memoryBytes),
      row.gets,
      shareText(row.cacheHits, row.gets),
      row.peerLoads,
      row.originLoads,
      row.originUnreachableSince === null
        ? ""
        : { text: `unreachable since ${row.originUnreachableSince}`, tone: "bad" },
    ]),
    terminal.isColoured,
  ));
  return 0;
}

function groupFigures(figures: GroupFigures) {
  const { serves = true, roster, mainCache, hotCache, originUnreachableSince = null, guard } = figures;
  const { gets = 0, cacheHits = 0, peerLoads = 0, originLoads = 0 } = figures;
  return {
    serves,
    peers: roster?.peers.length ?? 0,
    revision: roster?.revision ?? 0,
    items: (mainCache?.items ?? 0) + (hotCache?.items ?? 0),
    bytes: (mainCache?.bytes ?? 0) + (hotCache?.bytes ?? 0),
    memoryBytes: (mainCache?.memoryBytes ?? 0) + (hotCache?.memoryBytes ?? 0),
    gets,
    cacheHits,
    peerLoads,
    originLoads,
    originUnreachableSince,
    breaker: guard?.breaker ?? null,
  };
}

/** A node's figures, summed over its groups. */
export function nodeFigures({ groups, links = [], log }: Stats) {
  const sums = { items: 0, memoryBytes: 0, gets: 0, cacheHits: 0, peerLoads: 0, originLoads: 0 };
  for (const figures of Object.values(groups)) {
    const one = groupFigures(figures);
    for (const field of Object.keys(sums) as (keyof typeof sums)[]) sums[field] += one[field];
  }
  return {
    ...sums,
    openLinks: links.filter(({ state }) => state === "open").length,
    links: links.length,
    applied: log?.applied ?? null,
  };
}

function statusJson({ asked, rows }: Fleet, problems: readonly Problem[]): object {
  return {
    ok: problems.length === 0,
    asked,
    problems,
    nodes: rows.map(({ name, url, state, link, records, report, fault, withheld }) => {
      const [record] = records.values();
      return {
        name,
        url,
        state,
        link,
        answers: fault === undefined && url !== null,
        ready: report?.ready ?? null,
        version: record?.version ?? report?.version ?? null,
        runtime: record?.runtime ?? report?.runtime ?? null,
        zone: record?.zone ?? null,
        weight: record?.weight ?? null,
        groups: [...records.keys()],
        figures: report === undefined ? null : nodeFigures(report),
        fault: fault ?? null,
        withheld: withheld ?? null,
      };
    }),
  };
}

function nodeTable({ rows }: Fleet, isColoured: boolean): string {
  const head = [
    "NODE",
    "URL",
    "STATE",
    "VERSION",
    "RUNTIME",
    "ZONE",
    "WEIGHT",
    "ITEMS",
    "MEMORY",
    "GETS",
    "HITS",
    "LINKS",
  ];
  return table(head, rows.map(cellsOf), isColoured);
}

function cellsOf({ name, url, state, records, report, fault, withheld }: NodeRow): Cell[] {
  const [record] = records.values();
  const about = [record?.version ?? report?.version ?? "", record?.runtime ?? report?.runtime ?? ""];
  const said: Cell[] = [...about, record?.zone ?? "", record?.weight ?? ""];
  if (fault !== undefined) return [name, url ?? "", { text: "no answer", tone: "bad" }, ...said, "", "", "", "", ""];
  const shownState: Cell = report?.ready === false && state !== "draining"
    ? { text: "not ready", tone: "bad" }
    : { text: state, tone: state === "serving" ? "good" : "doubtful" };
  if (report === undefined) {
    return [name, url ?? "", shownState, ...said, { text: `no figures: ${withheld}`, tone: "dim" }, "", "", "", ""];
  }
  const { items, memoryBytes, gets, cacheHits, openLinks, links } = nodeFigures(report);
  return [
    name,
    url ?? "",
    shownState,
    ...said,
    items,
    bytesText(memoryBytes),
    gets,
    shareText(cacheHits, gets),
    { text: `${openLinks}/${links}`, tone: openLinks === links ? "good" : "bad" },
  ];
}

/** Each problem in a line, with what to do below it. */
export function problemText(problems: readonly Problem[], isColoured: boolean): string {
  if (problems.length === 0) return `${coloured("all is well", "good", isColoured)}\n`;
  return linesOf(problems, coloured("wrong", "bad", isColoured), isColoured);
}

/** The same for notices. */
export function noticeText(notices: readonly Problem[], isColoured: boolean): string {
  return linesOf(notices, coloured("note", "doubtful", isColoured) + " ", isColoured);
}

function linesOf(problems: readonly Problem[], word: string, isColoured: boolean): string {
  return problems.map(({ node, problem, todo }) => {
    const what = plain(node === null ? problem : `${node}: ${problem}`);
    return `${word}  ${what}\n       ${coloured(todo, "dim", isColoured)}\n`;
  }).join("");
}
