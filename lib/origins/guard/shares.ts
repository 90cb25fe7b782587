/** Divides the slots of a group among its nodes, so that their sum never exceeds the slots. */
import { PrefixHash } from "../../core/base/hash.ts";
import type { PeerRecord } from "../../core/roster.ts";

/**
 * How many requests each node may have at the origin, by name. If there are enough slots, each node gets one, and the
 * rest are divided by weight. If not, all are divided by weight, and some nodes get none.
 *
 * This is the largest remainder method (Hamilton): the sum is exactly `slots`. All nodes compute the same shares, on
 * both runtimes, because this uses only basic operations on doubles, in the order of the names.
 *
 * @param peers sorted by name
 */
export function sharesOf(
  slots: number,
  group: string,
  peers: readonly Pick<PeerRecord, "name" | "weight">[],
): ReadonlyMap<string, number> {
  const least = slots >= peers.length ? 1 : 0;
  const rest = slots - least * peers.length;
  const weight = peers.reduce((sum, peer) => sum + peer.weight, 0);
  // Equal nodes have equal remainders. The hash of the group's name breaks the tie, so each group favours other nodes.
  const hash = new PrefixHash(`${group}\0`);
  const quotas = peers.map((peer) => {
    const quota = rest * peer.weight / weight;
    const whole = Math.floor(quota);
    return { name: peer.name, whole, fraction: quota - whole, rank: hash.hash(peer.name) };
  });
  const left = rest - quotas.reduce((sum, { whole }) => sum + whole, 0);
  const favoured = quotas.toSorted((a, b) => b.fraction - a.fraction || a.rank - b.rank || (a.name < b.name ? -1 : 1))
    .slice(0, left);
  const names = new Set(favoured.map(({ name }) => name));
  return new Map(quotas.map(({ name, whole }) => [name, least + whole + (names.has(name) ? 1 : 0)]));
}
