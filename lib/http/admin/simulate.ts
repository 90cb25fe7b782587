/** `GET /_admin/simulate?add=n` or `?remove=name`: how many of the keys that this node owns would get another owner. */
import type { Clock } from "../../core/base/clock.ts";
import type { Contender } from "../../core/placement/rendezvous.ts";
import { count, type Moved, Owners } from "../../core/placement/simulate.ts";
import type { NodeFace, ServedGroups } from "../ports.ts";
import { namesText, Refusal } from "./refusal.ts";

/** Chosen: more nodes than an operator adds at once. */
const MAX_ADDED = 1_000;
/** Keys between two turns of the event loop. Measured: 5,000 of them take 3 ms with ten nodes. */
const KEYS_AT_ONCE = 5_000;

/** A hypothetical change of the fleet. */
export type Change = { readonly add: number } | { readonly remove: string };

/** One node's part. The sums over all nodes are the figures of the fleet. */
export interface Simulation {
  readonly node: string;
  readonly groups: Readonly<Record<string, Moved>>;
}

/** @param query without its `?` @throws Refusal */
export function changeIn(query: string): Change {
  const [, add, remove] = /^(?:add=(\d{1,4})|remove=([A-Za-z0-9_-]{1,128}))$/.exec(query) ?? [];
  if (remove !== undefined) return { remove };
  if (add !== undefined && Number(add) >= 1 && Number(add) <= MAX_ADDED) return { add: Number(add) };
  throw new Refusal(400, `the query must be add= with a number from 1 to ${MAX_ADDED}, or remove= with a node's name`);
}

/**
 * Added nodes have weight 1 and unused names. Only values that nodes hold as owners count: no hot copies and no second
 * copies.
 *
 * @throws Refusal this node does not know the node to remove
 */
export async function simulate(
  node: NodeFace,
  groups: ServedGroups,
  change: Change,
  clock: Clock,
): Promise<Simulation> {
  const all = new Map<string, readonly Contender[]>();
  for (const name of groups.keys()) {
    all.set(name, (node.roster(name)?.peers ?? []).filter(({ state }) => state === "serving"));
  }
  if ("remove" in change) checkKnown(change.remove, node, groups);
  const moved: Record<string, Moved> = {};
  for (const [name, { group }] of groups) {
    const before = all.get(name)!;
    const owners = {
      self: node.name,
      before: new Owners(name, before),
      after: new Owners(name, changed(before, change)),
    };
    const sum = moved[name] = { keys: 0, bytes: 0, movedKeys: 0, movedBytes: 0 };
    for (const [index, entry] of group.resident().entries()) {
      if (index > 0 && index % KEYS_AT_ONCE === 0) await new Promise<void>((over) => clock.after(0, over));
      count(sum, entry, owners);
    }
  }
  return { node: node.name, groups: moved };
}

/** Accepts each known node, also a leaving one and one without groups: it owns nothing, so nothing moves. */
function checkKnown(name: string, node: NodeFace, groups: ServedGroups): void {
  const listed = [...groups.keys()].flatMap((group) => node.roster(group)?.peers ?? []);
  const known = new Set([node.name, ...[...listed, ...node.stats().links ?? []].map((peer) => peer.name)]);
  if (!known.has(name)) throw new Refusal(400, `there is no node called ${name}: this node knows ${namesText(known)}`);
}

function changed(before: readonly Contender[], change: Change): readonly Contender[] {
  if ("remove" in change) return before.filter(({ name }) => name !== change.remove);
  // No node's name has a space, so these names are unused.
  return [...before, ...Array.from({ length: change.add }, (_, at) => ({ name: `added ${at + 1}`, weight: 1 }))];
}
