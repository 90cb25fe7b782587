/**
 * What a node tells systemd, and the unit. systemd itself does not run here: its socket is one of the test's own.
 * Runs once: its subject is in processes of their own.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { options } from "../../lib/config/options.ts";
import { ServiceManager, serviceManager } from "../../lib/runtime/service-manager.ts";
import { ManualClock, settle } from "../support/clock.ts";
import { freePort } from "../support/free-port.ts";
import { MemoryLog } from "../support/log.ts";
import { startNats } from "../support/nats-server.ts";
import { listening, onBothRuntimes, root, type RuntimeKind, spawnNode, temporaryDirectory } from "../support/node.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";
import { faultsOfCommand, unknownVariables } from "./files.ts";

const needs = { programs: ["perl", "systemd-notify"], timeoutMs: 60_000 };
const unitPath = join(root, "lib/deploy/systemd/muster.service");

/** Prints each datagram as a line. The messages that only ask whether the others have come are left out. */
const RECEIVER = `use IO::Socket::UNIX; $| = 1;
my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die; print "listening\\n";
while (defined $s->recv(my $m, 4096)) { $m =~ s/\\n/ /g; print "$m\\n" unless $m =~ /^BARRIER/ }`;

/** A socket as systemd has it, and what came there. */
async function listener(defer: Defer): Promise<{ socket: string; heard: string[] }> {
  const socket = join(temporaryDirectory(defer), "notify");
  const child = spawn("perl", ["-e", RECEIVER, socket], { stdio: ["ignore", "pipe", "inherit"] });
  defer(() => process.kill(child.pid!, "SIGKILL"));
  let text = "";
  const heard: string[] = [];
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (text + chunk).split("\n");
    text = lines.pop()!;
    heard.push(...lines);
  });
  await until(() => heard.length > 0, 5_000, () => "perl never listened");
  heard.length = 0;
  return { socket, heard };
}

const count = (heard: readonly string[], what: string) => heard.filter((line) => line.split(" ").includes(what)).length;

for (const workers of [1, 2]) {
  test(`a service of ${workers} tells when it is ready, that it lives, and that it leaves`, needs, async (defer) => {
    await onBothRuntimes((kind) => lifeOf(defer, kind, workers));
  });
}

async function lifeOf(defer: Defer, kind: RuntimeKind, workers: number): Promise<void> {
  const [{ socket, heard }, port] = [await listener(defer), await freePort()];
  const args = ["--addr", "127.0.0.1:0", "--nats", `nats://127.0.0.1:${port}`, "--workers", `${workers}`];
  const env = { NOTIFY_SOCKET: socket, WATCHDOG_USEC: "400000" };
  const node = spawnNode(defer, kind, [...args, "--drain-timeout", "7s"], { env });
  const told = (what: string, times = 1) =>
    until(
      () => count(heard, what) >= times,
      20_000,
      () => `${what} ${times} times: ${heard}\n${node.lines.join("\n")}`,
    );
  if (workers === 1) {
    // Without NATS it lives, and has not joined.
    await listening(node);
    await told("WATCHDOG=1", 2);
    assert.equal((await fetch(`${node.url}/readyz`)).status, 503);
    assert.equal(count(heard, "READY=1"), 0);
  }
  await startNats(defer, { port });
  await told("READY=1");
  await told("WATCHDOG=1", count(heard, "WATCHDOG=1") + 2);
  if (workers === 1) assert.equal((await fetch(`${node.url}/readyz`)).status, 200);
  node.signal("SIGSTOP");
  const before = count(heard, "WATCHDOG=1");
  await new Promise((over) => setTimeout(over, 1_200));
  // One may have been on its way.
  assert.ok(count(heard, "WATCHDOG=1") <= before + 1, `it stands still, and says: ${heard}`);
  node.signal("SIGCONT");
  await told("WATCHDOG=1", before + 3);
  assert.equal((await node.end()).code, 0);
  await told("STOPPING=1");
  const stopping = heard.find((line) => line.includes("STOPPING=1"));
  assert.equal(stopping, "STOPPING=1 STATUS=leaving EXTEND_TIMEOUT_USEC=7000000");
  assert.equal(count(heard, "READY=1"), 1, "workers tell systemd nothing");
}

/** A folder with a systemd-notify like that of systemd 253 and later, which adds the machine's time to `--reloading`. */
function later(defer: Defer): string {
  const folder = temporaryDirectory(defer);
  const program = join(folder, "systemd-notify");
  const time =
    "perl -MTime::HiRes=clock_gettime,CLOCK_MONOTONIC -e 'printf qq(%d), 1e6 * clock_gettime(CLOCK_MONOTONIC)'";
  const script = `if [ "$1" = --reloading ]; then shift; set -- RELOADING=1 "MONOTONIC_USEC=$(${time})" "$@"; fi`;
  writeFileSync(program, `#!/bin/sh\n${script}\nPATH=${process.env.PATH} exec systemd-notify "$@"\n`);
  chmodSync(program, 0o755);
  return folder;
}

test("systemd hears of a reload's start and end, with its result", needs, async (defer) => {
  await onBothRuntimes(async (kind) => {
    const { socket, heard } = await listener(defer);
    const file = join(temporaryDirectory(defer), "muster.json");
    const put = (ttlMs: unknown) =>
      writeFileSync(file, JSON.stringify({ groups: { a: { origin: "wordnet:", ttlMs } } }));
    put(1_000);
    const args = ["--addr", "127.0.0.1:0", "--nats", "off", "--config", file];
    const env = { NOTIFY_SOCKET: socket, PATH: `${later(defer)}:${process.env.PATH}` };
    const node = spawnNode(defer, kind, args, { env });
    const account = () => `${heard}\n${node.lines.join("\n")}`;
    await until(() => heard.includes("READY=1 STATUS=serving"), 20_000, account);
    heard.length = 0;
    put("soon");
    node.signal("SIGUSR2");
    await until(() => heard.length === 2, 10_000, account);
    const [, usec] = /^RELOADING=1 MONOTONIC_USEC=(\d+) STATUS=reading the options again$/.exec(heard[0]!)!;
    assert.ok(Number(usec) > 0);
    assert.match(heard[1]!, /^READY=1 STATUS=serving by the former options: 1 fault in the options: .*ttlMs must/);
    heard.length = 0;
    put(2_000);
    node.signal("SIGUSR2");
    await until(() => heard.length === 2, 10_000, account);
    assert.equal(heard[1], "READY=1 STATUS=serving");
    assert.equal((await node.end()).code, 0);
  });
});

test(
  "an older systemd-notify reports a reload without the time, and never before the start or after the end",
  needs,
  async (defer) => {
    const { socket, heard } = await listener(defer);
    const folder = temporaryDirectory(defer);
    // As systemd 252 does.
    const script = '#!/bin/sh\nif [ "$1" = --reloading ]; then echo "unrecognized option" >&2; exit 1; fi';
    writeFileSync(join(folder, "systemd-notify"), `${script}\nPATH=${process.env.PATH} exec systemd-notify "$@"\n`);
    chmodSync(join(folder, "systemd-notify"), 0o755);
    const [clock, log] = [new ManualClock(), new MemoryLog()];
    const env = { NOTIFY_SOCKET: socket, PATH: `${folder}:${process.env.PATH}` };
    const manager = new ServiceManager(env, clock, log);
    manager.reloading();
    manager.ready();
    // Its start was not reported.
    manager.reloaded(undefined);
    manager.reloading();
    manager.reloaded(`a\nfault ${"x".repeat(500)}`);
    manager.reloading();
    manager.stopping(1_000);
    manager.reloaded(undefined);
    manager.reloading();
    await until(() => heard.some((line) => line.startsWith("STOPPING=1")), 20_000, () => `${heard}`);
    await until(() => clock.pending === 0, 5_000, () => "it still sends");
    await settle();
    assert.deepEqual(heard.map((line) => line.slice(0, 50)), [
      "READY=1 STATUS=serving",
      "RELOADING=1 STATUS=reading the options again",
      "READY=1 STATUS=serving by the former options: a fa",
      "RELOADING=1 STATUS=reading the options again",
      "STOPPING=1 STATUS=leaving EXTEND_TIMEOUT_USEC=1000",
    ]);
    assert.ok(heard[2]!.length < 250);
    assert.deepEqual(log.lines, []);
  },
);

test("a node that does not answer itself is not told to live", needs, async (defer) => {
  const { socket, heard } = await listener(defer);
  const [clock, log] = [new ManualClock(), new MemoryLog()];
  let lastDelayMs = 0;
  const after = clock.after.bind(clock);
  clock.after = (delayMs, action) => after(lastDelayMs = delayMs, action);
  const env = {
    NOTIFY_SOCKET: socket,
    WATCHDOG_USEC: "30000000",
    WATCHDOG_PID: `${process.pid}`,
    PATH: process.env.PATH,
  };
  let isAlive = true;
  const manager = new ServiceManager(env, clock, log);
  manager.watch(() => isAlive ? Promise.resolve(true) : Promise.reject(new Error("stuck")));
  await until(() => heard.length === 1, 5_000, () => `${heard}`);
  // The message comes before the end of its sender, which has a timer of its own.
  await until(() => lastDelayMs === 15_000 && clock.pending === 1, 5_000, () => "no timer");
  isAlive = false;
  await clock.advance(15_000);
  assert.match(log.lines.join("\n"), /does not answer itself/);
  assert.deepEqual(heard, ["WATCHDOG=1"]);
  isAlive = true;
  await clock.advance(15_000);
  await until(() => heard.length === 2, 5_000, () => `${heard}`);
});

test("without systemd nothing is told, and without systemd-notify it is said once", needs, async () => {
  const [clock, log] = [new ManualClock(), new MemoryLog()];
  assert.equal(serviceManager(() => ({}), clock, log), undefined);
  const manager = serviceManager(() => ({ NOTIFY_SOCKET: "/nowhere", PATH: "/nowhere" }), clock, log)!;
  manager.ready();
  manager.stopping(1_000);
  await until(() => log.lines.length > 0, 5_000, () => "nothing was said");
  await until(() => clock.pending === 0, 5_000, () => "it still sends");
  await settle();
  assert.equal(log.lines.length, 1);
  assert.match(log.lines[0]!, /cannot tell systemd how this service is: .*systemd-notify.*not found/);
  // A watchdog that is meant for another process.
  new ServiceManager({ WATCHDOG_USEC: "1", WATCHDOG_PID: "1" }, clock, log).watch(() => assert.fail("not ours"));
});

const inUnit = readFileSync(unitPath, "utf8");
const setting = (name: string) => [...inUnit.matchAll(new RegExp(`^${name}=(.*)$`, "gm"))].map(([, value]) => value!);

// 1.4 by systemd 252; another release may count otherwise.
const MOST_EXPOSURE = 1.5;

test("systemd takes the unit, and finds it hardened", { programs: ["systemd-analyze"] }, (defer) => {
  const folder = temporaryDirectory(defer);
  const program = join(folder, "muster");
  writeFileSync(program, "#!/bin/sh\n");
  chmodSync(program, 0o755);
  const path = join(folder, "muster.service");
  const verify = (text: string): string => {
    writeFileSync(path, text.replaceAll("/opt/muster/muster", program));
    const { status, stdout, stderr } = spawnSync("systemd-analyze", ["verify", "--man=no", path], { encoding: "utf8" });
    return status === 0 ? stderr : `exit code ${status}: ${stdout}${stderr}`;
  };
  assert.equal(verify(inUnit), "");
  assert.match(verify(inUnit.replace("WatchdogSec=30s", "WatchdogSec=often")), /Failed to parse sec value/);
  const [, dropIn] = /```ini systemd 253\n(.*?)^```$/ms.exec(
    readFileSync(join(root, "lib/deploy/systemd/README.md"), "utf8"),
  )!;
  const release = spawnSync("systemd-analyze", ["--version"], { encoding: "utf8" }).stdout;
  const isLater = Number(/^systemd (\d+)/.exec(release)![1]) >= 253;
  const told = verify(`${inUnit}\n${dropIn}`);
  if (isLater) assert.equal(told, "");
  else assert.match(told, /Failed to parse service type, ignoring: notify-reload/, "why the unit leaves it out");
  verify(inUnit);
  const { stdout } = spawnSync("systemd-analyze", ["security", "--offline=true", "--no-pager", path], {
    encoding: "utf8",
  });
  const exposure = /Overall exposure level for muster\.service: ([\d.]+)/.exec(stdout)![1];
  assert.ok(Number(exposure) <= MOST_EXPOSURE, stdout);
});

test("the unit starts what there is, and stops it as a node wants to be stopped", () => {
  assert.deepEqual(setting("ExecStart"), ["/opt/muster/muster serve"]);
  const [, ...command] = setting("ExecStart")[0]!.split(" ");
  assert.deepEqual(faultsOfCommand(command), []);
  assert.deepEqual(unknownVariables(setting("Environment").map((pair) => pair.split("=")[0]!)), []);
  const written = readFileSync(join(root, "lib/deploy/systemd/README.md"), "utf8");
  const named = [...written.matchAll(/(?:MUSTER|NATS)_[A-Z_]+/g)].map(([name]) => name);
  assert.ok(named.length > 3);
  assert.deepEqual(unknownVariables(named), []);
  assert.ok(Number.parseInt(setting("TimeoutStopSec")[0]!) > Number.parseInt(options.drainTimeout.fallback));
  // As Ctrl+C does not reach workers and the bundled server, the unit's signal must not.
  assert.deepEqual([setting("KillMode"), setting("KillSignal")], [["mixed"], ["SIGTERM"]]);
  assert.deepEqual(setting("RestartPreventExitStatus"), ["2"]);
  // Both runtimes take this one for nothing else.
  assert.deepEqual(setting("ExecReload"), ["/bin/kill -USR2 $MAINPID"]);
});
