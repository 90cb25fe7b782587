/** The time of a rank lookup, the hash of a short key included, and how evenly keys are shared out. Prints JSON. */
import { PrefixHash } from "../../../lib/core/base/hash.ts";
import { Rendezvous } from "../../../lib/core/placement/rendezvous.ts";
import { keyOf } from "../keys.ts";
import process from "node:process";

export interface Ranks {
  /** By peers, per lookup. */
  readonly micros: Record<string, number>;
  /** By peers: the fullest one over the mean. */
  readonly fullest: Record<string, number>;
}

const [lookups, keys] = process.argv.slice(2).map(Number) as [number, number];
const hash = new PrefixHash("bench\0");
const mask = 4_095;
const names = Array.from({ length: mask + 1 }, (_, i) => keyOf(i));

function peersOf(count: number): Rendezvous {
  return new Rendezvous(Array.from({ length: count }, (_, i) => ({ name: `127-0-0-1-${8_000 + i}`, weight: 1 })));
}

function time(peers: Rendezvous, count: number): number {
  let used = 0;
  const sinceMs = performance.now();
  for (let i = 0; i < count; i++) used += peers.owner(hash.hash(names[i & mask]!));
  const tookMs = performance.now() - sinceMs;
  // Read, so that no engine drops the work.
  if (used < 0) throw new Error("nobody owns a key");
  return 1_000 * tookMs / count;
}

const micros: Record<string, number> = {};
for (const count of [10, 100, 1_000]) {
  const peers = peersOf(count);
  time(peers, lookups / 10);
  micros[count] = time(peers, count === 1_000 ? lookups / 4 : lookups);
}
const fullest: Record<string, number> = {};
for (const count of keys > 0 ? [10, 100] : []) {
  const peers = peersOf(count);
  const owned = new Uint32Array(count);
  for (let i = 0; i < keys; i++) owned[peers.owner(hash.hash(keyOf(i)))]!++;
  fullest[count] = owned.reduce((most, one) => Math.max(most, one), 0) * count / keys;
}
console.log(JSON.stringify({ micros, fullest } satisfies Ranks));
