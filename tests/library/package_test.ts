/** Runs once: packs the library, and does with it what its README says, in a folder that knows nothing of this project. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { NodeProcess, root, type RuntimeKind, runtimeProgram, temporaryDirectory } from "../support/node.ts";
import { startNats } from "../support/nats-server.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";
import { packLibrary } from "./pack.ts";

const readme = readFileSync(join(root, "lib/library/README.md"), "utf8");

/** Puts the package where an installer would, with the packages that its manifest names. */
function install(tarball: string, folder: string): string {
  const packages = join(folder, "node_modules");
  const home = join(packages, "muster-cache");
  mkdirSync(home, { recursive: true });
  execFileSync("tar", ["-xzf", tarball, "-C", home, "--strip-components=1"]);
  const { dependencies } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
  for (const name of Object.keys(dependencies)) {
    mkdirSync(dirname(join(packages, name)), { recursive: true });
    symlinkSync(join(root, "node_modules", name), join(packages, name));
  }
  return home;
}

/** A newcomer's process in the folder. */
function start(defer: Defer, kind: RuntimeKind, cwd: string, name: string): NodeProcess {
  const how = kind === "deno" ? ["run", "--allow-net", "--no-prompt"] : ["run"];
  const child = spawn(runtimeProgram(kind), [...how, "page.ts", name], { cwd, stdio: ["ignore", "pipe", "pipe"] });
  const process = new NodeProcess(kind, child);
  defer(() => process.end("SIGKILL"));
  return process;
}

/** Each entry has the classes of the others: here the error of a key that is not there. */
const STORES = `
import { createNode } from "muster-cache";
import { bentocacheDriver } from "muster-cache/bentocache";
import { KeyvStore } from "muster-cache/keyv";
await using node = await createNode({
  nats: "off",
  groups: { text: { origin: "none:", writable: true, type: "text" } },
});
const driver = bentocacheDriver(node.group("text")).factory({ prefix: "app" });
await driver.set("k", "value");
const store = new KeyvStore(node.group("text"));
console.log(await store.get("app:k"), await store.get("nothing"));
`;

/** What it has got, when it has got all. */
async function pages(process: NodeProcess): Promise<string[]> {
  const found = () => process.stdout.match(/^.* got .*\n/gm)?.map((line) => line.trim()) ?? [];
  const account = () => process.account("three pages");
  await until(() => found().length === 3 || process.exitCode !== undefined, 20_000, account);
  assert.equal(found().length, 3, account());
  return found().sort();
}

const what = "a newcomer's processes on both runtimes get each other's values, from a packed tarball";
test(what, { timeoutMs: 120_000 }, async (defer) => {
  const folder = temporaryDirectory(defer);
  const home = install(packLibrary(join(folder, "packed")), folder);
  const nats = await startNats(defer);
  const program = /^```ts page\.ts\n(.*?)^```$/ms.exec(readme)![1]!;
  assert.ok(program.trimEnd().split("\n").length <= 15, program);
  assert.ok(program.includes("nats://127.0.0.1:4222"));
  writeFileSync(join(folder, "page.ts"), program.replace("nats://127.0.0.1:4222", nats.url));
  writeFileSync(join(folder, "package.json"), '{"type":"module"}');
  writeFileSync(join(folder, "stores.ts"), STORES);
  const check = ["check", "--node-modules-dir=manual", "page.ts", "stores.ts"];
  execFileSync(runtimeProgram("deno"), check, { cwd: folder, stdio: "pipe" });
  const expected = (name: string) =>
    ["about", "home", "news"].map((page) => `${name} got ${page}: ${page}, rendered by a`);
  const first = start(defer, "bun", folder, "a");
  assert.deepEqual(await pages(first), expected("a"));
  const others = [start(defer, "bun", folder, "b"), start(defer, "deno", folder, "c")];
  assert.deepEqual(await Promise.all(others.map(pages)), ["b", "c"].map(expected));
  for (const process of [first, ...others]) {
    const { code, tookMs } = await process.end();
    assert.equal(code, 0, process.account("its end"));
    assert.ok(tookMs < 8_000, `it holds on to nothing: ${tookMs} ms`);
  }
  for (const [kind, how] of [["bun", ["run"]], ["deno", ["run", "--allow-net", "--no-prompt"]]] as const) {
    const told = execFileSync(runtimeProgram(kind), [...how, "stores.ts"], { cwd: folder, encoding: "utf8" });
    assert.equal(told, "value undefined\n", kind);
  }
  assert.ok(!readFileSync(join(home, "mod.js"), "utf8").includes(root), "no path of this machine is in it");
});
