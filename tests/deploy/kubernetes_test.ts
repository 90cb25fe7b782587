/** The manifests, by Kubernetes' own schemas and by what muster takes. Runs once: it starts processes. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { StatefulSet } from "kubernetes-models/apps/v1";
import { NetworkPolicy } from "kubernetes-models/networking.k8s.io/v1";
import { PodDisruptionBudget } from "kubernetes-models/policy/v1";
import { ConfigMap, Service } from "kubernetes-models/v1";
import { parseAllDocuments } from "yaml";
import { parseConfig } from "../../lib/config/parse.ts";
import { root, temporaryDirectory } from "../support/node.ts";
import { test } from "../support/test.ts";
import { until } from "../support/until.ts";
import { ask } from "../workers/support.ts";
import { Cluster } from "./cluster.ts";
import { compose, faultsOfCommand, read, unknownVariables } from "./files.ts";

const models = { ConfigMap, Service, StatefulSet, PodDisruptionBudget, NetworkPolicy };

// The parts of a manifest that the tests look at; that it is one is what the first test shows.
// deno-lint-ignore no-explicit-any
type Manifest = any;

const manifests: Manifest[] = ["muster.yaml", "nats.yaml"].flatMap((name) =>
  parseAllDocuments(read(`kubernetes/${name}`)).map((document) => document.toJS())
);
const find = (kind: string, name: string): Manifest =>
  manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name) ??
    assert.fail(`there is no ${kind} ${name}`);
const podOf = (name: string): Manifest => find("StatefulSet", name).spec.template.spec;
const containerOf = (name: string): Manifest => podOf(name).containers[0];

/** Wraps a value so that each field that is read of it is crossed off the list. */
function watched(value: Manifest, at: string, unread: Set<string>): Manifest {
  if (typeof value !== "object" || value === null) return value;
  const isList = Array.isArray(value);
  const children = new Map<string, Manifest>();
  for (const [field, child] of Object.entries(value)) {
    if (!isList) unread.add(`${at}.${field}`);
    children.set(field, watched(child, `${at}.${field}`, unread));
  }
  return new Proxy(value, {
    get(target, field) {
      unread.delete(`${at}.${String(field)}`);
      return children.get(String(field)) ?? Reflect.get(target, field);
    },
  });
}

/**
 * What Kubernetes would refuse: by its schema, and fields that it does not know, which the schema lets through. The validators
 * read every field that they know, and only those.
 */
function faultsOf(manifest: Manifest): string[] {
  const Model = models[manifest.kind as keyof typeof models] as { prototype: { validate(): void } } | undefined;
  if (Model === undefined) return [`no schema of ${manifest.kind}`];
  const unread = new Set<string>();
  try {
    // Not of a model: that would be a copy, for which every field was read.
    Model.prototype.validate.call(watched(manifest, manifest.kind, unread));
  } catch (error) {
    return [(error as Error).message];
  }
  return [...unread].map((field) => `${field} is unknown`);
}

test("the manifests are such by Kubernetes' schemas, and have no field that it does not know", () => {
  assert.equal(manifests.length, 11);
  assert.deepEqual(manifests.flatMap(faultsOf), []);
  const broken = (change: (manifest: Manifest) => void) => {
    const copy = structuredClone(find("StatefulSet", "muster"));
    change(copy);
    return faultsOf(copy);
  };
  assert.equal(broken(({ spec }) => spec.replicas = "three").length, 1);
  assert.equal(broken(({ spec }) => delete spec.selector).length, 1);
  assert.deepEqual(broken(({ spec }) => spec.template.spec.containers[0].readinesProbe = {}), [
    "StatefulSet.spec.template.spec.containers.0.readinesProbe is unknown",
  ]);
});

test("the parts name each other, and what muster and its scripts have", (defer) => {
  for (const name of ["muster", "nats"]) {
    const { spec } = find("StatefulSet", name);
    const { labels } = spec.template.metadata;
    assert.deepEqual(spec.selector.matchLabels, labels);
    assert.deepEqual(find("PodDisruptionBudget", name).spec.selector.matchLabels, labels);
    assert.deepEqual(find("NetworkPolicy", name).spec.podSelector.matchLabels, labels);
    assert.deepEqual(find("Service", spec.serviceName).spec.selector, labels);
    const { ports, volumeMounts } = containerOf(name);
    const names = ports.map((port: { name: string }) => port.name);
    for (
      const service of manifests.filter(({ kind, spec }) => kind === "Service" && spec.selector.app === labels.app)
    ) {
      for (const { targetPort } of service.spec.ports) assert.ok(names.includes(targetPort), targetPort);
    }
    for (const { from, ports } of find("NetworkPolicy", name).spec.ingress) {
      assert.ok(from.length > 0);
      for (const { port } of ports) assert.ok(names.includes(port), port);
    }
    const volumes = [
      ...podOf(name).volumes,
      ...spec.volumeClaimTemplates?.map(({ metadata }: Manifest) => metadata) ?? [],
    ];
    for (const mount of volumeMounts) assert.ok(volumes.some((volume) => volume.name === mount.name), mount.name);
  }
  assert.equal(find("ConfigMap", "nats").data["nats.conf"], read("docker/nats.conf"), "the same as that of Compose");
  assert.equal(containerOf("nats").image, compose().services["nats-1"]!.image);
  // The secret has the files that the script makes.
  const folder = temporaryDirectory(defer);
  execFileSync("/bin/sh", [join(root, "lib/deploy/docker/secrets.sh"), folder]);
  const made = readdirSync(folder);
  const wanted = containerOf("muster").args.flatMap((arg: string) =>
    /\/run\/secrets\/muster\/(.*)$/.exec(arg)?.[1] ?? []
  );
  assert.equal(wanted.length, 3);
  for (const name of [...wanted, "auth.conf"]) assert.ok(made.includes(name), name);
});

test("a node's options exist, its file is one, and its end has the time that it needs", () => {
  const { args, env, lifecycle } = containerOf("muster");
  assert.deepEqual(faultsOfCommand(args), []);
  // What is put into the arguments; muster itself must not take them for options.
  assert.deepEqual(unknownVariables(env.map(({ name }: { name: string }) => name)), ["POD_IP", "POD_NAME"]);
  const parsed = parseConfig({
    argv: args.slice(1).map((arg: string) => arg.replace("$(POD_IP)", "10.1.2.3").replace("$(POD_NAME)", "muster-0")),
    env: {},
    readFile: (path) => path.endsWith("muster.json") ? find("ConfigMap", "muster").data["muster.json"] : "s".repeat(48),
    isTerminal: false,
    checkOrigin: () => {},
  });
  assert.ok(parsed.kind === "run");
  const { drainTimeoutMs, groups, replicas, name } = parsed.config;
  assert.deepEqual([replicas, name], [3, "muster-0"]);
  const { terminationGracePeriodSeconds } = podOf("muster");
  assert.ok(terminationGracePeriodSeconds * 1_000 > lifecycle.preStop.sleep.seconds * 1_000 + drainTimeoutMs);
  const { limits } = containerOf("muster").resources;
  const budgets = groups.reduce((sum, { budgetBytes }) => sum + budgetBytes, 0);
  assert.ok(Number.parseInt(limits.memory) * 2 ** 20 >= 2 * budgets + 150 * 2 ** 20, "as its comment says");
});

test("nodes start as the manifests say, and one that died comes back under its name at another address", {
  timeoutMs: 90_000,
}, async (defer) => {
  const cluster = new Cluster(defer, [["/etc/nats/", "."], ["/run/secrets/muster/", "secrets"], ["/etc/muster/", "."]]);
  for (const [name, file] of [["nats", "nats.conf"], ["muster", "muster.json"]] as const) {
    writeFileSync(join(cluster.folder, file), find("ConfigMap", name).data[file]);
  }
  const natsArgs: string[] = containerOf("nats").args;
  const ordinals = [0, 1, 2];
  await cluster.startNats(
    new Map(
      ordinals.map((at) =>
        [`nats-${at}.nats`, natsArgs.map((arg) => arg.replace("$(POD_NAME)", `nats-${at}`))] as const
      ),
    ),
  );
  /** @param place where the pod is: that of a later life is another one */
  const start = async (at: number, place: string) => {
    const args = containerOf("muster").args.map((arg: string) =>
      arg.replace("$(POD_IP):8000", place).replace("$(POD_NAME)", `muster-${at}`)
    );
    await cluster.place(place);
    return await cluster.startNode(at === 1 ? "deno" : "bun", place, args);
  };
  const nodes = await Promise.all(ordinals.map((at) => start(at, `muster-${at}:8000`)));
  await cluster.listed(nodes);
  const { readinessProbe, livenessProbe, startupProbe } = containerOf("muster");
  for (const { httpGet } of [readinessProbe, livenessProbe, startupProbe]) {
    // It is listed a moment before it is ready.
    const isGood = async () => (await ask(`${nodes[0]!.url}${httpGet.path}`)).status === 200;
    await until(isGood, 5_000, () => nodes[0]!.account(httpGet.path));
  }
  assert.equal((await ask(`${nodes[2]!.url}/define/roster`)).status, 200);
  await nodes[1]!.end("SIGKILL");
  const again = await start(1, "muster-1:8001");
  await cluster.listed([nodes[0]!, again, nodes[2]!]);
  assert.equal((await cluster.stats(again)).name, "muster-1");
  // As long as it lives, nobody else has its name.
  const double = await start(1, "muster-1:8002");
  assert.equal(await double.exited, 1, double.lines.join("\n"));
});
