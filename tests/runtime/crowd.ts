/**
 * Clients that mean harm, against one node: connections that ask for nothing, heads that never end, answers that nobody
 * reads. Run by hand, it plays them in full numbers on both runtimes and prints a table:
 *
 * bun run tests/runtime/crowd.ts [bun|deno]
 */
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { bothRuntimes, commandOf, listening, NodeProcess, root, type RuntimeKind } from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import { until } from "../support/until.ts";

/** What a connection of the crowd does before it rests. */
export type Rest = "unused" | "used" | "half a head";

const HEADS: Record<Rest, string> = {
  "unused": "",
  "used": "GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n",
  "half a head": `GET /healthz HTTP/1.1\r\nHost: node\r\nX: ${"x".repeat(1_000)}`,
};

/** Connections to a node; those that the node has closed count in `closed`. */
export class Crowd {
  readonly sockets: Socket[] = [];
  closed = 0;
  readonly #port: number;

  constructor(node: NodeProcess, defer: Defer) {
    this.#port = Number(new URL(node.url).port);
    defer(() => this.sockets.forEach((socket) => socket.destroy()));
  }

  /** Resolves when all are open, or refused. */
  async open(count: number, rest: Rest): Promise<void> {
    const opened = Array.from({ length: count }, () =>
      new Promise<void>((done) => {
        const socket = connect(this.#port, "127.0.0.1", () => socket.write(HEADS[rest]));
        // A used one is open when it has its answer; the others give none.
        socket.once(rest === "used" ? "data" : "connect", () => done());
        socket.on("error", () => {});
        socket.on("close", () => {
          this.closed++;
          done();
        });
        this.sockets.push(socket);
      }));
    await Promise.race([Promise.all(opened), new Promise((late) => setTimeout(late, 3_000))]);
  }

  /** Asks for values and takes only what the buffers of the system hold. */
  async readNothing(paths: readonly string[]): Promise<Socket[]> {
    return await Promise.all(paths.map((path) =>
      new Promise<Socket>((done, fail) => {
        const socket = connect({ port: this.#port, host: "127.0.0.1" }, () => {
          socket.pause();
          socket.write(`GET ${path} HTTP/1.1\r\nHost: node\r\n\r\n`);
          this.sockets.push(socket);
          done(socket);
        });
        socket.on("error", fail);
      })
    ));
  }
}

/** A node on a free port that may have only so many files open. */
export async function startLimited(
  defer: Defer,
  kind: RuntimeKind,
  maxFiles: number,
  args: readonly string[] = [],
): Promise<NodeProcess> {
  const command = [...commandOf(kind), "--addr", "127.0.0.1:0", "--nats", "off", ...args];
  const script = ["-c", `ulimit -n ${maxFiles}; exec "$@"`, "sh", ...command];
  const node = new NodeProcess(kind, spawn("/bin/sh", script, { cwd: root, stdio: ["ignore", "pipe", "pipe"] }));
  defer(() => node.end("SIGKILL"));
  await listening(node);
  return node;
}

/** An origin whose values are so many times `x`. */
export async function startLongOrigin(defer: Defer, bytes: number): Promise<string> {
  const value = Buffer.alloc(bytes, "x");
  const server = createServer((_, response) => response.end(value));
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  defer(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/{key}`;
}

/** How long a new client waits for its answer, in ms; `undefined`: it has none in time. It comes again when refused. */
export async function waitMs(node: NodeProcess, maxMs: number): Promise<number | undefined> {
  const since = performance.now();
  while (performance.now() - since < maxMs) {
    try {
      const left = Math.max(1, maxMs - (performance.now() - since));
      const headers = { connection: "close" };
      const answer = await fetch(`${node.url}/healthz`, { headers, signal: AbortSignal.timeout(left) });
      if (answer.status === 200) return Math.round(performance.now() - since);
    } catch {
      await new Promise((soon) => setTimeout(soon, 20));
    }
  }
  return undefined;
}

/** The memory that a process has now, in MiB. */
export function residentMiB({ child }: NodeProcess): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))!;
  return Math.round(Number(kib) / 1_024);
}

async function trial(kind: RuntimeKind): Promise<void> {
  const undos: (() => unknown)[] = [];
  const defer: Defer = (undo) => undos.push(undo);
  const tell = (what: string, node: NodeProcess, beforeMiB: number, waited: number | undefined) =>
    console.log(
      `${kind}: ${what}: ${beforeMiB} -> ${residentMiB(node)} MiB, a new client waits ${waited ?? "too long"} ms`,
    );
  try {
    const origin = await startLongOrigin(defer, 16_000_000);
    for (const maxFiles of [20_000, 1_024]) {
      for (const rest of ["unused", "used", "half a head"] as const) {
        const node = await startLimited(defer, kind, maxFiles);
        const before = residentMiB(node);
        const crowd = new Crowd(node, defer);
        const count = rest === "half a head" ? 500 : 10_000;
        await crowd.open(count, rest);
        tell(`${count} ${rest}, ${maxFiles} files`, node, before, await waitMs(node, 60_000));
        for (const socket of crowd.sockets) socket.destroy();
        await node.end("SIGKILL");
      }
    }
    const node = await startLimited(defer, kind, 20_000, ["--group", `big=${origin}`]);
    const before = residentMiB(node);
    const crowd = new Crowd(node, defer);
    for (let i = 0; i < 60; i++) {
      await crowd.readNothing([`/cache/big/${i}`]);
      // One after the other: together they would take longer than a load may.
      await until(async () => (await node.stats()).groups.big!.originLoads > i, 10_000, () => `load ${i}`);
    }
    let most = 0;
    for (let s = 0; s < 80; s++) {
      most = Math.max(most, residentMiB(node));
      await new Promise((later) => setTimeout(later, 500));
    }
    tell(`60 unread answers of 16 MB, ${most} MiB at most, after 40 s`, node, before, await waitMs(node, 5_000));
  } finally {
    for (const undo of undos.reverse()) await undo();
  }
}

if (import.meta.main) {
  const wanted = process.argv[2];
  for (const kind of bothRuntimes) if (wanted === undefined || wanted === kind) await trial(kind);
}
