/** What `deno run main.ts` asks for when the user gave no permission. Runs once: it is in processes of their own. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { NodeProcess, NPM_PACKAGES, root, runtimeProgram } from "../support/node.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";

const bare = [runtimeProgram("deno"), "run", NPM_PACKAGES, join(root, "main.ts"), "--nats", "off"];
const free = ["--addr", "127.0.0.1:0"];

/** A terminal of util-linux's `script`, with the program in it. */
function onTerminal(defer: Defer, command: string[]) {
  const child = spawn("script", ["--quiet", "--return", "--command", `exec ${command.join(" ")}`, "/dev/null"], {
    cwd: root,
    env: { ...process.env, NO_COLOR: "1", TERM: "dumb", SHELL: "/bin/sh" },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const shown = { text: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => shown.text += text);
  const exited = new Promise<number | null>((resolve) => child.once("close", resolve));
  defer(async () => {
    if (child.exitCode === null) process.kill(child.pid!, "SIGKILL");
    await exited;
  });
  const promptsFor = () => [...shown.text.matchAll(/Deno requests (\w+) access/g)].map(([, name]) => name!);
  return {
    promptsFor,
    exited,
    shows: (text: string) => until(() => shown.text.includes(text), 15_000, () => shown.text),
    /** Types the answer until Deno takes it: it throws away what was typed before it listens. */
    async answer(name: string, key: "y" | "n"): Promise<void> {
      await until(() => promptsFor().at(-1) === name, 15_000, () => `no prompt for ${name}: ${shown.text}`);
      let typedAtMs = -Infinity;
      const isTaken = () => {
        if (shown.text.includes(`${key === "y" ? "Granted" : "Denied"} ${name} access`)) return true;
        if (performance.now() - typedAtMs > 500) {
          child.stdin.write(`${key}\n`);
          typedAtMs = performance.now();
        }
        return false;
      };
      await until(isTaken, 15_000, () => shown.text);
    },
    type: (text: string) => child.stdin.write(text),
  };
}

test("under Deno without permissions a node asks four times on a terminal", { programs: ["script"] }, async (defer) => {
  const terminal = onTerminal(defer, [...bare, ...free]);
  for (const name of ["net", "read", "env", "run"]) await terminal.answer(name, "y");
  await terminal.shows("listening on http://127.0.0.1:");
  assert.deepEqual(terminal.promptsFor(), ["net", "read", "env", "run"]);
  terminal.type("\x03");
  assert.equal(await terminal.exited, 0);
});

test("a node that is refused a permission says what to type", { programs: ["script"] }, async (defer) => {
  const terminal = onTerminal(defer, [...bare, ...free]);
  await terminal.answer("net", "n");
  for (const name of ["read", "env", "run"]) await terminal.answer(name, "y");
  await terminal.shows("deno run -P main.ts");
  assert.equal(await terminal.exited, 2);
});

test("under Deno without permissions and without a terminal one line says what to type", async (defer) => {
  const [program, ...args] = bare;
  const node = new NodeProcess("deno", spawn(program!, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] }));
  defer(() => node.end("SIGKILL"));
  assert.equal(await node.exited, 2, node.lines.join("\n"));
  assert.deepEqual(node.lines, [
    'muster needs the permissions of deno.json: type "deno run -P main.ts" (or "deno run -A main.ts" for all of them)',
  ]);
});
