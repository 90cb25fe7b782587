/** `get`, `explain` and `purge`: operators' commands for keys. */
import type { commands } from "../../config/command-line/commands.ts";
import { faultsIn, type Values } from "../../config/command-line/command-line.ts";
import { BadKeyError } from "../../core/errors.ts";
import type { Explanation, HeldReport } from "../../http/admin/explain.ts";
import { encodeKeyPath } from "../../http/key.ts";
import { clientFor, type NodeClient } from "../fleet/client.ts";
import { bytesText, type Cell, coloured, plain, spanText, table } from "../table.ts";
import { CommandError, type ExitCode, type Terminal } from "../terminal.ts";

/** Statuses of values, including those without a body. */
const isGood = (status: number) => status >= 200 && status < 300;

/** Prints a value. */
export async function get(
  values: Values<typeof commands.get>,
  [group, key]: readonly string[],
  terminal: Terminal,
): Promise<ExitCode> {
  const path = `/cache/${encodeURIComponent(group!)}/${values.site ? sitePath(key!) : keyPath(key!)}`;
  const client = clientFor(values, terminal.readFile);
  const answered = await client.ask({ path });
  const { status, headers, body } = answered;
  if (values.json) {
    const text = textOf(body);
    const value = text === undefined ? { base64: body.toString("base64") } : { text };
    const told = { group, key, status, cacheStatus: headers["cache-status"] ?? null, headers, ...value };
    await terminal.out(`${JSON.stringify(told)}\n`);
    return isGood(status) ? 0 : 1;
  }
  if (headers["cache-status"] !== undefined) terminal.err(`cache-status: ${plain(headers["cache-status"])}\n`);
  if (!isGood(status)) throw new CommandError(client.refusal(answered));
  await terminal.out(body);
  if (terminal.isTerminal && body.at(-1) !== 0x0a) await terminal.out("\n");
  return 0;
}

/** Slashes stay unescaped: a node reads them as they are, and so do people. */
function keyPath(key: string): string {
  try {
    return encodeKeyPath(key).replaceAll("%2F", "/");
  } catch (error) {
    if (error instanceof BadKeyError) throw faultsIn("get", [`<key> cannot be used: ${error.message}`]);
    throw error;
  }
}

/** @throws ConfigError a request line cannot hold the path */
function sitePath(key: string): string {
  const rest = key.replace(/^\//, "");
  if (/^[\x21-\x7e]*$/.test(rest) && !rest.includes("#")) return rest;
  throw faultsIn("get", ["<key> must be a path as a browser sends it: spaces and other characters are escaped"]);
}

/** `undefined`: it is no UTF-8. */
function textOf(body: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    return undefined;
  }
}

/** A ranked node of a key, and its answer about the key. */
interface Told {
  readonly name: string;
  readonly url: string | null;
  readonly rank: number | null;
  readonly link: string;
  readonly explanation?: Explanation;
  readonly fault?: string;
}

/** Asks the node, and then each of the key's ranked nodes. */
export async function explain(
  values: Values<typeof commands.explain>,
  [group, key]: readonly string[],
  terminal: Terminal,
): Promise<ExitCode> {
  const client = clientFor(values, terminal.readFile);
  const path = `/_admin/groups/${encodeURIComponent(group!)}/explain?key=${encodeURIComponent(key!)}`;
  const own = await client.json<Explanation>({ path });
  const others = await Promise.all(own.owners.map((owner) => toldBy(client, path, own, owner)));
  const isRanked = others.some(({ name }) => name === own.node);
  const self: Told = { name: own.node, url: client.url, rank: null, link: "self", explanation: own };
  const nodes = isRanked ? others : [...others, self];
  if (values.json) await terminal.out(`${JSON.stringify({ group, key, asked: own.node, get: own.get, nodes })}\n`);
  else await terminal.out(explanationText(own, nodes, terminal.isColoured));
  return nodes.some(({ fault }) => fault !== undefined) ? 1 : 0;
}

async function toldBy(
  client: NodeClient,
  path: string,
  own: Explanation,
  { name, url, rank, link }: Explanation["owners"][number],
): Promise<Told> {
  const node = { name, url, rank, link };
  if (name === own.node) return { ...node, explanation: own };
  if (url === null) return { ...node, fault: "it is not listed any more" };
  try {
    return {
      ...node,
      explanation: await client.at(url, link === "open").json<Explanation>({ path, timeoutMs: 2_000 }),
    };
  } catch (error) {
    return { ...node, fault: (error as Error).message };
  }
}

function explanationText(own: Explanation, nodes: readonly Told[], isColoured: boolean): string {
  const { result, detail } = own.get;
  const head = ["NODE", "RANK", "LINK", "HOLDS", "STATE", "AGE", "FRESH FOR", "LABEL", "INVALIDATED", "BYTES", "TAGS"];
  const rows = nodes.flatMap(({ name, rank, link, explanation, fault }): Cell[][] => {
    const node: Cell[] = [name, rank === null ? "" : rank === 1 ? "1 (owner)" : String(rank), link];
    if (fault !== undefined) return [[...node, { text: fault, tone: "bad" }, ...Array(7).fill("")]];
    const held = explanation!.held;
    if (held.length === 0) return [[...node, { text: "nothing", tone: "dim" }, ...Array(7).fill("")]];
    return held.map((one) => [...node, ...heldCells(one)]);
  });
  const verdict = coloured(`a get at ${own.node} is a ${result}`, result === "hit" ? "good" : "doubtful", isColoured);
  return `${verdict}: ${plain(detail)}\n${own.isLoading ? "a load of it is in flight\n" : ""}${
    table(head, rows, isColoured)
  }`;
}

function heldCells(held: HeldReport): Cell[] {
  const { cache, state, ageMs, freshMs, label, lastInvalidation, bytes, tags, varies } = held;
  return [
    varies === undefined ? cache : `${cache}, by ${varies.join()}`,
    { text: state, tone: state === "fresh" ? "good" : "doubtful" },
    spanText(ageMs),
    spanText(freshMs),
    String(label.sequence),
    String(lastInvalidation),
    bytesText(bytes),
    tags === "any" ? "too many to keep" : tags.join(" "),
  ];
}

/** What a node answers to an invalidation. */
interface Invalidated {
  readonly sequence: number;
  readonly after: string;
  readonly applied: readonly string[];
  readonly behind: readonly string[];
}

/** Invalidates keys, tags, prefixes or all, in one message. */
export async function purge(
  values: Values<typeof commands.purge>,
  [group, ...keys]: readonly string[],
  terminal: Terminal,
): Promise<ExitCode> {
  const { tag: tags, prefix: prefixes, all, soft, wait } = values;
  const isNamed = keys.length + tags.length + prefixes.length > 0;
  if (isNamed === all) {
    throw faultsIn("purge", [
      all
        ? "--all must be given alone: it covers every key, tag and prefix"
        : "there must be a <key>, --tag, --prefix or --all",
    ]);
  }
  const message = { ...(all ? { all } : { keys, tags, prefixes }), ...(soft && { soft }) };
  const path = `/_admin/groups/${encodeURIComponent(group!)}/invalidate${wait ? "?wait" : ""}`;
  const done = await clientFor(values, terminal.readFile).json<Invalidated>({ method: "POST", path, message });
  const isLate = wait && done.behind.length > 0;
  if (values.json) await terminal.out(`${JSON.stringify(done)}\n`);
  else {
    const who = !wait
      ? ""
      : isLate
      ? `; not applied yet by ${done.behind.join(", ")}`
      : `; applied by ${done.applied.join(", ")}`;
    await terminal.out(`invalidated at ${done.sequence}${plain(who)}\n`);
  }
  return isLate ? 1 : 0;
}
