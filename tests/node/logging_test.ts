import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { createLog, type LogOptions } from "../../lib/node/log/logging.ts";
import { NPM_PACKAGES } from "../support/node.ts";
import { test } from "../support/test.ts";

const nowMs = Date.UTC(2026, 10, 23, 18, 0, 0, 5);

function memoryLog(format: "text" | "json", rest: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  return { lines, log: createLog({ format, write: (line) => lines.push(line), nowMs: () => nowMs, ...rest }) };
}

test("a text line is the time, the level and the message", () => {
  const { lines, log } = memoryLog("text", { lowestLevel: () => "debug" });
  log.debug("a");
  log.info("added myself to the peer list of dict (revision 7)");
  log.warn("c");
  log.error("d");
  assert.deepEqual(lines, [
    "2026-11-23T18:00:00.005Z debug a",
    "2026-11-23T18:00:00.005Z info  added myself to the peer list of dict (revision 7)",
    "2026-11-23T18:00:00.005Z warn  c",
    "2026-11-23T18:00:00.005Z error d",
  ]);
});

test("a JSON line holds the same with the fields beside it", () => {
  const { lines, log } = memoryLog("json");
  log.info("hello", { group: "dict", revision: 7, peers: ["a", "b"] });
  log.warn("hello");
  assert.equal(
    lines[0],
    '{"time":"2026-11-23T18:00:00.005Z","level":"info","message":"hello","group":"dict","revision":7,"peers":["a","b"]}',
  );
  assert.equal(lines[1], '{"time":"2026-11-23T18:00:00.005Z","level":"warn","message":"hello"}');
});

test("facts that the message tells already are fields of a JSON line, and not of a text line", () => {
  const tell = (format: "text" | "json") => {
    const { lines, log } = memoryLog(format);
    log.info("listening on http://h:1", { name: "n" }, { url: "http://h:1", name: "another" });
    return lines[0];
  };
  assert.equal(tell("text").slice(31), "listening on http://h:1 name=n");
  const { time: _, ...told } = JSON.parse(tell("json"));
  assert.deepEqual(told, { level: "info", message: "listening on http://h:1", url: "http://h:1", name: "n" });
});

test("fields follow the message of a text line, quoted where they hold spaces", () => {
  const { lines, log } = memoryLog("text");
  log.info("hello", { group: "dict", revision: 7, reason: "not there", empty: "", list: [1, { a: "b c" }] });
  assert.equal(lines[0].slice(31), 'hello group=dict revision=7 reason="not there" empty="" list=[1,{"a":"b c"}]');
});

test("braces in a message are text, whatever the fields are called", () => {
  for (
    const message of [
      "http://h/{key} failed",
      "{",
      "}}{{",
      "{{key}}",
      "{*}",
      "{ key }",
      "%s %d %o",
      " ends with a space ",
    ]
  ) {
    const text = memoryLog("text");
    text.log.info(message);
    assert.equal(text.lines[0].slice(31), message);
    const json = memoryLog("json");
    json.log.info(message, { key: "value" });
    assert.equal(JSON.parse(json.lines[0]).message, message);
  }
});

test("no message and no field can begin a line of its own, or speak to the terminal", () => {
  const evil = "a\r\n2026-11-23T18:00:00.000Z error forged\x1b[2J\x1b[31m\x07\x00\x7f\x9b31m";
  for (const format of ["text", "json"] as const) {
    const { lines, log } = memoryLog(format);
    log.info(evil);
    log.info("field", { [evil]: evil, nested: { [evil]: [evil] }, error: new Error(evil) });
    assert.equal(lines.length, 2);
    // deno-lint-ignore no-control-regex
    for (const line of lines) assert.doesNotMatch(line, /[\x00-\x1f\x7f-\x9f]/);
    if (format === "json") assert.equal(JSON.parse(lines[0]).message, evil);
    else assert.ok(lines[0].includes("a\\r\\n2026-11-23T18:00:00.000Z error forged\\x1b[2J"));
  }
});

test("what JSON cannot hold is told in another way, and never thrown", () => {
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  const fields = { error: new TypeError("bad"), big: 10n, circle, none: undefined, call: () => 1, nan: NaN };
  const json = memoryLog("json");
  json.log.error("odd", fields);
  const { time: _, ...told } = JSON.parse(json.lines[0]);
  assert.deepEqual(told, {
    level: "error",
    message: "odd",
    error: "TypeError: bad",
    big: "10",
    circle: { self: "[Circular]" },
    nan: null,
  });
  const text = memoryLog("text");
  text.log.error("odd", fields);
  assert.equal(text.lines[0].slice(31), 'odd error="TypeError: bad" big=10 circle={"self":"[Circular]"} nan=null');
});

test("a field cannot pass for the time, the level or the message", () => {
  const { lines, log } = memoryLog("json");
  log.info("true", { message: "false", level: "error", time: "never", kept: 1 });
  assert.deepEqual(JSON.parse(lines[0]), {
    time: "2026-11-23T18:00:00.005Z",
    level: "info",
    message: "true",
    kept: 1,
  });
});

test("what is below the lowest level is dropped: debug, unless one asks for it", () => {
  const usual = memoryLog("text");
  usual.log.debug("a");
  usual.log.info("b");
  assert.deepEqual(usual.lines.map((line) => line.slice(31)), ["b"]);
  const quiet = memoryLog("text", { lowestLevel: () => "error" });
  quiet.log.warn("a");
  quiet.log.error("b");
  assert.deepEqual(quiet.lines.map((line) => line.slice(31)), ["b"]);
});

test("two logs in one process keep apart, in format, place and time", () => {
  const one = memoryLog("text");
  const other = memoryLog("json", { nowMs: () => 0 });
  one.log.info("a");
  other.log.info("b");
  one.log.info("c");
  assert.deepEqual(one.lines.map((line) => line.slice(31)), ["a", "c"]);
  assert.deepEqual(other.lines, ['{"time":"1970-01-01T00:00:00.000Z","level":"info","message":"b"}']);
});

const deno = fileURLToPath(new URL("../../node_modules/.bin/deno", import.meta.url));

test("logging needs no permission in Deno", { programs: [deno] }, () => {
  const script = `
    import { createLog } from ${JSON.stringify(new URL("../../lib/node/log/logging.ts", import.meta.url).href)};
    const log = (format) => createLog({ format, write: console.log, nowMs: () => 0 });
    log("text").info("hello", { error: new Error("x") });
    log("json").info("hello", { list: [1] });
    try { Deno.env.get("HOME"); console.log("allowed"); } catch { console.log("refused"); }`;
  const cwd = fileURLToPath(new URL("../..", import.meta.url));
  const printed = execFileSync(deno, ["run", NPM_PACKAGES, "--no-prompt", "--no-check", "-"], {
    encoding: "utf8",
    cwd,
    input: script,
  });
  assert.deepEqual(printed.trim().split("\n"), [
    '1970-01-01T00:00:00.000Z info  hello error="Error: x"',
    '{"time":"1970-01-01T00:00:00.000Z","level":"info","message":"hello","list":[1]}',
    "refused",
  ]);
});
