/** What the tests of handoff share. */
import assert from "node:assert/strict";
import { type makeCluster, read } from "../cluster.ts";

export const keys = Array.from({ length: 200 }, (_, i) => `key-${i}`);

export type Cluster = ReturnType<typeof makeCluster>;

/** Gets every key on each of these nodes and compares the value. */
export async function askAll({ groups }: Cluster, nodes: string[]): Promise<void> {
  for (const name of nodes) {
    for (const loaded of await Promise.all(keys.map((key) => groups.get(name)!.get(key)))) {
      assert.match(read(loaded), /^value of key-/);
    }
  }
}

export function drainOf(cluster: Cluster, name: string, unasked: Promise<void> = Promise.resolve()): Promise<void> {
  return cluster.groups.get(name)!.drain(new AbortController().signal, unasked);
}
