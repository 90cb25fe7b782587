import assert from "node:assert/strict";
import type { Config } from "../../lib/config/config.ts";
import { parseConfig } from "../../lib/config/parse.ts";
import { completed } from "../../lib/workers/completed.ts";
import { test } from "../support/test.ts";

const file = JSON.stringify({
  drainTimeout: "7s",
  pollMisses: 9,
  groups: { site: { origin: "http://127.0.0.1:9/*", hosts: ["a.example"], ttlMs: 60_000, replicas: 2, retries: 3 } },
});

function configOf(argv: readonly string[]): Config {
  const parsed = parseConfig({ argv, env: {}, readFile: () => file, isTerminal: false, checkOrigin: () => {} });
  assert.ok(parsed.kind === "run");
  return parsed.config;
}

/** As it comes out of the pipe. */
function travelled<T>(value: T): T {
  return JSON.parse(JSON.stringify(value));
}

test("options that a supervisor of this release sends are taken as they are", () => {
  const config = configOf(["--config", "file", "--nats", "off", "--workers", "2"]);
  assert.deepEqual(travelled(completed(travelled(config))), travelled(config));
});

test("options that a supervisor of another release does not know get their defaults, and the others stay", () => {
  const [config, defaults] = [configOf(["--config", "file"]), configOf([])];
  const [group, defaultGroup] = [config.groups[0]!, defaults.groups[0]!];
  const { retries: _retries, hosts: _hosts, ...olderGroup } = group;
  const { publicStats: _publicStats, drainTimeoutMs: _drainTimeoutMs, ...older } = config;
  const { pollMisses: _pollMisses, ...olderPolling } = config.polling;
  const sent = travelled({ ...older, groups: [olderGroup], polling: olderPolling }) as unknown as Config;
  const { retries, hosts } = defaultGroup;
  assert.notEqual(retries, group.retries);
  assert.notEqual(defaults.drainTimeoutMs, config.drainTimeoutMs);
  assert.deepEqual(
    travelled(completed(sent)),
    travelled({
      ...config,
      publicStats: defaults.publicStats,
      drainTimeoutMs: defaults.drainTimeoutMs,
      polling: { ...config.polling, pollMisses: defaults.polling.pollMisses },
      groups: [{ ...group, retries, hosts }],
    }),
  );
});

test("options of a later release do no harm", () => {
  const config = configOf(["--config", "file"]);
  const later = travelled({ ...config, ofALaterRelease: { x: 1 } });
  assert.deepEqual({ ...completed(later), ofALaterRelease: undefined }, {
    ...completed(travelled(config)),
    ofALaterRelease: undefined,
  });
});
