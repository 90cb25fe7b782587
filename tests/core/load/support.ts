/** What the tests of failover and hedging share. */
import type { makeCluster } from "../cluster.ts";

export const keys = Array.from({ length: 500 }, (_, i) => `key-${i}`);

/** Keys that b owns, with c next in rank. */
export function keysOfB(cluster: ReturnType<typeof makeCluster>): string[] {
  const picker = cluster.pickers.get("a")!;
  return keys.filter((key) => picker.ranked(key, 2).map((peer) => peer?.name).join() === "b,c");
}
