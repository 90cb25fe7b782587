/** The runner must find what a README promises in vain, or the tests of the READMEs would mean nothing. */
import assert from "node:assert/strict";
import { test } from "../support/test.ts";
import { faultsOf } from "./exemptions.ts";
import { between, exchanged } from "./markers.ts";
import { isTypist, Reader } from "./reader.ts";
import { keeps, stepsOf } from "./steps.ts";

const sh = (...lines: string[]) => ["```sh", ...lines, "```", ""].join("\n");
const text = (...lines: string[]) => ["```text", ...lines, "```", ""].join("\n");

/** One node without NATS, which is what starts fastest. */
const node = "bun run main.ts --nats off";
const stop = "# Ctrl+C in the first terminal";
const promises: readonly [sentence: string, markdown: string, fault: RegExp | undefined][] = [
  [
    "a README that keeps its word passes",
    sh(node, 'curl -i localhost:8000/define/roster   # -> cache-status: "127-0-0-1-8000"; fwd=miss; … detail=origin') +
    text("listening on http://127.0.0.1:8000 name=…") + sh(stop),
    undefined,
  ],
  [
    "another cache-status than the promised one is found",
    sh(node, "curl -i localhost:8000/define/roster   # -> cache-status: … hit"),
    /README\.md:3: curl .* should have printed cache-status: … hit, and printed HTTP/,
  ],
  ["a command that fails is found", sh("test -e main.ts", "test -e nowhere.ts"), /README\.md:3: .*exit code 1/],
  ["a node that does not start is found", sh(`${node} --workers 0`), /README\.md:2: .*--workers must be/s],
  ["a log line that no node writes is found", sh(node) + text("farewell"), /README\.md:5: .*never wrote farewell/s],
  [
    "a node that ended by itself is found",
    sh(`${node} --addr 127.0.0.1:8001`, "command pkill -9 -f 'main.ts --nats off --addr 127.0.0.1:8001'", stop),
    /README\.md:4: .*exit code null\) never wrote that it (leaves|goes on until Ctrl\+C)/s,
  ],
  [
    "a node that a README kills may be gone",
    sh(`${node} --addr 127.0.0.1:8001`, "pkill -9 -f 'main.ts --nats off --addr 127.0.0.1:8001'", "test -e main.ts"),
    undefined,
  ],
  ["Ctrl+C where nothing runs is found", sh(stop), /README\.md:2: nothing runs in the first terminal/],
];

for (const [sentence, markdown, fault] of isTypist ? promises : []) {
  test(sentence, { programs: ["curl"], timeoutMs: 60_000 }, async (defer) => {
    const reader = await Reader.open(defer, "README.md", { promiseMs: 2_000 });
    const followed = reader.follow(stepsOf(markdown)).then(() => reader.close());
    if (fault === undefined) await followed;
    else await assert.rejects(followed, fault);
  });
}

if (isTypist) {
  test(
    "nodes run on the runtimes that are asked for, in turn",
    { programs: ["curl"], timeoutMs: 60_000 },
    async (defer) => {
      const reader = await Reader.open(defer, "README.md", { runtimes: ["deno", "bun"] });
      const markdown = sh(
        "npm start -- --nats off",
        "# second terminal",
        "npm start -- --nats off --addr 127.0.0.1:8001",
        "# third terminal",
        'curl -s localhost:8001/stats    # -> "runtime":"bun',
        'curl -s localhost:8000/stats    # -> "runtime":"deno',
      );
      await reader.follow(stepsOf(markdown));
      await reader.close();
    },
  );
}

test("a block that the test would not see is refused, and so is an exemption without a reason", () => {
  assert.throws(() => stepsOf("```bash\nls\n```\n"), /line 2: a block of commands must be sh, not bash/);
  assert.throws(() => stepsOf("```sh no-run:\nls\n```\n"), /line 2: no-run: must be followed by the reason/);
  assert.throws(() => stepsOf("```sh slow\nls\n```\n"), /line 2: after sh only/);
});

test("steps stand where the README has them", () => {
  const markdown = sh("# second terminal", "a 'b # c' # -> d", "# Ctrl+C in the second terminal: it leaves") +
    text("e") + "```json f.json\n{}\n```\n```js o.mjs\n1\n```\n```sh no-run: far away\ng # h\n```\n";
  assert.deepEqual(stepsOf(markdown), [
    { kind: "command", line: 3, command: "a 'b # c'", terminal: "second", promise: "d" },
    { kind: "interrupt", line: 4, terminal: "second" },
    { kind: "logs", line: 7, lines: ["e"] },
    { kind: "file", line: 10, name: "f.json", text: "{}" },
    { kind: "file", line: 13, name: "o.mjs", text: "1" },
    { kind: "exemption", line: 16, commands: ["g"], reason: "far away" },
  ]);
});

test("an ellipsis in a promise stands for anything, and nothing else does", () => {
  assert.ok(keeps('x\ncache-status: "a"; hit', "cache-status: …; hit"));
  assert.ok(!keeps("cache-status: a; miss", "cache-status: … hit"));
  assert.ok(!keeps("axb", "a.b"));
});

test("what an exempt command names must exist", () => {
  assert.deepEqual(faultsOf("npm ci && npm run bench -- --quick --only rank"), []);
  assert.deepEqual(faultsOf("npm test -- tests/core"), []);
  assert.deepEqual(faultsOf("npm run benches"), ["npm has no script benches"]);
  assert.deepEqual(faultsOf("deno task benches"), ["deno has no task benches"]);
  assert.deepEqual(faultsOf("npm run bench -- --quickly"), ["tests/bench/main.ts has no option --quickly"]);
  assert.deepEqual(faultsOf("bun run main.ts --nuts off"), ["main.ts has no option --nuts"]);
  assert.deepEqual(faultsOf("npm test -- tests/nothing"), ["there is no tests/nothing"]);
});

test("only what stands between two markers is read and exchanged", () => {
  const markdown = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n";
  assert.equal(between(markdown, "x"), "old");
  assert.equal(exchanged(markdown, "x", "new\nlines"), "a\n<!-- x -->\nnew\nlines\n<!-- /x -->\nb\n");
  for (const bad of ["a", "<!-- x -->\nb", markdown + markdown]) {
    assert.equal(between(bad, "x"), undefined);
    assert.throws(() => exchanged(bad, "x", "new"));
  }
});
