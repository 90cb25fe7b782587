/** The fleet as one node sees it, with the figures of every node that shows them. */
import type { PeerRecord } from "../../core/roster.ts";
import type { LinkFigures, NodeReport, WorkerReport } from "../../http/figures.ts";
import { CommandError } from "../terminal.ts";
import type { NodeClient } from "./client.ts";

/** How long a node's figures may take. Chosen: short, since the table waits for the slowest node. */
const FIGURES_TIMEOUT_MS = 2_000;

/** The same through another node, which itself waits for 2 s. */
const LINK_TIMEOUT_MS = 3_000;

/** `/stats`: a node's, or that of a machine with its workers. */
export type Stats = NodeReport & {
  readonly url?: string;
  readonly workers?: readonly (NodeReport | WorkerReport)[];
};

/** One node of the fleet. */
export interface NodeRow {
  readonly name: string;
  /** `null`: the asked node does not tell it. */
  readonly url: string | null;
  /** Its state in the lists; `unlisted`: it serves no group. */
  readonly state: "serving" | "draining" | "unlisted";
  /** Its records by group, as the asked node has them. */
  readonly records: ReadonlyMap<string, PeerRecord>;
  /** The asked node's link to it; `self`: it is that node. */
  readonly link: string;
  readonly report?: Stats;
  /** Why it counts as faulty: it does not run, or differs from its record. */
  readonly fault?: string;
  /** Why it does not show its figures, although it runs. */
  readonly withheld?: string;
}

/** All nodes that the asked one knows. */
export interface Fleet {
  readonly asked: string;
  readonly own: Stats;
  readonly rows: readonly NodeRow[];
}

/** Asks one node, then each that it lists. @throws CommandError the node does not answer, or refuses */
export async function fleetOf(client: NodeClient): Promise<Fleet> {
  const own = await client.json<Stats>({ path: "/stats" });
  if (own.groups === undefined) throw new CommandError(`${client.url} answers, but it is no node`);
  const known = knownReports(own);
  const links = new Map<string, LinkFigures>(
    [...known.values()].flatMap(({ links = [] }) => links).map((link) => [link.name, link]),
  );
  const records = recordsOf(own);
  const listed = [...records].map(([name, byGroup]) => rowOf(client, name, byGroup, known.get(name), links.get(name)));
  const named = new Set([...records.keys(), own.name]);
  const others = [...links.values()].filter(({ name }) => !named.has(name)).map(async (link): Promise<NodeRow> => {
    const { name, state } = link;
    const row = { name, url: null, state: "unlisted" as const, records: new Map(), link: state };
    const report = await overLink(client, link);
    return report ? { ...row, report } : { ...row, withheld: "it serves no group, so its address is not told" };
  });
  const self: NodeRow[] = records.has(own.name) || own.workers !== undefined ? [] : [{
    name: own.name,
    url: own.url ?? client.url,
    state: "unlisted",
    records: new Map(),
    link: "self",
    report: own,
  }];
  const rows = [...await Promise.all([...listed, ...others]), ...self];
  return { asked: own.name, own, rows: rows.sort((a, b) => a.name < b.name ? -1 : 1) };
}

/** The reports that came with the answer: the node's own, or those of a machine's workers. */
function knownReports(own: Stats): Map<string, Stats> {
  if (own.workers === undefined) return new Map([[own.name, own]]);
  return new Map(own.workers.flatMap((worker) => "groups" in worker ? [[worker.name, worker]] : []));
}

function recordsOf(own: Stats): Map<string, Map<string, PeerRecord>> {
  const found = new Map<string, Map<string, PeerRecord>>();
  for (const [group, { roster }] of Object.entries(own.groups)) {
    for (const peer of roster?.peers ?? []) {
      found.set(peer.name, (found.get(peer.name) ?? new Map()).set(group, peer));
    }
  }
  return found;
}

async function rowOf(
  client: NodeClient,
  name: string,
  records: ReadonlyMap<string, PeerRecord>,
  known: Stats | undefined,
  link: LinkFigures | undefined,
): Promise<NodeRow> {
  const { url, incarnation, state } = [...records.values()][0]!;
  const row = { name, url, state, records, link: known === undefined ? link?.state ?? "none" : "self" };
  const report = known ?? await overLink(client, link);
  if (report !== undefined) return { ...row, report };
  // A writer to NATS may list any URL. An open link proves that the node is the listed one.
  const peer = client.at(url, row.link === "open");
  try {
    const health = await peer.json<{ name?: string; incarnation?: string }>({
      path: "/healthz",
      timeoutMs: FIGURES_TIMEOUT_MS,
    });
    if (health.name !== name) return { ...row, fault: "another node, or another program, answers at its address" };
    if (health.incarnation !== incarnation) {
      return { ...row, fault: "it has been restarted: the list still has its earlier life" };
    }
  } catch (error) {
    return { ...row, fault: messageOf(error) };
  }
  try {
    return { ...row, report: await peer.json<Stats>({ path: "/stats", timeoutMs: FIGURES_TIMEOUT_MS }) };
  } catch (error) {
    return { ...row, withheld: messageOf(error) };
  }
}

/**
 * Gets a peer's figures through the asked node, over the link between the two. The peer has proved its identity there,
 * and the operator's machine needs no connection to it. `undefined`: there is no link, or one of the two has the
 * release before.
 */
async function overLink(client: NodeClient, link: LinkFigures | undefined): Promise<Stats | undefined> {
  if (link?.state !== "open") return undefined;
  try {
    const path = `/stats?node=${encodeURIComponent(link.name)}`;
    const report = await client.json<Stats>({ path, timeoutMs: LINK_TIMEOUT_MS });
    // The release before gives its own figures instead.
    return report.name === link.name ? report : undefined;
  } catch {
    return undefined;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
