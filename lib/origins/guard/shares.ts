/** Shares out the slots of a group among its nodes, so that their sum is never more than there are. */
import { PrefixHash } from "../../core/base/hash.ts";
import type { PeerRecord } from "../../core/roster.ts";

/**
 * How many requests each node may have at the origin, by name. Where there are enough, each node gets one, and the rest goes by
 * weight. Where there are not, they go by weight alone, and some nodes get none.
 *
 * By the largest remainder (Hamilton's method): the sum is exactly `slots`. All nodes come to the same shares, on both runtimes:
 * only the basic operations on doubles are used, in the order of the names.
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
  // The remainders of equal nodes are equal: by the group's name, each group favours other nodes.
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
