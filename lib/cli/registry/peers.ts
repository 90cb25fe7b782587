/** `peers` prints the lists of peers that are in NATS. */
import type { Config } from "../../config/config.ts";
import { pause } from "../../core/base/time/timeout.ts";
import { UnavailableError } from "../../core/errors.ts";
import type { Listed } from "../../nats/inspector.ts";
import { groupOfList } from "../../registry/store/store.ts";
import { inspect } from "./nats.ts";
import { type Cell, coloured, plain, table } from "../table.ts";
import type { ExitCode, Terminal } from "../terminal.ts";

/** The time between two tries to reach NATS, in milliseconds. Chosen. */
const RETRY_MS = 1_000;

export interface PeersOptions {
  readonly json: boolean;
  readonly watch: boolean;
}

/** Prints the lists; with `watch`, then a line for each change until it is stopped. */
export async function peers(config: Config, options: PeersOptions, terminal: Terminal): Promise<ExitCode> {
  if (options.watch) return await watch(config, options.json, terminal);
  const inspector = await inspect(config, terminal);
  try {
    const listed = await inspector.listed();
    const text = options.json
      ? `${JSON.stringify({ bucket: config.bucket, peers: listed.map(jsonOf) })}\n`
      : listedTable(listed, terminal.isColoured);
    await terminal.out(text);
    return 0;
  } finally {
    await inspector.close();
  }
}

/** Goes on while NATS is away, and says so once. After an outage it prints all keys again. */
async function watch(config: Config, isJson: boolean, terminal: Terminal): Promise<ExitCode> {
  const { clock, stopped, isColoured } = terminal;
  let said = "";
  while (!stopped.aborted) {
    try {
      const inspector = await inspect(config, terminal);
      try {
        await inspector.listed((changes) => {
          said = "";
          const text = changes.map((one) => isJson ? JSON.stringify(jsonOf(one)) : lineOf(one, isColoured)).join("\n");
          void terminal.out(`${text}\n`);
        });
      } finally {
        await inspector.close();
      }
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error;
      if (said !== error.message) terminal.err(`NATS is away: ${plain(error.message)}; trying again\n`);
      said = error.message;
    }
    if (!stopped.aborted) await pause(clock, RETRY_MS, stopped);
  }
  return 0;
}

function jsonOf({ group: list, name, revision, record, fault }: Listed): object {
  const group = groupOfList(list);
  const role = list === group ? "serves" : "asks";
  const { url, state, incarnation, weight, zone, joined, version, runtime } = record ?? {};
  const told = record === undefined ? {} : { url, state, incarnation, weight, zone, joined, version, runtime };
  return {
    group,
    role,
    name,
    revision,
    ...told,
    ...(fault !== undefined && { fault }),
    isListed: record !== undefined,
  };
}

function lineOf({ group: list, name, revision, record, fault }: Listed, isColoured: boolean): string {
  const place = plain(`${list} ${name} (revision ${revision})`);
  if (fault !== undefined) return `${coloured("no record", "bad", isColoured)}  ${place}: ${plain(fault)}`;
  if (record === undefined) return `${coloured("gone", "doubtful", isColoured)}       ${place}`;
  return `${
    coloured(record.state.padEnd(9), record.state === "serving" ? "good" : "doubtful", isColoured)
  }  ${place}: ${record.url}`;
}

function listedTable(listed: readonly Listed[], isColoured: boolean): string {
  const head = ["GROUP", "NODE", "STATE", "URL", "REVISION", "VERSION", "RUNTIME", "ZONE", "WEIGHT", "JOINED"];
  const rows = listed.map(({ group: list, name, revision, record, fault }): Cell[] => {
    const group = groupOfList(list);
    if (record === undefined) {
      return [group, name, { text: `no record: ${fault}`, tone: "bad" }, "", revision, ...Array(5).fill("")];
    }
    const { state, url, version, runtime, zone, weight, joined } = record;
    const shown: Cell = list === group ? { text: state, tone: state === "serving" ? "good" : "doubtful" } : "only asks";
    return [group, name, shown, url, revision, version, runtime, zone, weight, joined];
  });
  return table(head, rows, isColoured);
}
