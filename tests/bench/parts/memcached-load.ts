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
  /** Share of a core that this program used: near 1 it was the limit, not memcached. */
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

/** Asks one thing after the other until the turn is over. */
function ask(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    let entry = entries[0]!;
    let sinceMs = 0;
    let rest: Buffer | undefined;
    const next = () => {
      sinceMs = performance.now();
      if (sinceMs >= endMs) return socket.destroy();
      entry = entries[Math.floor(Math.random() * entries.length)]!;
      socket.write(entry.request);
    };
    socket.on("data", (chunk: Buffer) => {
      const all = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
      // A reply of another length is wrong as soon as it ends.
      if (all.length < entry.reply.length && !all.subarray(-5).equals(Buffer.from("END\r\n"))) return void (rest = all);
      rest = undefined;
      latenciesMs.push(performance.now() - sinceMs);
      if (!all.equals(entry.reply)) wrong++;
      next();
    });
    socket.on("close", () => {
      if (performance.now() < endMs) wrong++;
      resolve();
    });
    next();
  });
}

await store();
const sockets = await Promise.all(Array.from({ length: connections }, open));
const before = process.cpuUsage();
const beganMs = performance.now();
endMs = beganMs + turnMs;
await Promise.all(sockets.map(ask));
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
