/** A NATS server that cannot be used: one line tells the operator what to do, and the node serves on. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { parseConfig } from "../../lib/config/parse.ts";
import { Node } from "../../lib/node/node.ts";
import { systemClock } from "../../lib/runtime/process.ts";
import { MemoryLog } from "../support/log.ts";
import { startNats, temporaryFolder } from "../support/nats-server.ts";
import { startOrigin } from "../support/origin.ts";
import { test } from "../support/test.ts";
import { until } from "../support/until.ts";

const READ_ONLY = `authorization { users: [{ user: a, password: b, permissions: {
  publish: ["$JS.API.STREAM.INFO.>", "$JS.API.DIRECT.GET.>", "$JS.API.STREAM.MSG.GET.>", "$JS.API.STREAM.CREATE.>"],
  subscribe: ["_INBOX.>", "$KV.>", "peers.invalidate.*"] } }] }
no_auth_user: a`;

const cases = [
  {
    what: "without JetStream",
    config: "accounts { plain: { users: [{ user: a, password: b }] } }\nno_auth_user: a",
    told: /^warn NATS is away \(.*JetStream.*; turn JetStream on \(nats-server -js\), and for this account\)/,
  },
  {
    what: "with another login",
    config: "authorization { user: a, password: b }",
    told: /^warn NATS is away \(.* refuses the login .*; give this node a login of that server \(--nats-creds, /,
  },
  {
    what: "with a login that may do nothing",
    config: 'authorization { users: [{ user: a, password: b, permissions: { publish: ["x"] } }] }\nno_auth_user: a',
    told: /^warn NATS is away \(.*Permissions Violation.*; grant this login the "Least permissions" of/,
  },
  {
    what: "with a login that may not write the list",
    config: READ_ONLY,
    told: /^warn still cannot list myself in g, trying again: .*; grant this login the "Least permissions" of/,
  },
  {
    what: "without room",
    config: "jetstream { max_file_store: 1K }",
    told: /^warn invalidations are away: insufficient storage.*; give JetStream more room \(max_file_store, /,
  },
];

test("a server that cannot be used is one warning that says what to do", { timeoutMs: 60_000 }, async (defer) => {
  const origin = await startOrigin(defer);
  const nodes: Node[] = [];
  await Promise.all(cases.map(async ({ what, config, told }) => {
    const file = `${await temporaryFolder(defer)}/nats.conf`;
    await writeFile(file, config);
    const server = await startNats(defer, { extraArgs: ["-c", file] });
    const argv = ["--nats", server.url, "--addr", "127.0.0.1:0", "--group", `g=${origin.template}`];
    const parsed = parseConfig({ argv, env: {}, readFile: () => "", isTerminal: false, checkOrigin: () => {} });
    assert.ok(parsed.kind === "run");
    const log = new MemoryLog();
    const node = new Node(parsed.config, { clock: systemClock, log });
    await node.start();
    nodes.push(node);
    const warnings = () => log.lines.filter((line) => /^(warn|error) /.test(line));
    const said = () => `${what}:\n${log.lines.join("\n")}`;
    await until(() => warnings().some((line) => told.test(line)), 15_000, said);
    assert.ok(warnings().length <= 2, said());
    assert.equal(
      (await fetch(`http://127.0.0.1:${node.port}/cache/g/${encodeURIComponent(what)}`)).status,
      200,
      said(),
    );
  })).finally(() => Promise.all(nodes.map((node) => node.stop())));
});
