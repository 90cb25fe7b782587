/** `config check`: whether a node can run with these options. */
import { type Config, doubtsOf } from "../../config/config.ts";
import { tokenDoubtsOf } from "../../node/doors/admin-tokens.ts";
import type { ExitCode, Terminal } from "../terminal.ts";

/** Tells what a node with these options would be. No login, token or secret is shown, nor an origin: it may hold one. */
export async function configCheck(
  config: Config,
  { json }: { readonly json: boolean },
  terminal: Terminal,
): Promise<ExitCode> {
  const doubts = [...doubtsOf(config), ...tokenDoubtsOf(config)];
  const groups = config.groups.map(({ name }) => name);
  const { addr: { host, port }, nats, bucket, workers } = config;
  if (json) {
    await terminal.out(
      `${JSON.stringify({ ok: true, addr: { host, port }, nats: nats.kind, bucket, workers, groups, doubts })}\n`,
    );
  } else {
    const lines = [
      `the options can be used: ${groups.length === 1 ? "the group" : "the groups"} ${groups.join(", ")}`,
      ...doubts.map((doubt) => `doubtful: ${doubt}`),
    ];
    await terminal.out(`${lines.join("\n")}\n`);
  }
  return 0;
}
