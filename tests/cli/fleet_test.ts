/** Commands on real fleets, as operators type them, on both runtimes. Runs once: it starts processes. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import process from "node:process";
import { promisify } from "node:util";
import { freePort } from "../support/free-port.ts";
import { startNats, temporaryFolder } from "../support/nats-server.ts";
import { assembled, bothRuntimes, commandOf, type RuntimeKind, startNode } from "../support/node.ts";
import { startOrigin } from "../support/origin.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";
import { startMachine, whole } from "../workers/support.ts";
import { type Ran, run } from "./support.ts";

/** Types a command, on Deno with its least permissions. */
async function typed(kind: RuntimeKind, ...args: string[]): Promise<Ran> {
  const [program, ...rest] = commandOf(kind);
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(MUSTER_|NATS_)/.test(name)));
  const child = spawn(program!, [...rest, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  let [out, err] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text) => out += text);
  child.stderr.setEncoding("utf8").on("data", (text) => err += text);
  const code = await new Promise<number>((done) => child.on("close", (status) => done(status ?? -1)));
  return { code, out, err };
}

/** A node on each runtime, which take nobody for dead. */
async function twoNodes(defer: Defer, ...more: string[]) {
  const nats = await startNats(defer);
  const origin = await startOrigin(defer);
  const args = ["--nats", nats.url, "--group", `g=${origin.template}`, "--poll-misses", "1000", ...more];
  const nodes = await Promise.all(bothRuntimes.map((kind) => startNode(defer, kind, args)));
  await assembled(nodes, "g");
  const [first, second] = nodes as [typeof nodes[0], typeof nodes[0]];
  const connected = async () => (await run(["status", "--node", first.url])).code === 0;
  await until(connected, 10_000, () => first.account("that all is well"));
  return { nats, origin, first, second, group: args.slice(2, 4) };
}

type Fleet = Awaited<ReturnType<typeof twoNodes>>;

test(
  "every command on a fleet: well, then with a node killed, then with NATS away",
  { timeoutMs: 180_000, programs: ["nats"] },
  async (defer) => {
    const fleet = await twoNodes(defer);
    await onBoth(fleet);
    await oneByOne(fleet);
    await broken(fleet);
  },
);

/** What operators type most, with each runtime as it is started by them. */
async function onBoth({ nats, first, second, group }: Fleet): Promise<void> {
  const names = [first, second].map(({ url }) => url.slice(7).replace(/[.:]/g, "-")).sort();
  await Promise.all(bothRuntimes.map(async (kind) => {
    const at = ["--node", first.url];
    const key = `k ${kind}/1`;
    const health = await typed(kind, "health", "--ready", ...at);
    assert.deepEqual([health.code, health.out], [0, `${first.url.slice(7).replace(/[.:]/g, "-")} is ready\n`]);
    const status = await typed(kind, "status", ...at, "--json");
    assert.equal(status.code, 0, status.err);
    const { ok, problems, nodes } = JSON.parse(status.out);
    assert.deepEqual([ok, problems], [true, []]);
    assert.deepEqual(nodes.map(({ name }: { name: string }) => name), names);
    for (const node of nodes) assert.deepEqual([node.answers, node.ready, node.figures.openLinks], [true, true, 1]);
    const got = await typed(kind, "get", "g", key, ...at);
    assert.deepEqual([got.code, got.out], [0, key]);
    assert.match(got.err, /cache-status: .*fwd=miss/);
    const json = JSON.parse((await run(["get", "g", key, ...at, "--json"])).out);
    assert.deepEqual([json.status, json.text, json.key], [200, key, key]);
    const explained = JSON.parse((await typed(kind, "explain", "g", key, ...at, "--json")).out);
    assert.deepEqual(explained.nodes.map(({ rank }: { rank: number }) => rank), [1, 2]);
    const [owner] = explained.nodes;
    assert.deepEqual([owner.explanation.isOwner, owner.explanation.held[0].cache], [true, "main"]);
    const purged = await typed(kind, "purge", "g", key, "--wait", "--json", ...at);
    assert.equal(purged.code, 0, purged.err);
    assert.deepEqual(JSON.parse(purged.out).applied.sort(), names);
    assert.match(
      (await run(["explain", "g", key, ...at])).out,
      /^a get at \S+ is a miss: .* nothing under the key/,
    );
    const lists = await typed(kind, "peers", "--nats", nats.url, "--json");
    assert.deepEqual(JSON.parse(lists.out).peers.map(({ name }: { name: string }) => name), names, lists.err);
    const doctor = await typed(kind, "doctor", "--nats", nats.url, "--addr", first.url.slice(7), ...group, "--json");
    const findings = JSON.parse(doctor.out).findings as { check: string; level: string; detail: string }[];
    assert.deepEqual(findings.filter(({ level }) => level !== "ok"), [], doctor.out);
    for (const check of ["nats", "jetstream", "clock", "right to write peers", "right to write invalidations"]) {
      assert.ok(findings.some((finding) => finding.check === check), check);
    }
    assert.equal(doctor.code, 0);
  }));
}

/** Purge by tag, prefix and all, soft; groups, top, simulate. */
async function oneByOne({ first, second, origin }: Fleet): Promise<void> {
  const at = ["--node", first.url];
  const keys = Array.from({ length: 16 }, (_, i) => `p-${i}`);
  for (const key of keys) assert.equal((await run(["get", "g", key, ...at])).out, key);
  const holds = async (key: string) => JSON.parse((await run(["explain", "g", key, ...at, "--json"])).out).get.result;
  assert.equal(await holds("p-1"), "hit");
  assert.equal((await run(["purge", "g", "--prefix", "p-1", "--wait", ...at])).code, 0);
  assert.deepEqual([await holds("p-1"), await holds("p-2")], ["miss", "hit"]);
  assert.equal((await run(["purge", "g", "--tag", "red", "--soft", ...at])).code, 0);
  assert.equal(await holds("p-2"), "hit");
  const foretold = JSON.parse(
    (await run(["simulate", "--remove", second.url.slice(7).replace(/[.:]/g, "-"), "--json", ...at])).out,
  );
  const { keys: held, movedKeys } = foretold.groups.g;
  const explained = await Promise.all(
    keys.map(async (key) => JSON.parse((await run(["explain", "g", key, ...at, "--json"])).out)),
  );
  const main = explained.flatMap(({ nodes }) =>
    nodes.filter(({ explanation }: { explanation: { isOwner: boolean; held: object[] } }) =>
      explanation.isOwner && explanation.held.length > 0
    )
  );
  assert.deepEqual([held, movedKeys], [main.length, main.filter(({ url }) => url === second.url).length]);
  const nobody = await run(["simulate", "--remove", "nobody", ...at]);
  const known = [first, second].map(({ url }) => url.slice(7).replace(/[.:]/g, "-")).sort().join(", ");
  assert.deepEqual([nobody.code, nobody.out], [2, ""]);
  assert.ok(nobody.err.includes(`--remove must name a node of the fleet: there is no nobody, there are ${known}`));
  const { groups } = JSON.parse((await run(["groups", "--json", ...at])).out);
  assert.deepEqual([groups[0].name, groups[0].peers, groups[0].gets >= keys.length], ["g", 2, true]);
  const top = await run(["top", "--count", "2", "--interval", "0.1", "--json", ...at]);
  const looks = top.out.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual([looks.length, looks[0].nodes.length, looks[0].nodes[0].gets], [2, 2, 0]);
  const stopping = new AbortController();
  const watched = run(["top", "--interval", "3600", ...at], { stopped: stopping.signal });
  stopping.abort();
  assert.equal((await watched).code, 0);
  assert.equal((await run(["purge", "g", "--all", "--wait", ...at])).code, 0);
  assert.equal(await holds("p-2"), "miss");
  assert.ok(origin.loads.length >= keys.length);
  const unknown = await run(["explain", "nope", "k", ...at]);
  assert.deepEqual([unknown.code, unknown.out], [1, ""]);
  assert.match(unknown.err, /answers 404: this node serves no group called nope/);
}

/** A killed node and NATS away are told as broken, with what to do. */
async function broken({ nats, first, second, group }: Fleet): Promise<void> {
  await second.end("SIGKILL");
  const at = ["--node", first.url];
  const doctorArgs = ["doctor", "--json", "--nats", nats.url, "--addr", first.url.slice(7), ...group];
  for (const kind of bothRuntimes) {
    const status = await typed(kind, "status", ...at);
    assert.equal(status.code, 1, status.out);
    assert.match(status.out, /no answer/);
    assert.match(status.out, /wrong {2}\S+: http:\S+ does not answer: nothing listens there\n {7}start it again/);
  }
  const faultsOf = ({ out }: Ran) =>
    (JSON.parse(out).findings as { level: string; check: string; detail: string; todo?: string }[]).filter((
      { level },
    ) => level === "fault");
  const putRecord = ["-s", nats.url, "kv", "put", "peers", "g.no-peer", "no record"];
  await promisify(execFile)("nats", putRecord);
  const isSeen = async () => (await run(["status", ...at])).out.includes("the record g.no-peer in the list");
  await until(isSeen, 10_000, () => first.account("that it ignores the record"));
  const doctor = await run(doctorArgs);
  assert.equal(doctor.code, 1);
  const about = (what: string) => faultsOf(doctor).filter(({ detail, check }) => `${check} ${detail}`.includes(what));
  assert.deepEqual(about("g.no-peer").map(({ check }) => check), ["record g.no-peer"], doctor.out);
  assert.equal(about("nothing listens there").length, 1, doctor.out);
  const peer = faultsOf(doctor).find(({ check }) => check.startsWith("peer "))!;
  assert.match(peer.detail, /does not answer: nothing listens there/);
  assert.match(peer.todo!, /check that it runs/);

  await nats.stop("SIGKILL");
  const away = async () => /out of touch with NATS for .*\n {7}run doctor/.test((await run(["status", ...at])).out);
  await until(away, 10_000, () => first.account("that NATS is away"));
  assert.equal((await run(["status", ...at])).code, 1);
  const without = await run(doctorArgs);
  assert.equal(without.code, 1);
  const [fault] = faultsOf(without);
  assert.match(fault!.detail, /no NATS server answers at/);
  assert.match(fault!.todo!, /check that the server runs/);
  assert.equal((await run(["purge", "g", "k", ...at])).code, 1);
  const lists = await run(["peers", "--nats", nats.url, "--json"]);
  assert.deepEqual([lists.code, JSON.parse(lists.out).ok], [1, false]);
}

test("no node, another program, and a bucket that nobody made are told, and doctor makes none", async (defer) => {
  const nats = await startNats(defer);
  const nobody = `http://127.0.0.1:${await freePort()}`;
  for (
    const command of [
      ["status"],
      ["health"],
      ["health", "--ready"],
      ["groups"],
      ["top"],
      ["get", "g", "k"],
      ["explain", "g", "k"],
      ["purge", "g", "k"],
      [
        "simulate",
        "--add",
        "1",
      ],
    ]
  ) {
    const { code, out, err } = await run([...command, "--node", nobody]);
    assert.deepEqual([code, out], [1, ""], command.join(" "));
    assert.match(err, /does not answer: nothing listens there/, command.join(" "));
  }
  const { code, out } = await run(["doctor", "--nats", nats.url, "--json", "--addr", `127.0.0.1:${nats.port}`]);
  assert.equal(code, 1);
  const { findings } = JSON.parse(out);
  assert.match(findings.find(({ check }: { check: string }) => check === "bucket").detail, /there is no bucket peers/);
  assert.match(findings.find(({ level }: { level: string }) => level === "fault").todo, /another program, stop it/);
  assert.equal((await run(["peers", "--nats", nats.url])).code, 1);
  assert.match((await run(["peers", "--nats", nats.url])).err, /NATS has no bucket peers/);
  const off = await run(["peers", "--nats", "off"]);
  assert.deepEqual([off.code, off.err], [1, "there is no NATS to look at: --nats is off\n"]);
});

test(
  "with a token the fleet answers only to who has it, and the token is never shown",
  { timeoutMs: 60_000 },
  async (defer) => {
    const file = `${await temporaryFolder(defer)}/token`;
    const token = "a-token-that-nobody-guesses";
    writeFileSync(file, token);
    chmodSync(file, 0o644);
    const nats = await startNats(defer);
    const nodes = await Promise.all(
      bothRuntimes.map((kind) => startNode(defer, kind, ["--nats", nats.url, "--admin-token-file", file])),
    );
    await assembledWith(nodes, file);
    const [first] = nodes;
    const at = ["--node", first!.url];
    for (const command of [["status"], ["groups"], ["explain", "dict", "k"], ["purge", "dict", "k"]]) {
      const refused = await run([...command, ...at]);
      assert.equal(refused.code, 1);
      assert.match(refused.err, /wants the token of its operators: give --admin-token-file/);
      const env = { MUSTER_ADMIN_TOKEN_FILE: file };
      const taken = await run([...command, ...at], { env });
      assert.equal(taken.code, 0, taken.err);
      assert.ok(!`${taken.out}${taken.err}`.includes(token));
    }
    const doctor = await run(["doctor", "--nats", nats.url, "--addr", first!.url.slice(7), "--admin-token-file", file]);
    assert.equal(doctor.code, 0, doctor.out);
    assert.match(doctor.out, new RegExp(`warning {2}file ${file}: every user .*\n {9}chmod o-r ${file}`));
    assert.ok(!doctor.out.includes(token));
  },
);

async function assembledWith(
  nodes: { readonly url: string; account(wanted: string): string }[],
  file: string,
): Promise<void> {
  const isWell = async ({ url }: { url: string }) => {
    const { code, out } = await run(["status", "--json", "--node", url, "--admin-token-file", file]);
    return code === 0 && JSON.parse(out).nodes.length === nodes.length;
  };
  await until(
    async () => (await Promise.all(nodes.map(isWell))).every(Boolean),
    15_000,
    () => nodes[0]!.account("well"),
  );
}

test("peers --watch tells what changes, also over an outage of NATS", { timeoutMs: 60_000 }, async (defer) => {
  const nats = await startNats(defer);
  const args = ["--nats", nats.url, "--nats-port", String(nats.port)];
  const first = await startNode(defer, "bun", args.slice(0, 2));
  await first.line("added myself to the peer list of dict");
  const lines: string[] = [];
  const stopping = new AbortController();
  const watching = run(["peers", "--watch", "--json", "--nats", nats.url], {
    stopped: stopping.signal,
    onOut: (text) => lines.push(...text.trim().split("\n")),
  });
  const seen = (isListed: boolean, url?: string) =>
    until(
      () =>
        lines.map((line) => JSON.parse(line)).some((one) =>
          one.isListed === isListed && (url === undefined || one.url === url)
        ),
      15_000,
      () => lines.join("\n"),
    );
  await seen(true, first.url);
  const second = await startNode(defer, "deno", args.slice(0, 2));
  await seen(true, second.url);
  await second.end();
  await seen(false);
  lines.length = 0;
  await nats.restart();
  await seen(true, first.url);
  stopping.abort();
  const { code, err } = await watching;
  assert.equal(code, 0);
  assert.match(err, /^NATS is away: /);
});

test(
  "a machine's workers are rows of their own, and each counts what it owns",
  { timeoutMs: 60_000 },
  async (defer) => {
    const origin = await startOrigin(defer);
    const machine = await startMachine(defer, "bun", ["--nats", "off", "--group", `dict=${origin.template}`]);
    await whole(machine);
    const at = ["--node", machine.url];
    const isWell = async () => (await run(["status", ...at])).code === 0;
    await until(isWell, 10_000, () => machine.account("that all is well"));
    const { nodes } = JSON.parse((await run(["status", "--json", ...at])).out);
    assert.deepEqual(nodes.map(({ figures }: { figures: { openLinks: number } }) => figures.openLinks), [1, 1]);
    const keys = Array.from({ length: 30 }, (_, i) => `k-${i}`);
    for (const key of keys) assert.equal((await run(["get", "dict", key, ...at])).code, 0);
    const foretold = await run(["simulate", "--remove", nodes[0].name, "--json", ...at]);
    const { isWhole, groups: { dict } } = JSON.parse(foretold.out);
    const isSome = dict.movedKeys > 0 && dict.movedKeys < keys.length;
    assert.deepEqual([isWhole, dict.keys, isSome], [true, keys.length, true], foretold.err);
  },
);

test("nodes with an address for peers alone, and nodes that serve no group, show their figures too", {
  timeoutMs: 60_000,
}, async (defer) => {
  const nats = await startNats(defer);
  const { template } = await startOrigin(defer);
  const args = ["--nats", nats.url, "--group", `g=${template}`, "--log", "text"];
  const [first, second, third] = await Promise.all([
    startNode(defer, "bun", [...args, "--peer-addr", "127.0.0.1:0", "--name", "first"]),
    startNode(defer, "deno", [...args, "--peer-addr", "127.0.0.1:0", "--name", "second"]),
    startNode(defer, "bun", [...args, "--serve", "none:", "--name", "third"]),
  ]);
  const status = async () => JSON.parse((await run(["status", "--node", first!.url, "--json"])).out);
  const isWhole = async () => {
    const { ok, nodes = [] } = await status();
    return ok && nodes.length === 3;
  };
  await until(isWhole, 15_000, () => [first, second, third].map((node) => node!.lines.join("\n")).join("\n"));
  for (let i = 0; i < 30; i++) await (await fetch(`${second!.url}/cache/g/k${i}`)).text();
  const { nodes } = await status();
  assert.deepEqual(nodes.map(({ name, withheld }: { name: string; withheld: unknown }) => [name, withheld]), [
    ["first", null],
    ["second", null],
    ["third", null],
  ]);
  assert.ok(nodes.every(({ figures }: { figures: object | null }) => figures !== null));
  assert.ok(nodes[1].figures.gets >= 30);
  const rates = JSON.parse(
    (await run(["top", "--count", "1", "--interval", "0.1", "--json", "--node", first!.url])).out,
  );
  assert.deepEqual(rates.nodes.map(({ node, fault }: { node: string; fault?: string }) => [node, fault]), [
    ["first", undefined],
    ["second", undefined],
    ["third", undefined],
  ]);
  const ask = (name: string) => fetch(`${first!.url}/stats?node=${name}`);
  let told: { name?: string; findings?: unknown[] } = {};
  // A busy machine keeps a node from its answers to probes for a moment.
  const isWell = async () => (told = await (await ask("third")).json()).findings?.length === 0;
  await until(isWell, 10_000, () => JSON.stringify(told));
  assert.equal(told.name, "third");
  assert.equal((await (await ask("first")).json()).name, "first");
  const unknown = await ask("nobody");
  assert.deepEqual([unknown.status, (await unknown.json()).detail], [404, "this node knows no peer of that name"]);
});
