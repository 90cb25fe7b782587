/** Reads the file of `--admin-token-file`, for a node and for the log at its start. */
import type { Config } from "../../config/config.ts";
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";
import { AdminTokens } from "../../http/admin/tokens.ts";
import { isReadableByAll, readTextFile } from "../../runtime/process.ts";

/** @throws Error the file cannot be used any more; it could when the options were read */
export function adminTokensOf(
  { adminTokenFile: path }: Pick<Config, "adminTokenFile">,
  clock: Clock,
  log: Log,
): AdminTokens | undefined {
  return path === undefined ? undefined : new AdminTokens({ readFile: () => readTextFile(path), clock, log });
}

/** A warning for the log, once: every user of this machine can read the token. */
export function tokenDoubtsOf({ adminTokenFile: path }: Pick<Config, "adminTokenFile">): string[] {
  if (path === undefined || !isReadableByAll(path)) return [];
  return [`every user of this machine can read the token in ${path}: chmod o-r it`];
}
