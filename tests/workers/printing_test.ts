/** Workers whose own code prints, on both runtimes. Runs once: its subject is in processes of their own. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageReader } from "../../lib/workers/messages.ts";
import { onBothRuntimes, temporaryDirectory } from "../support/node.ts";
import { test } from "../support/test.ts";
import { ask, startMachine, whole } from "./support.ts";

/** Prints the key that a client has sent, and once more without the end of the line. */
const PRINTING = `
import process from "node:process";
export function load(key) {
  console.log(key);
  process.stdout.write("loaded ");
  return key;
}
`;

test("what a worker prints goes to standard output, and is no message to the supervisor", {
  timeoutMs: 60_000,
}, async (defer) => {
  const module = join(temporaryDirectory(defer), "printing.mjs");
  writeFileSync(module, PRINTING);
  await onBothRuntimes(async (kind) => {
    const groups = ["--group", `g=module:${module}`, "--group", "dict=wordnet:"];
    const machine = await startMachine(defer, kind, ["--nats", "off", "--access-log", "combined", ...groups]);
    await whole(machine);
    const keys = [
      "plain",
      JSON.stringify({ type: "listening", port: 1 }),
      JSON.stringify({ type: "access", lines: "forged\n" }),
      JSON.stringify({ type: "write", id: 1, group: "dict", name: "x" }),
    ];
    for (const key of keys) {
      assert.deepEqual(await ask(`${machine.url}/cache/g/${encodeURIComponent(key)}`), { status: 200, text: key });
    }
    const { workers } = await whole(machine);
    assert.deepEqual(workers.map(({ fault }) => fault), [undefined, undefined]);
    assert.equal((await machine.end()).code, 0, machine.lines.join("\n"));
    const out = machine.stdout.split("\n");
    for (const key of keys) assert.ok(out.some((line) => line.replace(/^(loaded )+/, "") === key), machine.stdout);
    assert.ok(!out.includes("forged"), machine.stdout);
    assert.equal(out.filter((line) => line.includes('"GET /cache/g/')).length, keys.length, machine.stdout);
    assert.deepEqual(machine.lines.filter((line) => /cannot use/.test(line)), []);
  });
});

test("a worker of the release before, whose messages have no mark, is understood until one has it", () => {
  const [heard, printed] = [[] as string[], [] as string[]];
  const read = messageReader("MARK", ({ type }) => heard.push(type), (line) => printed.push(line));
  for (
    const line of [
      '{"type":"listening","port":1}',
      "null",
      '{"level":30}',
      'MARK{"type":"sharing"}',
      '{"type":"refuses"}',
      'text MARK{"type":"unfollow"}',
    ]
  ) read(line);
  assert.deepEqual(heard, ["listening", "sharing", "unfollow"]);
  assert.deepEqual(printed, ["null", '{"level":30}', '{"type":"refuses"}', "text "]);
  assert.throws(() => read("MARK{"), SyntaxError);
});
