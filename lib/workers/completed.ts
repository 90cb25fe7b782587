/** Completes the options from the pipe when supervisor and worker have different releases. */
import type { Config } from "../config/config.ts";
import { defaultPolicy } from "../config/group-fields.ts";
import { parseConfig } from "../config/parse.ts";

/**
 * Returns the options with every field of this release. A restarted worker runs the files on disk. After an upgrade in
 * place its supervisor is still of the release before, and does not know the newest fields. These get their defaults.
 */
export function completed(config: Config): Config {
  const defaults = defaultConfig();
  return {
    ...defaults,
    ...config,
    polling: { ...defaults.polling, ...config.polling },
    groups: config.groups.map((group) => ({ ...defaultPolicy, ...group })),
  };
}

function defaultConfig(): Config {
  const nothing = () => {
    throw new TypeError("Cannot read a file for the defaults");
  };
  const parsed = parseConfig({ argv: [], env: {}, readFile: nothing, isTerminal: false, checkOrigin: () => {} });
  if (parsed.kind !== "run") throw new TypeError("Cannot read help as defaults");
  return parsed.config;
}
