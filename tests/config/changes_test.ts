import assert from "node:assert/strict";
import { changesOf, changesText, reloaded } from "../../lib/config/changes.ts";
import type { Config } from "../../lib/config/config.ts";
import { parseConfig } from "../../lib/config/parse.ts";
import { options } from "../../lib/config/options.ts";
import { test } from "../support/test.ts";

function configOf(file: object, argv: readonly string[] = []): Config {
  const files: Record<string, string> = { "f.json": JSON.stringify(file), token: "sixteen characters", secret: "x" };
  const parsed = parseConfig({
    argv: ["--config", "f.json", ...argv],
    env: {},
    readFile: (path) => files[path] ?? "-----BEGIN CERTIFICATE-----",
    isTerminal: false,
    checkOrigin: () => {},
  });
  assert.ok(parsed.kind === "run");
  return parsed.config;
}

const group = { origin: "https://api.example.org/{key}" };
const running = configOf({ groups: { a: group, b: group, c: group } });

test("groups that came, went or changed are told by name, with the fields and never a value", () => {
  const headers = { authorization: "secret" };
  const read = configOf({
    groups: { a: { ...group, ttlMs: 5_000, headers }, c: group, d: group },
    logLevel: "debug",
  });
  const changes = changesOf(running, read);
  assert.deepEqual(changes.added.map(({ name }) => name), ["d"]);
  assert.deepEqual(changes.changed.map(({ group: { name }, fields }) => [name, fields]), [["a", ["ttlMs", "headers"]]]);
  assert.deepEqual([changes.removed, changes.logLevel, changes.needRestart], [["b"], "debug", []]);
  assert.equal(
    changesText(changes),
    "added the group d; changed the group a (ttlMs, headers); ended the group b; the log level is debug",
  );
  assert.equal(changesText(changesOf(running, configOf({ groups: { a: group, b: group, c: group } }))), undefined);
});

test("a changed secret in the file of a header is a change", () => {
  const file = { groups: { a: { ...group, headers: { authorization: { file: "token" } } } } };
  const before = configOf(file);
  const after = { ...before, groups: [{ ...before.groups[0]!, headers: [["authorization", "other"] as const] }] };
  assert.deepEqual(changesOf(before, after).changed.map(({ fields }) => fields), [["headers"]]);
});

test("--ttl is a field of the groups that have none of their own", () => {
  const groups = { a: group, b: { ...group, ttlMs: 1_000 } };
  const { changed, needRestart } = changesOf(configOf({ groups }), configOf({ groups, ttl: "1m" }));
  assert.deepEqual(changed.map(({ group: { name }, fields }) => [name, fields]), [["a", ["ttlMs"]]]);
  assert.deepEqual(needRestart, []);
});

test("what needs a restart is told by its flag, and stays as it is", () => {
  const told = (file: object) => changesOf(running, configOf({ groups: { a: group, b: group, c: group }, ...file }));
  assert.deepEqual(told({ addr: "127.0.0.1:1", name: "n" }).needRestart, ["--addr", "--name"]);
  assert.deepEqual(told({ drainTimeout: "9s", pollMisses: 3 }).needRestart, ["--drain-timeout", "--poll-misses"]);
  assert.deepEqual(told({ nats: "nats://h:1", natsCa: "ca" }).needRestart, ["--nats", "--nats-ca"]);
  assert.deepEqual(told({ natsPort: 5222 }).needRestart, ["--nats"]);
  const read = configOf({ groups: { a: group }, addr: "127.0.0.1:1", logLevel: "warn" });
  const next = reloaded(running, read);
  assert.deepEqual(next, { ...running, groups: read.groups, logLevel: "warn" });
  assert.deepEqual(changesOf(next, read).needRestart, ["--addr"], "it is told until the restart");
});

test("every option is either taken or told by a flag that there is", () => {
  const flags = new Set<string>(Object.values(options).map(({ flag }) => `--${flag}`));
  const login = { creds: "f", nkey: "f", user: "u", passwordFile: "f", tokenFile: "f", ca: "f", cert: "f", key: "f" };
  for (const [field, value] of Object.entries({ ...running, natsLogin: login })) {
    const parts = field === "natsLogin" || field === "polling" ? Object.keys(value as object) : [field];
    for (const part of parts) {
      const other = parts.length > 1 ? { ...(value as object), [part]: "other" } : "other";
      if (field === "groups" || field === "logLevel") continue;
      const { needRestart } = changesOf({ ...running, natsLogin: login, [field]: value } as Config, {
        ...running,
        natsLogin: login,
        [field]: other,
      } as Config);
      assert.equal(needRestart.length, 1, `${field} ${part}`);
      assert.ok(flags.has(needRestart[0]!), needRestart[0]);
    }
  }
});
