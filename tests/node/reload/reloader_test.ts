/** Reading the file again, without a node: when it is read, what is told, and what happens while a reload waits. */
import assert from "node:assert/strict";
import type { Config } from "../../../lib/config/config.ts";
import { parseConfig } from "../../../lib/config/parse.ts";
import { ConfigError } from "../../../lib/core/errors.ts";
import type { ConfigFigures } from "../../../lib/http/figures.ts";
import { Reloader } from "../../../lib/node/reload/reloader.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { MemoryLog } from "../../support/log.ts";
import { test } from "../../support/test.ts";

const FILE = "muster.json";
const groupsOf = (...names: string[]) => Object.fromEntries(names.map((name) => [name, { origin: "wordnet:" }]));

function configFrom(readFile: (path: string) => string, running?: Config): Config {
  const argv = ["--config", FILE, "--zone", "of-the-flag"];
  const parsed = parseConfig({ argv, env: {}, readFile, isTerminal: false, running, checkOrigin: () => {} });
  assert.ok(parsed.kind === "run");
  return parsed.config;
}

function setUp(first: object = { groups: groupsOf("a") }) {
  const clock = new ManualClock();
  const log = new MemoryLog();
  /** `undefined`: it is not there. */
  const disk = { text: JSON.stringify(first) as string | undefined, key: "secret" as string | undefined };
  const readFile = (path: string) => {
    const text = path === FILE ? disk.text : path === "key" ? disk.key : undefined;
    if (text === undefined) throw new Error(`ENOENT: ${path}`);
    return text;
  };
  const program = {
    config: configFrom(readFile),
    figures: undefined as ConfigFigures | undefined,
    reloads: [] as string[],
    refuses: undefined as Error | undefined,
    reload(config: Config) {
      if (this.refuses !== undefined) throw this.refuses;
      this.config = config;
      this.reloads.push(config.groups.map(({ name }) => name).join());
    },
    toldOfFile(figures: ConfigFigures) {
      this.figures = figures;
    },
  };
  /** The checks of origins: each waits for its gate, if it has one. */
  const checks: { groups: string; serve: Config["serve"]; gate: PromiseWithResolvers<void> }[] = [];
  let areGated = false;
  /** The messages to a service manager. */
  const heard: string[] = [];
  const watcher = {
    reloading: () => void heard.push("reloading"),
    reloaded: (fault: string | undefined) => void heard.push(fault ?? "reloaded"),
  };
  const reloader = new Reloader({
    path: FILE,
    text: disk.text,
    readFile,
    readOptions: configFrom,
    checkOrigins: async (groups, serve) => {
      const gate = Promise.withResolvers<void>();
      checks.push({ groups: groups.map(({ name }) => name).join(), serve, gate });
      if (areGated) await gate.promise;
    },
    program,
    watcher,
    clock,
    log,
  });
  const write = (file: object | string) => void (disk.text = typeof file === "string" ? file : JSON.stringify(file));
  return { clock, log, disk, heard, write, program, reloader, checks, gateChecks: () => void (areGated = true) };
}

test("a reload brings groups and the log level, says what has changed, and names what needs a restart", async () => {
  const { write, program, reloader, log, clock } = setUp();
  assert.equal(program.figures!.readAt, new Date(clock.nowMs()).toISOString());
  await clock.advance(1_000);
  write({ groups: groupsOf("a", "b"), logLevel: "warn", addr: "127.0.0.1:1", zone: "of-the-file" });
  await reloader.reload();
  assert.deepEqual(program.reloads, ["a,b"]);
  assert.deepEqual([program.config.logLevel, program.config.addr.port, program.config.zone], [
    "warn",
    8000,
    "of-the-flag",
  ]);
  assert.deepEqual(log.lines, [
    "info read muster.json again: added the group b; the log level is warn",
    "warn --addr has changed in muster.json: that needs a restart; until then the former values count",
  ]);
  const readAt = new Date(clock.nowMs()).toISOString();
  assert.deepEqual(program.figures, { path: FILE, readAt, needRestart: ["--addr"] });
});

test("a reload that changes nothing says so", async () => {
  const { reloader, log, write } = setUp();
  await reloader.reload();
  write({ groups: groupsOf("a"), zone: "of-the-file" });
  await reloader.reload();
  assert.deepEqual(log.lines, [
    "info read muster.json again: nothing has changed",
    "info read muster.json again: nothing has changed",
  ]);
});

test("a file that is invalid changes nothing at all, and is told with every fault until it is mended", async () => {
  const { reloader, log, write, program, clock } = setUp();
  const { readAt } = program.figures!;
  const since = new Date(clock.nowMs()).toISOString();
  write({ groups: { ...groupsOf("b"), c: { origin: "wordnet:", ttlMs: "soon" } }, zone: 5 });
  await reloader.reload();
  assert.deepEqual(program.reloads, []);
  assert.match(
    log.lines[0]!,
    /^error read muster\.json again, and changed nothing: 2 faults in the options: .*ttlMs must/,
  );
  assert.match(log.lines[0]!, /; --config muster\.json: groups\.c\.ttlMs must be a whole number/);
  assert.equal(program.figures!.readAt, readAt);
  assert.equal(program.figures!.fault!.since, since);
  await clock.advance(60_000);
  write("{");
  await reloader.reload();
  assert.equal(program.figures!.fault!.since, since, "since when it has not been followed");
  assert.match(program.figures!.fault!.reason, /is not JSON/);
  write({ groups: groupsOf("b") });
  await reloader.reload();
  assert.deepEqual([program.reloads, program.figures!.fault], [["b"], undefined]);
});

test("an origin that can never answer, and groups that the node cannot have, change nothing", async () => {
  const { reloader, log, write, program, checks, gateChecks } = setUp();
  program.refuses = new RangeError("Cannot add so many groups");
  write({ groups: groupsOf("a", "b") });
  await reloader.reload();
  assert.match(log.lines[0]!, /changed nothing: Cannot add so many groups/);
  program.refuses = undefined;
  gateChecks();
  const over = reloader.reload();
  assert.equal(checks.at(-1)!.groups, "b", "only what is new is tried");
  checks.at(-1)!.gate.reject(new ConfigError("Cannot use the module x.ts: there is no such file"));
  await over;
  assert.match(log.lines[1]!, /changed nothing: Cannot use the module/);
  assert.deepEqual(program.reloads, []);
});

test("reloads are done one after the other, and what is asked for meanwhile is done once", async () => {
  const { reloader, write, program, checks, gateChecks } = setUp();
  gateChecks();
  write({ groups: groupsOf("a", "b") });
  const first = reloader.reload();
  write({ groups: groupsOf("a", "c") });
  const [second, third] = [reloader.reload(), reloader.reload()];
  await settle();
  assert.deepEqual(checks.map(({ groups }) => groups), ["b"]);
  checks[0]!.gate.resolve();
  await settle();
  assert.deepEqual(program.reloads, ["a,b"]);
  assert.deepEqual(checks.map(({ groups }) => groups), ["b", "c"], "read anew, against what runs now");
  checks[1]!.gate.resolve();
  await Promise.all([first, second, third]);
  assert.deepEqual(program.reloads, ["a,b", "a,c"]);
  assert.equal(checks.length, 2);
});

test("a reload during the shutdown does nothing, nor does one that waited when it began", async () => {
  const { reloader, write, program, checks, gateChecks, log, clock } = setUp();
  gateChecks();
  write({ groups: groupsOf("a", "b") });
  const waiting = reloader.reload();
  reloader.stop();
  checks[0]!.gate.resolve();
  await waiting;
  await reloader.reload();
  write({ groups: groupsOf("c") });
  await clock.advance(60_000);
  assert.deepEqual([program.reloads, log.lines, checks.length], [[], [], 1]);
  assert.equal(clock.pending, 0, "it looks at the file no more");
});

test("a changed file is read by itself, once it is written to its end", async () => {
  const { clock, write, program, log } = setUp();
  await clock.advance(10_000);
  assert.deepEqual(log.lines, []);
  write('{"groups":');
  await clock.advance(2_000);
  write({ groups: groupsOf("a", "b") }); // within 200 ms
  await clock.advance(200);
  assert.deepEqual([program.reloads, log.lines], [[], []]);
  await clock.advance(2_200);
  assert.deepEqual(program.reloads, ["a,b"]);
  await clock.advance(10_000);
  assert.equal(log.lines.length, 1, "read once");
});

test("a file that is away for a moment is no fault; one that stays away is one, told once", async () => {
  const { clock, write, disk, program, log } = setUp();
  disk.text = undefined;
  await clock.advance(2_000);
  write({ groups: groupsOf("a") });
  await clock.advance(10_000);
  assert.deepEqual(log.lines, []);
  disk.text = undefined;
  await clock.advance(20_000);
  assert.equal(log.lines.length, 1);
  assert.match(log.lines[0]!, /changed nothing: 1 fault in the options: --config must be a file that can be read/);
  write({ groups: groupsOf("b") });
  await clock.advance(2_200);
  assert.deepEqual(program.reloads, ["b"]);
});

test("a file that changes while a reload waits for an origin is read after it", async () => {
  const { clock, write, program, reloader, checks, gateChecks } = setUp();
  gateChecks();
  write({ groups: groupsOf("a", "b") });
  void reloader.reload();
  write({ groups: groupsOf("a", "c") });
  await clock.advance(10_000);
  assert.equal(checks.length, 1);
  checks[0]!.gate.resolve();
  await settle();
  assert.deepEqual(program.reloads, ["a,b"]);
  await clock.advance(2_200);
  checks[1]!.gate.resolve();
  await settle();
  assert.deepEqual(program.reloads, ["a,b", "a,c"]);
});

test("a file that could not be followed is tried every 30 s, also where each try waits for an origin", async () => {
  const { clock, write, reloader, checks, gateChecks } = setUp();
  gateChecks();
  const failing = async (at: number) => {
    await clock.advance(5_000);
    checks[at]!.gate.reject(new ConfigError("it has no database"));
    await settle();
  };
  write({ groups: groupsOf("a", "b") });
  void reloader.reload();
  await failing(0);
  await clock.advance(32_000);
  await failing(1);
  assert.equal(checks.length, 2, "not again at once");
  await clock.advance(32_000);
  assert.equal(checks.length, 3);
});

test("without a file there is nothing to read again", async () => {
  const { program, log, clock, heard } = setUp();
  const none = new Reloader({
    path: undefined,
    text: undefined,
    readFile: () => assert.fail("reads a file"),
    readOptions: () => assert.fail("reads options"),
    checkOrigins: () => Promise.resolve(),
    program,
    watcher: { reloading: () => heard.push("reloading"), reloaded: () => heard.push("reloaded") },
    clock,
    log,
  });
  await none.reload();
  assert.deepEqual(heard, ["reloading", "reloaded"], "it waits for an answer");
  assert.deepEqual(log.lines, ["info there is nothing to read again: --config names no regular file"]);
});

test("a changed --serve needs a restart: until then the served groups' headers are read, and their origins tried", async () => {
  const headers = { authorization: { file: "key" } };
  const group = { origin: "http://127.0.0.1:9/{key}", headers };
  const { write, program, reloader, checks, log } = setUp({ groups: { a: group, b: group } });
  assert.deepEqual(program.config.groups[1]!.headers, [["authorization", "secret"]]);
  write({ groups: { a: group, b: { ...group, ttlMs: 5_000 }, c: group }, serve: "a", nats: "nats://127.0.0.1:9" });
  await reloader.reload();
  assert.match(log.lines[0]!, /added the group c; changed the group b \(ttlMs\)$/);
  assert.match(log.lines[1]!, /--nats, --serve have changed/);
  for (const { name, headers } of program.config.groups) assert.deepEqual(headers, [["authorization", "secret"]], name);
  assert.deepEqual(checks.map(({ groups, serve }) => [groups, serve]), [["c", undefined]]);
});

test("a file that names a missing file is followed when that file comes, and its fault is reported once", async () => {
  const { clock, write, disk, program, log } = setUp();
  const { key } = disk;
  disk.key = undefined;
  const headers = { authorization: { file: "key" } };
  write({ groups: { ...groupsOf("a"), b: { origin: "http://127.0.0.1:9/{key}", headers } } });
  await clock.advance(100_000);
  assert.deepEqual(program.reloads, []);
  assert.equal(log.lines.length, 1, log.lines.join("\n"));
  assert.match(log.lines[0]!, /changed nothing: 1 fault .*headers\.authorization must/);
  disk.key = key;
  await clock.advance(32_000);
  assert.deepEqual([program.reloads, program.figures!.fault], [["a,b"], undefined]);
  await clock.advance(100_000);
  assert.equal(log.lines.length, 2, log.lines.join("\n"));
});

test("a fault that changes while the file stays the same is reported again, and a signal always gets an answer", async () => {
  const { clock, write, program, reloader, log } = setUp();
  program.refuses = new TypeError("one reason");
  write({ groups: groupsOf("a", "b") });
  await clock.advance(2_200);
  program.refuses = new TypeError("another reason");
  await clock.advance(60_000);
  await reloader.reload();
  const reasons = log.lines.map((line) => /changed nothing: (.*)/.exec(line)![1]);
  assert.deepEqual(reasons, ["one reason", "another reason", "another reason"]);
});

test("a reload whose origin turns out wrong during the shutdown is not reported", async () => {
  const { write, reloader, checks, gateChecks, log, program } = setUp();
  gateChecks();
  write({ groups: groupsOf("a", "b") });
  const over = reloader.reload();
  reloader.stop();
  checks[0]!.gate.reject(new ConfigError("Cannot use the module"));
  await over;
  assert.deepEqual([log.lines, program.figures!.fault], [[], undefined]);
});

test("a reload requested in the turn in which the last one ends is done", async () => {
  for (let reactions = 0; reactions < 8; reactions++) {
    const { write, reloader, program } = setUp();
    write({ groups: groupsOf("b") });
    const { toldOfFile } = program;
    const second = Promise.withResolvers<void>();
    program.toldOfFile = (figures) => {
      toldOfFile.call(program, figures);
      program.toldOfFile = toldOfFile;
      void (async () => {
        for (let i = 0; i < reactions; i++) await undefined;
        write({ groups: groupsOf("c") });
        await reloader.reload();
        second.resolve();
      })();
    };
    await reloader.reload();
    await second.promise;
    assert.deepEqual(program.reloads, ["b", "c"], `after ${reactions} promise reactions`);
  }
});

test("a service manager hears of each requested reload, and of each changed result", async () => {
  const { clock, write, disk, heard, reloader } = setUp();
  write({ groups: groupsOf("a", "b") });
  // It waits for an answer to its own signal.
  await Promise.all([reloader.reload(), reloader.reload()]);
  assert.deepEqual(heard.splice(0), ["reloading", "reloaded", "reloading", "reloaded"]);
  disk.text = undefined;
  await clock.advance(2_200);
  await reloader.reload();
  const [before, fault] = heard.slice(-2);
  assert.equal(before, "reloading");
  assert.match(fault!, /--config must be a file that can be read/);
  heard.length = 0;
  await clock.advance(120_000);
  assert.deepEqual(heard, [], "it is tried again in silence");
  disk.text = JSON.stringify({ groups: groupsOf("a") });
  await clock.advance(2_200);
  assert.deepEqual(heard, ["reloading", "reloaded"]);
});
