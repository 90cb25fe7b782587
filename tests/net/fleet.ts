/** NATS servers and nodes on hosts of a network. */
import { writeFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { connect } from "nats";
import { areEqual, type RosterView, runtimeOf } from "../chaos/fleet.ts";
import { pause } from "../chaos/load.ts";
import { natsServerBinary } from "../support/nats-server.ts";
import { commandOf, NodeProcess, temporaryDirectory } from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import { until } from "../support/until.ts";
import type { Host } from "./hosts.ts";

export const GROUP = "net";
const NODE_PORT = 8000;
const NATS_PORT = 4222;
const ROUTE_PORT = 6222;
/** On a busy machine a start of several nodes at once takes long. */
const STARTED_WITHIN_MS = 30_000;
const BUDGET_BYTES = 256 * 1024 * 1024;

/** A nats-server on a host. */
export class NatsOn {
  readonly host: Host;
  readonly #defer: Defer;
  readonly #args: readonly string[];
  #process: NodeProcess<string> | undefined;

  /** @param isJetStream whether it has JetStream with its own store; if not, `args` decide */
  constructor(
    host: Host,
    defer: Defer,
    args: readonly string[] = [],
    { isJetStream } = { isJetStream: true },
  ) {
    this.host = host;
    this.#defer = defer;
    this.#args = isJetStream ? ["-js", "-sd", temporaryDirectory(defer), ...args] : args;
  }

  /** For the nodes. */
  get url(): string {
    return `nats://${this.host.address}:${NATS_PORT}`;
  }

  /** For this program, which can reach it during every fault among the servers. */
  get clientUrl(): string {
    return `nats://${this.host.clientAddress}:${NATS_PORT}`;
  }

  /** Resolves when it greets. */
  async start(): Promise<void> {
    const command = [
      natsServerBinary(),
      "-a",
      "0.0.0.0",
      "-p",
      String(NATS_PORT),
    ];
    const child = this.host.spawn([...command, ...this.#args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const server = new NodeProcess("nats-server", child);
    this.#process = server;
    this.#defer(() => server.end("SIGKILL"));
    await until(
      () => greets(this.host.clientAddress, NATS_PORT),
      15_000,
      () => server.lines.join("\n"),
    );
  }

  async kill(): Promise<void> {
    await this.#process?.end("SIGKILL");
  }
}

function greets(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, host);
    const answer = (isNats: boolean): void => {
      socket.destroy();
      resolve(isNats);
    };
    socket.setTimeout(500, () => answer(false));
    socket.once("error", () => answer(false));
    socket.once("data", (data) => answer(String(data).startsWith("INFO ")));
  });
}

/** Starts a cluster, one server on each host; resolves when it takes a replicated stream. */
export async function startNatsCluster(
  hosts: readonly Host[],
  defer: Defer,
): Promise<NatsOn[]> {
  const routes = hosts.map(({ address }) => `nats://${address}:${ROUTE_PORT}`)
    .join(",");
  const servers = hosts.map((host) => {
    const cluster = [
      "--cluster_name",
      "net",
      "--cluster",
      `nats://0.0.0.0:${ROUTE_PORT}`,
      "--routes",
      routes,
    ];
    return new NatsOn(host, defer, ["-n", host.name, ...cluster]);
  });
  await Promise.all(servers.map((server) => server.start()));
  await until(
    () => takesReplicas(servers),
    30_000,
    () => "the NATS cluster has not settled",
  );
  return servers;
}

async function takesReplicas(servers: readonly NatsOn[]): Promise<boolean> {
  for (const server of servers) {
    try {
      const nc = await connect({
        servers: server.clientUrl,
        reconnect: false,
        timeout: 1_000,
      });
      try {
        const manager = await nc.jetstreamManager({ timeout: 1_000 });
        await manager.streams.add({
          name: "settled",
          subjects: ["settled"],
          num_replicas: servers.length,
        });
        await manager.streams.delete("settled");
      } finally {
        await nc.close();
      }
    } catch {
      return false;
    }
  }
  return true;
}

export interface StartOptions {
  /** For `--nats`. */
  readonly nats: string;
  /** The group's origin. */
  readonly origin: string;
  /** More fields of the group in the JSON file. */
  readonly policy?: Readonly<Record<string, unknown>>;
  /** How the peers reach it. @default its host's IPv4 address among the servers */
  readonly advertise?: string;
  /** @default 0.0.0.0:8000 */
  readonly addr?: string;
  /** @default the host's name */
  readonly name?: string;
  readonly options?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** The nodes of a run, by the names of their hosts. */
export class Fleet {
  readonly members = new Map<string, NodeProcess<string>>();
  readonly #hosts = new Map<string, Host>();
  readonly #defer: Defer;
  readonly #folder: string;

  constructor(defer: Defer) {
    this.#defer = defer;
    this.#folder = temporaryDirectory(defer);
  }

  /** Starts a node on a host, on Bun and Deno in turn. Resolves when it listens. */
  async start(host: Host, options: StartOptions): Promise<NodeProcess<string>> {
    const name = options.name ?? host.name;
    const file = join(this.#folder, `${name}.json`);
    const group = {
      origin: options.origin,
      headers: { "x-node": name },
      budgetBytes: BUDGET_BYTES,
      ...options.policy,
    };
    writeFileSync(file, JSON.stringify({ groups: { [GROUP]: group } }));
    const kind = runtimeOf(host.name);
    const child = host.spawn([
      ...commandOf(kind),
      ...["--addr", options.addr ?? `0.0.0.0:${NODE_PORT}`],
      ...[
        "--advertise",
        options.advertise ?? `http://${host.address}:${NODE_PORT}`,
      ],
      ...[
        "--name",
        name,
        "--nats",
        options.nats,
        "--config",
        file,
        "--public-stats",
      ],
      ...(options.options ?? []),
    ], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...options.env },
    });
    const node = new NodeProcess<string>(kind, child);
    this.#defer(() => node.end("SIGKILL"));
    await node.line("listening on http://", STARTED_WITHIN_MS);
    node.url = `http://${host.clientAddress}:${NODE_PORT}`;
    this.members.set(name, node);
    this.#hosts.set(name, host);
    return node;
  }

  forget(name: string): void {
    this.members.delete(name);
  }

  /** The node's list; `undefined`: it does not tell it. */
  async roster(name: string): Promise<RosterView | undefined> {
    try {
      const response = await fetch(`${this.members.get(name)!.url}/stats`, {
        signal: AbortSignal.timeout(1_000),
      });
      return (await response.json()).groups[GROUP].roster;
    } catch {
      return undefined;
    }
  }

  /** Resolves to the time until all these nodes list exactly them; Infinity when it times out. */
  async agree(
    timeoutMs: number,
    names: readonly string[] = [...this.members.keys()],
  ): Promise<number> {
    const sinceMs = performance.now();
    while (performance.now() - sinceMs < timeoutMs) {
      const views = await Promise.all(names.map((name) => this.roster(name)));
      if (areEqual(views, names)) return performance.now() - sinceMs;
      await pause(50);
    }
    return Infinity;
  }

  /** Resolves to the time until the condition holds for what each of these nodes lists, or Infinity. */
  async show(
    names: readonly string[],
    timeoutMs: number,
    condition: (names: string[]) => boolean,
  ): Promise<number> {
    const sinceMs = performance.now();
    while (performance.now() - sinceMs < timeoutMs) {
      const views = await Promise.all(names.map((name) => this.roster(name)));
      if (
        views.every((view) => view !== undefined && condition(view.peers.map((peer) => peer.name)))
      ) {
        return performance.now() - sinceMs;
      }
      await pause(50);
    }
    return Infinity;
  }
}
