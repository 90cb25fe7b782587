/** `config check`: whether a node can run with these options. */
import { changesOf, changesText } from "../../config/changes.ts";
import { type Config, doubtsOf } from "../../config/config.ts";
import { tokenDoubtsOf } from "../../node/doors/admin-tokens.ts";
import type { ExitCode, Terminal } from "../terminal.ts";

export interface CheckOptions {
  readonly json: boolean;
  /** The present options of a running node that would follow these. */
  readonly before: Config | undefined;
}

/**
 * Describes a node with these options. It shows no login, token or secret, and no origin, as an origin may hold one.
 */
export async function configCheck(
  config: Config,
  { json, before }: CheckOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const doubts = [...doubtsOf(config), ...tokenDoubtsOf(config)];
  const groups = config.groups.map(({ name }) => name);
  const { addr: { host, port }, nats, bucket, workers } = config;
  const changes = before && changesOf(before, config);
  if (json) {
    const told = { ok: true, addr: { host, port }, nats: nats.kind, bucket, workers, groups, doubts };
    const reload = changes && {
      added: changes.added.map(({ name }) => name),
      changed: Object.fromEntries(changes.changed.map(({ group, fields }) => [group.name, fields])),
      ended: changes.removed,
      logLevel: changes.logLevel ?? null,
      needRestart: changes.needRestart,
    };
    await terminal.out(`${JSON.stringify({ ...told, ...(reload && { reload }) })}\n`);
  } else {
    const lines = [
      `the options can be used: ${groups.length === 1 ? "the group" : "the groups"} ${groups.join(", ")}`,
      ...doubts.map((doubt) => `doubtful: ${doubt}`),
      ...(changes === undefined ? [] : [`a running node takes: ${changesText(changes) ?? "nothing"}`]),
      ...(changes === undefined || changes.needRestart.length === 0
        ? []
        : [`only a restart takes: ${changes.needRestart.join(", ")}`]),
    ];
    await terminal.out(`${lines.join("\n")}\n`);
  }
  return 0;
}
