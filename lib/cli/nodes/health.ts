/** `health` gives an exit code for whether a node is alive or ready, as container images have no curl for that. */
import { NodeClient } from "../fleet/client.ts";
import { plain } from "../table.ts";
import { CommandError, type ExitCode, type Terminal } from "../terminal.ts";

/** How long the answer may take, in milliseconds. Chosen: shorter than the time-outs of health checks. */
const ANSWER_TIMEOUT_MS = 2_000;

/**
 * Asks `/healthz`, or `/readyz`.
 *
 * @throws CommandError the node does not answer, or not with 200
 */
export async function health(
  { node, json, ready }: { readonly node: string; readonly json: boolean; readonly ready: boolean },
  terminal: Terminal,
): Promise<ExitCode> {
  const path = ready ? "/readyz" : "/healthz";
  const client = new NodeClient(node);
  const answered = await client.ask({ path, timeoutMs: ANSWER_TIMEOUT_MS });
  const wanted = ready ? "ready" : "alive";
  if (answered.status !== 200) throw new CommandError(`${node} is not ${wanted}: ${path} answers ${answered.status}`);
  const { name } = client.parsed<{ readonly name: string }>(answered);
  await terminal.out(json ? `${JSON.stringify({ ok: true, name })}\n` : `${plain(name)} is ${wanted}\n`);
  return 0;
}
