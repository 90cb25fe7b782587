/** `top`: the rates of every node, between two looks at its figures. */
import type { commands } from "../../config/command-line/commands.ts";
import type { Values } from "../../config/command-line/command-line.ts";
import { pause } from "../../core/base/time/timeout.ts";
import { added, type HistogramFigures, percentilesOf, since } from "../../core/measure/histogram.ts";
import { clientFor } from "../fleet/client.ts";
import { type Fleet, fleetOf, type Stats } from "../fleet/fleet.ts";
import { bytesText, type Cell, coloured, plain, shareText, table } from "../table.ts";
import { CommandError, type ExitCode, type Terminal } from "../terminal.ts";

/** Clears the terminal and goes to its first line (ECMA-48). */
const HOME = "\x1b[H\x1b[2J";

/** A node's counters since its start, and its present contents. */
interface Counts {
  readonly atMs: number;
  readonly incarnation: string;
  readonly gets: number;
  readonly ofPeers: number;
  readonly hits: number;
  readonly peerLoads: number;
  readonly originLoads: number;
  readonly errors: number;
  readonly evictions: number;
  readonly inFlight: number;
  readonly memoryBytes: number;
  /** The times of its answers. */
  readonly answers: HistogramFigures;
}

/** One node's rates, per second. */
export interface Rates {
  readonly node: string;
  readonly fault?: string;
  /** Gets by clients and by other nodes. */
  readonly gets?: number;
  /** Gets by other nodes. Each is also a client's get at the asking node. */
  readonly ofPeers?: number;
  /** From 0 to 1; null: there were no gets. */
  readonly hitShare?: number | null;
  readonly peerLoads?: number;
  readonly originLoads?: number;
  readonly errors?: number;
  readonly evictions?: number;
  /** The median time of the answers to clients between the two looks, in milliseconds; absent if there were none. */
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  readonly inFlight?: number;
  readonly memoryBytes?: number;
}

/** Shows the rates repeatedly. A failed look is reported and tried again, unless it is the first. */
export async function top(values: Values<typeof commands.top>, terminal: Terminal): Promise<ExitCode> {
  const { interval, count = Infinity, json } = values;
  const { clock, stopped, isTerminal, isColoured } = terminal;
  const client = clientFor(values, terminal.readFile);
  let before = countsOf(await fleetOf(client), clock.nowMs());
  for (let shown = 0; shown < count && !stopped.aborted;) {
    await pause(clock, interval, stopped);
    if (stopped.aborted) break;
    let fleet: Fleet;
    try {
      fleet = await fleetOf(client);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      shown++;
      terminal.err(`${plain(error.message)}\n`);
      continue;
    }
    const now = countsOf(fleet, clock.nowMs());
    const rates = ratesOf(fleet, before, now);
    before = now;
    shown++;
    if (json) await terminal.out(`${JSON.stringify({ at: new Date(clock.nowMs()).toISOString(), nodes: rates })}\n`);
    else {await terminal.out(
        (isTerminal ? HOME : "") + ratesTable(rates, isColoured) + (isTerminal ? "Ctrl+C ends it\n" : "\n"),
      );}
  }
  return 0;
}

function countsOf({ rows }: Fleet, atMs: number): ReadonlyMap<string, Counts> {
  return new Map(rows.flatMap(({ name, report }) => report === undefined ? [] : [[name, countsIn(report, atMs)]]));
}

function countsIn({ incarnation, groups, links = [] }: Stats, atMs: number): Counts {
  const all = Object.values(groups);
  const sum = (of: (figures: typeof all[number]) => number | undefined) =>
    all.reduce((total, one) => total + (of(one) ?? 0), 0);
  return {
    atMs,
    incarnation,
    gets: sum(({ gets }) => gets),
    ofPeers: sum(({ serverRequests }) => serverRequests),
    hits: sum(({ cacheHits }) => cacheHits),
    peerLoads: sum(({ peerLoads }) => peerLoads),
    originLoads: sum(({ originLoads }) => originLoads),
    errors: sum(({ localLoadErrs = 0, peerErrors = 0 }) => localLoadErrs + peerErrors),
    evictions: sum(({ mainCache, hotCache }) => (mainCache?.evictions ?? 0) + (hotCache?.evictions ?? 0)),
    memoryBytes: sum(({ mainCache, hotCache }) => (mainCache?.memoryBytes ?? 0) + (hotCache?.memoryBytes ?? 0)),
    answers: added(all.flatMap(({ latency }) => latency?.client ?? [])),
    inFlight: links.reduce((total, { asksInFlight }) => total + asksInFlight, 0),
  };
}

/** A node that was restarted between the looks, or is new, has no rates yet. */
export function ratesOf(
  { rows }: Pick<Fleet, "rows">,
  before: ReadonlyMap<string, Counts>,
  now: ReadonlyMap<string, Counts>,
): Rates[] {
  return rows.map(({ name, fault, withheld }): Rates => {
    const [then, counts] = [before.get(name), now.get(name)];
    if (counts === undefined) return { node: name, fault: fault ?? withheld ?? "no figures" };
    const { inFlight, memoryBytes } = counts;
    if (then === undefined || then.incarnation !== counts.incarnation) return { node: name, inFlight, memoryBytes };
    const seconds = Math.max(0.001, (counts.atMs - then.atMs) / 1_000);
    const rate = (of: "gets" | "ofPeers" | "peerLoads" | "originLoads" | "errors" | "evictions") =>
      Math.max(0, counts[of] - then[of]) / seconds;
    const gets = counts.gets - then.gets;
    return {
      node: name,
      gets: rate("gets"),
      ofPeers: rate("ofPeers"),
      hitShare: gets <= 0 ? null : (counts.hits - then.hits) / gets,
      peerLoads: rate("peerLoads"),
      originLoads: rate("originLoads"),
      errors: rate("errors"),
      evictions: rate("evictions"),
      ...percentilesOf(since(then.answers, counts.answers)),
      inFlight,
      memoryBytes,
    };
  });
}

/** Counts only clients' gets in the sum: a get that goes on to another node counts at both nodes. */
export function ratesTable(rates: readonly Rates[], isColoured: boolean): string {
  const head = [
    "NODE",
    "GETS/S",
    "HITS",
    "FROM PEERS/S",
    "FROM ORIGIN/S",
    "ERRORS/S",
    "EVICTED/S",
    "P50 MS",
    "P99 MS",
    "ASKS IN FLIGHT",
    "MEMORY",
  ];
  const rows = rates.map((one): Cell[] => {
    if (one.fault !== undefined) return [one.node, { text: one.fault, tone: "bad" }, ...Array(9).fill("")];
    const { gets, hitShare, peerLoads, originLoads, errors, evictions, p50Ms, p99Ms, inFlight = 0, memoryBytes = 0 } =
      one;
    const rate = (value: number | undefined): Cell =>
      value === undefined ? "" : Number(value.toFixed(value < 10 ? 1 : 0));
    return [
      one.node,
      rate(gets),
      hitShare === undefined || hitShare === null ? "-" : shareText(hitShare, 1),
      rate(peerLoads),
      rate(originLoads),
      errors !== undefined && errors > 0 ? { text: errors.toFixed(1), tone: "bad" } : rate(errors),
      rate(evictions),
      p50Ms ?? "-",
      p99Ms ?? "-",
      inFlight,
      bytesText(memoryBytes),
    ];
  });
  const ofPeers = rates.reduce((sum, one) => sum + (one.ofPeers ?? 0), 0);
  const ofClients = rates.reduce((sum, { gets = 0 }) => sum + gets, 0) - ofPeers;
  const summary = `${Math.max(0, ofClients).toFixed(0)} gets/s by clients`;
  return `${coloured(summary, "good", isColoured)}, ${ofPeers.toFixed(0)} gets/s by other nodes\n${
    table(head, rows, isColoured)
  }`;
}
