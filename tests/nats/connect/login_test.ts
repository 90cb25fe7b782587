/**
 * Logins that NATS refuses: real servers and real processes, on both runtimes.
 * Runs once: its subject is in processes of their own.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { startNats, temporaryFolder } from "../../support/nats-server.ts";
import { root, runCommand } from "../../support/node.ts";
import { type Defer, test } from "../../support/test.ts";
import { until } from "../../support/until.ts";

const fixture = fileURLToPath(new URL("../../fixtures/nats-login.ts", import.meta.url));
const runtimes = ["bun", "deno"] as const;

/** A server with a password, which may be changed while it runs. */
async function guardedNats(defer: Defer, password: string) {
  const file = `${await temporaryFolder(defer)}/nats.conf`;
  const write = (allowed: string) => writeFile(file, `authorization { user: m, password: "${allowed}" }\n`);
  await write(password);
  const nats = await startNats(defer, { extraArgs: ["-c", file] });
  return {
    port: nats.port,
    async setPassword(allowed: string): Promise<void> {
      await write(allowed);
      nats.signal("SIGHUP");
    },
  };
}

/** A process of the fixture; `count` is how often it has printed an event so far. */
function startLogin(defer: Defer, runtime: typeof runtimes[number], args: readonly string[]) {
  const [program, ...words] = [...runCommand(runtime), fixture];
  const child = spawn(program!, [...words, ...args], { cwd: root });
  let out = "";
  let errors = "";
  let code: number | null | undefined;
  child.stdout.on("data", (chunk) => out += chunk);
  child.stderr.on("data", (chunk) => errors += chunk);
  const exited = new Promise<void>((over) =>
    child.once("exit", (exitCode) => {
      code = exitCode;
      over();
    })
  );
  defer(async () => {
    if (code === undefined) globalThis.process.kill(child.pid!, "SIGKILL");
    await exited;
  });
  const count = (event: string): number => out.split(`{"event":"${event}"}`).length - 1;
  const account = (): string => `${runtime}: ${out}${errors}${code === undefined ? "" : `exit code ${code}`}`;
  return {
    count,
    /** @throws Error it has ended, or has not said it so often in time */
    async said(event: string, times: number): Promise<void> {
      await until(() => count(event) >= times || code !== undefined, 20_000, account);
      assert.ok(count(event) >= times && code === undefined, account());
    },
    async exitCode(): Promise<number | null | undefined> {
      await until(() => code !== undefined, 20_000, account);
      return code;
    },
  };
}

for (const runtime of runtimes) {
  test(`${runtime}: a login that is refused, at the start or later, is tried again and again until it is taken`, {
    timeoutMs: 90_000,
  }, async (defer) => {
    const nats = await guardedNats(defer, "other");
    const login = startLogin(defer, runtime, [`nats://m:pw@127.0.0.1:${nats.port}`]);
    // Deno read the reset too early about every second time.
    await login.said("failed", 20);
    await nats.setPassword("pw");
    await login.said("back", 1);
    await nats.setPassword("other");
    await login.said("failed", login.count("failed") + 20);
    await nats.setPassword("pw");
    await login.said("back", 2);
  });
}

for (const failure of ["throws", "rejects", "refused"]) {
  test(`an uncaught error of another kind still ends the process: ${failure}`, async (defer) => {
    const nats = await guardedNats(defer, "pw");
    for (const runtime of runtimes) {
      const login = startLogin(defer, runtime, [`nats://m:pw@127.0.0.1:${nats.port}`, failure]);
      assert.equal(await login.exitCode(), 1, runtime);
      assert.equal(login.count("back"), 1, runtime);
    }
  });
}
