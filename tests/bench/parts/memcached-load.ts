/**
 * Load on memcached: a closed loop of `get` over kept connections, each reply compared byte for byte. One JSON argument
 * in, one JSON line out. It stores the values first.
 */
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import process from "node:process";
import { quantile } from "../figures.ts";
import { valueBytes, valueOf } from "../keys.ts";
import { until } from "../../support/until.ts";

export interface MemcachedOrder {
  readonly port: number;
  readonly keyFile: string;
  readonly connections: number;
  readonly turnMs: number;
}

export interface MemcachedTold {
  requests: number;
  wrong: number;
  requestsPerSecond: number;
  p50Ms: number;
  p99Ms: number;
  /** Share of a core that this program used; near 1, this program was the limit, not memcached. */
  busy: number;
}

const { port, keyFile, connections, turnMs }: MemcachedOrder = JSON.parse(process.argv[2]!);
const entries = readFileSync(keyFile, "utf8").trimEnd().split("\n").map((key) => ({
  key,
  request: Buffer.from(`get ${key}\r\n`),
  reply: Buffer.concat([Buffer.from(`VALUE ${key} 0 ${valueBytes}\r\n`), valueOf(key), Buffer.from("\r\nEND\r\n")]),
}));
const startTimeoutMs = 5_000;

function open(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => resolve(socket.setNoDelay(true)));
    socket.once("error", reject);
  });
}

async function store(): Promise<void> {
  const answers = () => open().then((socket) => socket.destroy().destroyed, () => false);
  await until(answers, startTimeoutMs, () => `memcached does not answer on port ${port}`);
  const socket = await open();
  let replies = "";
  const stored = new Promise<void>((resolve, reject) => {
    socket.on("close", () => reject(new Error(`memcached did not store the values: ${replies.slice(-200)}`)));
    socket.on("data", (chunk) => {
      replies += chunk;
      if (replies === "STORED\r\n".repeat(entries.length)) resolve();
      else if (/ERROR|NOT_STORED/.test(replies)) socket.destroy();
    });
  });
  for (const { key } of entries) socket.write(`set ${key} 0 0 ${valueBytes}\r\n${valueOf(key).toString("latin1")}\r\n`);
  await stored;
  socket.destroy();
}

const latenciesMs: number[] = [];
let wrong = 0;
let endMs = Infinity;

/** Bun's own sockets: through node:net this program would be the limit long before memcached. */
interface BunSocket {
  write(data: Uint8Array): number;
  end(): void;
}
const { Bun } = globalThis as unknown as { Bun: { connect(options: object): Promise<BunSocket> } };
const replyEnd = Buffer.from("END\r\n");

/** A connection that sends one request after the other until the turn is over. */
async function connection(): Promise<{ begin: () => void; closed: Promise<void> }> {
  let entry = entries[0]!;
  let sinceMs = 0;
  let rest: Buffer | undefined;
  const next = () => {
    sinceMs = performance.now();
    if (sinceMs >= endMs) return socket.end();
    entry = entries[Math.floor(Math.random() * entries.length)]!;
    // About ten bytes into an empty buffer: the kernel takes them whole.
    socket.write(entry.request);
  };
  const data = (_: BunSocket, chunk: Buffer) => {
    const all = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
    // A reply of another length is wrong as soon as it ends.
    if (all.length < entry.reply.length && !all.subarray(-replyEnd.length).equals(replyEnd)) {
      // Bun reuses the chunk's memory.
      return void (rest = Buffer.from(all));
    }
    rest = undefined;
    latenciesMs.push(performance.now() - sinceMs);
    if (!all.equals(entry.reply)) wrong++;
    next();
  };
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  const close = () => {
    if (performance.now() < endMs) wrong++;
    resolve();
  };
  const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data, close } });
  return { begin: next, closed };
}

await store();
const all = await Promise.all(Array.from({ length: connections }, connection));
const before = process.cpuUsage();
const beganMs = performance.now();
endMs = beganMs + turnMs;
for (const { begin } of all) begin();
await Promise.all(all.map(({ closed }) => closed));
const tookMs = performance.now() - beganMs;
const { user, system } = process.cpuUsage(before);
const told: MemcachedTold = {
  requests: latenciesMs.length,
  wrong: wrong + (latenciesMs.length === 0 ? 1 : 0),
  requestsPerSecond: latenciesMs.length / (tookMs / 1_000),
  p50Ms: quantile(latenciesMs, 0.5),
  p99Ms: quantile(latenciesMs, 0.99),
  busy: (user + system) / 1_000 / tookMs,
};
console.log(JSON.stringify(told));
process.exit(0);
