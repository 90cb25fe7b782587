/** Command lines: what is run, what is refused, and what is told of it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { commandIn, commands, type CommandText, commandVariables } from "../../lib/config/command-line/commands.ts";
import { readCommand } from "../../lib/config/command-line/command-line.ts";
import { ConfigError } from "../../lib/core/errors.ts";
import { completions } from "../../lib/cli/local/completions.ts";
import { root, temporaryDirectory } from "../support/node.ts";
import { test } from "../support/test.ts";
import { run } from "./support.ts";

const all: readonly CommandText[] = Object.values(commands);

test("without a word, or with serve, a node is meant; any other first word is a command or none", () => {
  assert.deepEqual(commandIn([]), { name: "serve", rest: [] });
  assert.deepEqual(commandIn(["--addr", "x"]), { name: "serve", rest: ["--addr", "x"] });
  assert.deepEqual(commandIn(["-addr=x"]), { name: "serve", rest: ["-addr=x"] });
  assert.deepEqual(commandIn(["--", "--addr", "x"])!.name, "serve");
  assert.deepEqual(commandIn(["serve", "--addr", "x"]), { name: "serve", rest: ["--addr", "x"] });
  assert.deepEqual(commandIn(["--", "status", "--json"]), { name: "status", rest: ["--json"] });
  assert.deepEqual(commandIn(["config", "check", "--json"]), { name: "configCheck", rest: ["--json"] });
  assert.equal(commandIn(["config"]), undefined);
  assert.equal(commandIn(["statu"]), undefined);
});

test("a flag wins over its variable, the variable over the default; switches and lists are read", () => {
  const read = (argv: string[], env: Record<string, string> = {}) => {
    const asked = readCommand(commands.purge, argv, env);
    assert.ok(asked.kind === "run");
    return asked;
  };
  assert.deepEqual(read(["dict", "a", "b"]).args, ["dict", "a", "b"]);
  const { values } = read(["dict", "--tag", "x", "--tag=y", "-soft"], { MUSTER_NODE: "http://h:1/" });
  assert.deepEqual([values.node, values.tag, values.prefix, values.soft, values.all], [
    "http://h:1",
    ["x", "y"],
    [],
    true,
    false,
  ]);
  assert.equal(read(["dict"]).values.node, "http://127.0.0.1:8000");
  assert.equal(read(["dict", "--node", "https://n"], { MUSTER_NODE: "x" }).values.node, "https://n");
  // A key may look like a flag behind two dashes.
  assert.deepEqual(read(["dict", "--", "--all"]).args, ["dict", "--all"]);
});

test("every fault of a command line comes in one message, and no login is shown", () => {
  assert.throws(
    () => readCommand(commands.get, ["dict", "--nope", "--json=1", "--node", "http://u:secret@h/x"], {}),
    (error: unknown) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, /^4 faults in the arguments of get:\n/);
      for (const part of ["--nope", "--json takes no value", "<group> <key>", "--node must be http://host"]) {
        assert.ok(error.message.includes(part), part);
      }
      assert.ok(!error.message.includes("secret"), error.message);
      return true;
    },
  );
});

test("an unknown command is refused with its unknown flags, exit code 2, as JSON where it is asked for", async () => {
  const { code, out, err } = await run(["stauts", "--nope", "--json"]);
  assert.equal(code, 2);
  assert.match(
    err,
    /^2 faults .*\n {2}there is no command "stauts": there are serve, status, .*\n {2}there is no option --nope/,
  );
  const { ok, error } = JSON.parse(out);
  assert.deepEqual([ok, typeof error], [false, "string"]);
  for (
    const argv of [["status", "x"], ["get", "dict"], ["purge", "dict"], ["purge", "dict", "k", "--all"], ["simulate"]]
  ) {
    assert.equal((await run(argv)).code, 2, argv.join(" "));
  }
  assert.equal((await run(["get", "dict", ".."])).code, 2, "a key that no node takes");
  assert.equal((await run(["completions", "tcsh"])).code, 2);
  assert.equal((await run(["sign", "x"])).code, 2);
  assert.equal((await run(["doctor", "--replicas", "9"])).code, 2);
});

test("each command tells how it is used, and its exit codes", async () => {
  for (const { words, args, options, description } of all) {
    if (words === "serve") continue;
    const { code, out } = await run([...words.split(" "), "--help"]);
    assert.equal(code, 0, words);
    for (
      const part of [
        ...args,
        `${description}.`.split(" ")[0]!,
        "Exit codes: 0, ",
        ...Object.values(options).map(({ flag }) => `--${flag}`),
      ]
    ) {
      assert.ok(out.includes(part), `${words}: ${part}`);
    }
  }
  const { out } = await run(["doctor", "--help"]);
  assert.ok(out.includes("It takes the options of serve, too"));
});

test("config check tells every fault with exit code 2, and shows no origin", async () => {
  const good = await run([
    "config",
    "check",
    "--json",
    "--group",
    "a=http://h.test/{key}?token=secret",
    "--nats",
    "off",
  ]);
  assert.equal(good.code, 0);
  assert.ok(!good.out.includes("secret"), good.out);
  assert.deepEqual(JSON.parse(good.out), {
    ok: true,
    addr: { host: "127.0.0.1", port: 8000 },
    nats: "off",
    bucket: "peers",
    workers: 1,
    groups: ["a"],
    doubts: [],
  });
  const bad = await run(["config", "check", "--replicas", "9", "--weight", "x"]);
  assert.deepEqual([bad.code, bad.out], [2, ""]);
  assert.match(bad.err, /^2 faults in the options:\n {2}--replicas must be .*\n {2}--weight must be /);
  assert.match(
    (await run(["config", "check", "--addr", "0.0.0.0:1", "--nats", "10.0.0.1:4222"])).out,
    /doubtful: other nodes cannot reach/,
  );
});

test("config check tells what of a changed file a running node takes, and what only a restart", async (defer) => {
  const folder = temporaryDirectory(defer);
  const write = (name: string, content: object) => {
    writeFileSync(`${folder}/${name}`, JSON.stringify(content));
    return `${folder}/${name}`;
  };
  const origin = "http://h.test/{key}?token=secret";
  const before = write("before.json", { groups: { a: { origin }, b: { origin } } });
  const after = write("after.json", { groups: { a: { origin, ttlMs: 1 } }, logLevel: "warn", bucket: "x", zone: "z" });
  const check = (...more: string[]) => run(["config", "check", "--zone", "y", ...more]);
  const text = await check("--config", after, "--from", before);
  assert.equal(text.code, 0, text.err);
  assert.match(
    text.out,
    /\na running node takes: changed the group a \(ttlMs\); ended the group b; the log level is warn\n/,
  );
  assert.match(text.out, /\nonly a restart takes: --bucket\n$/, "a flag wins over the file");
  const { reload } = JSON.parse((await check("--config", after, "--from", before, "--json")).out);
  assert.deepEqual(reload, {
    added: [],
    changed: { a: ["ttlMs"] },
    ended: ["b"],
    logLevel: "warn",
    needRestart: ["--bucket"],
  });
  assert.match((await check("--config", after, "--from", after)).out, /\na running node takes: nothing\n$/);
  const groups = { a: { origin }, b: { origin, headers: { "x-key": { file: after } } } };
  const [all, one] = [write("all.json", { groups }), write("one.json", { groups, serve: "a" })];
  // The running node serves b until the restart, with its header.
  assert.match(
    (await check("--nats", "nats://127.0.0.1:9", "--config", one, "--from", all)).out,
    /\na running node takes: nothing\nonly a restart takes: --serve\n$/,
  );
  const bad = await check("--config", after, "--from", `${folder}/none.json`);
  assert.deepEqual([bad.code, bad.out], [2, ""]);
  assert.match(bad.err, /none\.json/);
});

test("Deno's least permissions let every variable of a command through", () => {
  const { env } = JSON.parse(readFileSync(`${root}/deno.json`, "utf8")).permissions.default;
  assert.deepEqual(commandVariables.toSorted(), ["MUSTER_ADMIN_TOKEN_FILE", "MUSTER_NODE", "MUSTER_SECRET_FILE"]);
  assert.deepEqual([...commandVariables, "NO_COLOR"].filter((name) => !env.includes(name)), []);
});

const has = (program: string) => spawnSync("/bin/sh", ["-c", 'command -v "$0"', program]).status === 0;

test("the completions name every command and option, and their shells take them", async () => {
  for (const shell of ["bash", "zsh", "fish"]) {
    const script = completions(shell)!;
    assert.equal((await run(["completions", shell])).out, script);
    for (const { words, options } of all) {
      assert.ok(script.includes(words.split(" ")[0]!), `${shell}: ${words}`);
      for (const { flag } of Object.values(options)) {
        assert.ok(new RegExp(`(--|-l )${flag}\\b`).test(script), `${shell}: ${flag}`);
      }
    }
    if (!has(shell)) continue;
    const { status, stderr } = spawnSync(shell, ["-n", "/dev/stdin"], { input: script, encoding: "utf8" });
    assert.deepEqual([status, stderr], [0, ""], shell);
  }
});

test("bash completes commands, options and the words of config", { programs: ["bash"] }, () => {
  const complete = (...words: string[]) => {
    const line = `${completions("bash")}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${
      words.length - 1
    }; _muster; echo "\${COMPREPLY[@]}"`;
    return spawnSync("bash", ["-c", line], { encoding: "utf8" }).stdout.trim().split(" ");
  };
  assert.deepEqual(complete("muster", "st"), ["status"]);
  assert.deepEqual(complete("muster", "purge", "--so"), ["--soft"]);
  assert.deepEqual(complete("muster", "config", ""), ["check"]);
  assert.deepEqual(complete("muster", "--nats-po"), ["--nats-port"]);
  assert.deepEqual(complete("muster", "config", "check", "--peer-n"), ["--peer-networks"]);
  assert.deepEqual(complete("muster", "get", "--nats-po"), [""]);
});
