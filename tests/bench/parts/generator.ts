/**
 * Makes load that wrk cannot make, and compares every body. One JSON argument in, one JSON line out.
 *
 * - `open`: requests at a fixed rate, without waiting for answers. Latency counts from the scheduled moment, so all
 *   requests during a server's stall count against it (no coordinated omission)
 * - `burst`: all callers ask for one cold key at once, key after key. Other servers come first and are not counted, so
 *   that this program's code is compiled: the first key of a new generator took 10 to 15 ms longer with every server
 */
import { groupName } from "../keys.ts";
import { quantile } from "../figures.ts";
import { Client } from "./client.ts";
import process from "node:process";

export type Order =
  | { mode: "open"; url: string; keys: string[]; perSecond: number; seconds: number; warmUpSeconds: number }
  | { mode: "burst"; urls: string[]; warmUpUrls: string[]; prefix: string; keys: number; callers: number };

export interface Told {
  requests: number;
  errors: number;
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
}

const path = `/cache/${groupName}/`;
const maxWaiting = 20_000;
const warmUpKeys = 6;

const order: Order = JSON.parse(process.argv[2]!);
const latenciesMs: number[] = [];
let errors = 0;

if (order.mode === "open") await open(order);
else await burst(order);
const told: Told = {
  requests: latenciesMs.length,
  errors,
  p50Ms: quantile(latenciesMs, 0.5),
  p99Ms: quantile(latenciesMs, 0.99),
  maxMs: quantile(latenciesMs, 1),
};
console.log(JSON.stringify(told));
process.exit(0);

async function open({ url, keys, perSecond, seconds, warmUpSeconds }: Order & { mode: "open" }): Promise<void> {
  const idle = await Promise.all(Array.from({ length: 64 }, () => Client.open(url)));
  /** Scheduled requests that wait for a connection; their clocks run. */
  const waiting: number[] = [];
  const total = Math.floor((seconds + warmUpSeconds) * perSecond);
  const counted = Math.floor(warmUpSeconds * perSecond);
  const beganMs = performance.now() + 5;
  let sent = 0;
  let answered = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const send = (index: number) => {
    const client = idle.pop();
    if (client === undefined) return waiting.push(index);
    const scheduledMs = beganMs + index * 1_000 / perSecond;
    client.ask(path, keys[index % keys.length]!, (isRight, atMs) => {
      if (!isRight) errors++;
      if (index >= counted) latenciesMs.push(atMs - scheduledMs);
      idle.push(client);
      const next = waiting.shift();
      if (next !== undefined) send(next);
      if (++answered === total) resolve();
    });
  };
  // A timer is late by 1 ms or more. So this loop spins on its own core, and serves sockets in between.
  const look = () => {
    const due = Math.min(total, Math.floor((performance.now() - beganMs) * perSecond / 1_000) + 1);
    while (sent < due) send(sent++);
    if (waiting.length > maxWaiting) {
      errors += waiting.length;
      return resolve();
    }
    if (sent < total) setImmediate(look);
  };
  setImmediate(look);
  await promise;
}

async function burst({ urls, warmUpUrls, prefix, keys, callers }: Order & { mode: "burst" }): Promise<void> {
  await bursts(warmUpUrls, { prefix: `warm-up-${process.pid}-`, keys: warmUpKeys, callers });
  latenciesMs.length = 0;
  await bursts(urls, { prefix, keys, callers });
}

async function bursts(
  urls: readonly string[],
  { prefix, keys, callers }: { prefix: string; keys: number; callers: number },
): Promise<void> {
  const clients = await Promise.all(Array.from({ length: callers }, (_, i) => Client.open(urls[i % urls.length]!)));
  for (let i = 0; i < keys; i++) {
    const sinceMs = performance.now();
    await Promise.all(
      clients.map((client) =>
        new Promise<void>((resolve) =>
          client.ask(path, `${prefix}${i}`, (isRight, atMs) => {
            if (!isRight) errors++;
            latenciesMs.push(atMs - sinceMs);
            resolve();
          })
        )
      ),
    );
  }
  for (const client of clients) client.close();
}
