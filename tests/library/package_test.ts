/** Runs once: packs the library, and does with it what its README says, in a folder that knows nothing of this project. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after } from "node:test";
import { freePort } from "../support/free-port.ts";
import { NodeProcess, root, type RuntimeKind, runtimeProgram, temporaryDirectory } from "../support/node.ts";
import { startNats } from "../support/nats-server.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";
import { packLibrary } from "./pack.ts";

/** The program of a page, with the URL of this test's NATS. */
function programIn(page: string, nats: string): string {
  const program = /^```ts page\.ts\n(.*?)^```$/ms.exec(readFileSync(join(root, page), "utf8"))![1]!;
  assert.ok(program.includes("nats://127.0.0.1:4222"), program);
  return program.replace("nats://127.0.0.1:4222", nats);
}

let tarball: string | undefined;

/** A folder with the package, and with others that a user would add. */
function folderWith(defer: Defer, ...others: string[]): { folder: string; home: string } {
  const folder = temporaryDirectory(defer);
  tarball ??= packLibrary(packed);
  const home = install(tarball, folder);
  for (const name of others) {
    const place = join(folder, "node_modules", name);
    if (!existsSync(place)) symlinkSync(join(root, "node_modules", name), place);
  }
  writeFileSync(join(folder, "package.json"), '{"type":"module"}');
  return { folder, home };
}

const packed = mkdtempSync(join(tmpdir(), "muster-packed-"));
after(() => rmSync(packed, { recursive: true, force: true }));

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
  return startWith(defer, kind, cwd, [...how, "page.ts", name]);
}

function startWith(defer: Defer, kind: RuntimeKind, cwd: string, args: string[]): NodeProcess {
  const child = spawn(runtimeProgram(kind), args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
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
  const { folder, home } = folderWith(defer);
  const nats = await startNats(defer);
  const program = programIn("lib/library/README.md", nats.url);
  assert.ok(program.trimEnd().split("\n").length <= 15, program);
  writeFileSync(join(folder, "page.ts"), program);
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

const once = "two Hono apps, one on Bun and one on Deno, render each page once";
test(once, { timeoutMs: 120_000 }, async (defer) => {
  const { folder } = folderWith(defer, "hono");
  const [nats, ...ports] = await Promise.all([startNats(defer), freePort(), freePort()]);
  writeFileSync(join(folder, "page.ts"), programIn("tests/examples/README.md", nats.url));
  const onDeno = ["serve", "--allow-net", "--no-prompt", "--host=127.0.0.1", `--port=${ports[1]}`, "page.ts"];
  const apps = [
    startWith(defer, "bun", folder, [`--port=${ports[0]}`, "page.ts"]),
    startWith(defer, "deno", folder, onDeno),
  ];
  const answers = (port: number) => fetch(`http://127.0.0.1:${port}/`).then((answer) => answer.status, () => 0);
  const bothServe = async () => (await Promise.all(ports.map(answers))).every((status) => status === 404);
  await until(bothServe, 30_000, () => apps.map((app) => app.account("that it serves")).join("\n"));
  const textsOf = (name: string) =>
    Promise.all(ports.map(async (port) => await (await fetch(`http://127.0.0.1:${port}/pages/${name}`)).text()));
  // Both have just joined: one may not know of the other yet, and renders for itself alone.
  let tries = 0;
  const knowEachOther = async () => {
    const pairs = await Promise.all([1, 2, 3, 4].map(() => textsOf(`first-${tries++}`)));
    return pairs.every(([one, other]) => one === other);
  };
  await until(knowEachOther, 30_000, () => apps.map((app) => app.account("that it knows the other")).join("\n"));
  const names = Array.from({ length: 12 }, (_, i) => `page-${i}`);
  const render = async (name: string) => {
    const texts = await textsOf(name);
    assert.match(texts[0]!, new RegExp(`^<h1>${name}</h1><p>rendered at 20`));
    assert.equal(texts[1], texts[0]);
  };
  await Promise.all(names.map(render));
  // A program's output comes by a pipe of its own.
  const rendered = () => apps.map(({ stdout }) => stdout.match(/(?<=rendering )page-\S+/g) ?? []);
  await until(() => rendered().flat().length >= names.length, 5_000, () => `${rendered()}`);
  assert.deepEqual(rendered().flat().sort(), [...names].sort());
  assert.ok(rendered().every(({ length }) => length > 0), "each app owns some of the pages");
});
