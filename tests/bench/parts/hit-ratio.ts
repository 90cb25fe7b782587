/** Hit ratio of the byte cache and of exact LRU under the same bytes, on the same requests. Prints JSON. */
import { entryBytes } from "../../../lib/core/cache/byte-cache.ts";
import { SharedBudget } from "../../../lib/core/cache/shared-budget.ts";
import { utf8Bytes } from "../../../lib/core/base/hash.ts";
import type { Value } from "../../../lib/core/value.ts";
import { allGood, valueOf } from "../../core/support.ts";
import { keyOf } from "../keys.ts";
import process from "node:process";

export type HitRatios = Record<string, { muster: number; lru: number; fifo: number }>;

const [requests, keys] = process.argv.slice(2).map(Number) as [number, number];
const meanBytes = 1_024;
/** A tenth of all keys fit. */
const budgetBytes = keys / 10 * meanBytes;

let state = 0x9e3779b9;
/** Mulberry32 (Tommy Ettinger, 2017): the same trace at each run. Gives [0, 1). */
function random(): number {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), state | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

/** Draws ranks with a probability in proportion to 1 / (rank + 1) ^ exponent. */
function zipf(count: number, exponent: number): () => number {
  const cumulated = new Float64Array(count);
  let sum = 0;
  for (let rank = 0; rank < count; rank++) cumulated[rank] = sum += (rank + 1) ** -exponent;
  return () => {
    const wanted = random() * sum;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (cumulated[middle]! > wanted) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

type Trace = (at: number) => number;

const zipf08 = zipf(keys, 0.8);
const zipf10 = zipf(keys, 1);
const hot = zipf(keys / 20, 0.6);
const scanLength = keys / 5;
const period = requests / 10;
const traces: Record<string, () => Trace> = {
  "Zipf 0.8": () => zipf08,
  "Zipf 1.0": () => zipf10,
  // At times a scan reads keys that no other request uses, a fifth of the number of keys.
  "scan through Zipf 1.0": () => {
    let scanned = 0;
    return (at) => at % period < scanLength ? keys + scanned++ : zipf10();
  },
  // Nine in ten requests go to a twentieth of the keys, which changes ten times.
  "shifting hot set": () => (at) => {
    const from = Math.floor(at / period) * (keys / 20);
    return random() < 0.9 ? (from + hot()) % keys : Math.floor(random() * keys);
  },
};

/** 256 to 1,792 bytes, fixed per key. */
function bytesOf(id: number): number {
  return 256 + (Math.imul(id + 1, 0x9e3779b1) >>> 0) % 1_537;
}

/** One buffer: caches look at lengths only. */
const backing = new ArrayBuffer(2_048);
function valueFor(id: number): Value {
  const body = new Uint8Array(backing, 0, bytesOf(id));
  return { ...valueOf(), body };
}

type Cache = (key: string, id: number) => boolean;

function muster(): Cache {
  const caches = new SharedBudget(budgetBytes, allGood(), { costOf: entryBytes });
  const nowMs = () => 0;
  return (key, id) => {
    if (caches.main.get(key, nowMs) !== undefined) return true;
    caches.store(caches.main, key, valueFor(id));
    return false;
  };
}

/** A Map in the order of use (LRU), or of insertion (FIFO), exact to the entry. */
function ordered(isMovedByReads: boolean): Cache {
  const held = new Map<string, number>();
  let bytes = 0;
  // One iterator for all evictions: new entries stand behind it, so its next entry is the oldest. A fresh iterator would
  // step over all deleted entries at each eviction.
  const fromOldest = held.entries();
  return (key, id) => {
    const found = held.get(key);
    if (found !== undefined) {
      if (isMovedByReads) {
        held.delete(key);
        held.set(key, found);
      }
      return true;
    }
    const own = utf8Bytes(key) + bytesOf(id);
    while (bytes + own > budgetBytes) {
      const [oldest, size] = fromOldest.next().value!;
      held.delete(oldest);
      bytes -= size;
    }
    held.set(key, own);
    bytes += own;
    return false;
  };
}

const told: HitRatios = {};
for (const [name, make] of Object.entries(traces)) {
  const trace = make();
  const caches = { muster: muster(), lru: ordered(true), fifo: ordered(false) };
  const hits = { muster: 0, lru: 0, fifo: 0 };
  // The first tenth fills the caches.
  const counted = requests - period;
  for (let at = 0; at < requests; at++) {
    const id = trace(at);
    const key = keyOf(id);
    for (const cache of ["muster", "lru", "fifo"] as const) {
      if (caches[cache](key, id) && at >= period) hits[cache]++;
    }
  }
  told[name] = { muster: hits.muster / counted, lru: hits.lru / counted, fifo: hits.fifo / counted };
}
console.log(JSON.stringify(told));
