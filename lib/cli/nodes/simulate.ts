/** `simulate`: how much would move if nodes joined or left, from the values that all nodes hold. */
import type { commands } from "../../config/command-line/commands.ts";
import { faultsIn, type Values } from "../../config/command-line/command-line.ts";
import { namesText } from "../../http/admin/refusal.ts";
import type { Simulation } from "../../http/admin/simulate.ts";
import { clientFor } from "../fleet/client.ts";
import { fleetOf } from "../fleet/fleet.ts";
import { bytesText, type Cell, plain, shareText, table } from "../table.ts";
import { CommandError, type ExitCode, type Terminal } from "../terminal.ts";

/** The time for one node. Chosen: a million keys take a second. */
const SIMULATE_TIMEOUT_MS = 30_000;

/** Adds up the nodes' answers; each counts the values that it owns. */
export async function simulate(values: Values<typeof commands.simulate>, terminal: Terminal): Promise<ExitCode> {
  const { add, remove, json } = values;
  if ((add === undefined) === (remove === undefined)) {
    throw faultsIn("simulate", ["there must be one of --add and --remove"]);
  }
  const path = `/_admin/simulate?${add === undefined ? `remove=${remove}` : `add=${add}`}`;
  const client = clientFor(values, terminal.readFile);
  const { rows, own } = await fleetOf(client);
  if (remove !== undefined && !rows.some(({ name }) => name === remove)) {
    const known = namesText(rows.map(({ name }) => name));
    throw faultsIn("simulate", [`--remove must name a node of the fleet: there is no ${remove}, there are ${known}`]);
  }
  const isMachine = own.workers !== undefined;
  const told = await Promise.all(rows.map(async ({ name, url, link }) => {
    if (url === null) return undefined;
    try {
      // At a machine's shared address any of its workers would answer.
      const node = link === "self" && !isMachine ? client : client.at(url, link === "open" || link === "self");
      const simulation = await node.json<Simulation>({ path, timeoutMs: SIMULATE_TIMEOUT_MS });
      if (simulation.node !== name) throw new CommandError(`${simulation.node} answers at its address`);
      return simulation;
    } catch (error) {
      terminal.err(`${plain(name)} is left out: ${plain((error as Error).message)}\n`);
      return null;
    }
  }));
  const groups = summed(told.flatMap((one) => one ?? []));
  const isWhole = !told.includes(null);
  if (json) await terminal.out(`${JSON.stringify({ isWhole, groups })}\n`);
  else {
    const cells = Object.entries(groups).map((
      [name, { keys, bytes, movedKeys, movedBytes }],
    ): Cell[] => [
      name,
      keys,
      movedKeys,
      shareText(movedKeys, keys),
      bytesText(bytes),
      bytesText(movedBytes),
      shareText(movedBytes, bytes),
    ]);
    await terminal.out(
      table(["GROUP", "KEYS", "MOVED", "SHARE", "BYTES", "MOVED", "SHARE"], cells, terminal.isColoured),
    );
  }
  return isWhole ? 0 : 1;
}

function summed(all: readonly Simulation[]): Simulation["groups"] {
  const sums: Record<string, { keys: number; bytes: number; movedKeys: number; movedBytes: number }> = {};
  for (const { groups } of all) {
    for (const [name, part] of Object.entries(groups)) {
      const sum = sums[name] ??= { keys: 0, bytes: 0, movedKeys: 0, movedBytes: 0 };
      for (const field of ["keys", "bytes", "movedKeys", "movedBytes"] as const) sum[field] += part[field];
    }
  }
  return sums;
}
