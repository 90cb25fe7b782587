/** The options that come through the pipe, where supervisor and worker are not of one release. */
import type { Config } from "../config/config.ts";
import { defaultPolicy } from "../config/group-fields.ts";
import { parseConfig } from "../config/parse.ts";

/**
 * The options with every field that this release has. A worker that falls is started again from the files on disk: after an
 * upgrade in place its supervisor is still of the release before, and does not know the newest fields. They get their
 * defaults, as if nobody had set them.
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
