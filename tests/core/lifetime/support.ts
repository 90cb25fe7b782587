/** What the tests of values that change share. */
import type { Loaded } from "../../../lib/core/group/loaded.ts";
import type { GroupOptions } from "../../../lib/core/group/options.ts";
import type { LifetimePolicy } from "../../../lib/core/lifetime/policy.ts";
import { promised } from "../../../lib/core/load/flights.ts";
import type { RequestHead } from "../../../lib/core/ports.ts";
import type { Freshness } from "../../../lib/core/semantics/freshness.ts";
import type { Group } from "../../../lib/core/group/group.ts";
import type { Answer } from "../../../lib/core/value.ts";
import { makeCluster, text } from "../cluster.ts";

export const keys = Array.from({ length: 200 }, (_, i) => `key-${i}`);

/** Three nodes; `key` is owned by b, with c next in rank. The origin numbers its answers. */
export function threeNodes(lifetime: Partial<LifetimePolicy>, options: Partial<GroupOptions> = {}) {
  const cluster = makeCluster(["a", "b", "c"], { options: { ...options, lifetime } });
  const { groups, pickers, origin } = cluster;
  const key = keys.find((key) => pickers.get("a")!.ranked(key, 2).map((peer) => peer?.name).join() === "b,c")!;
  origin.answer = () => text(`v${origin.loads.length}`);
  const [a, b, c] = ["a", "b", "c"].map((name) => groups.get(name)!) as [Group, Group, Group];
  return { ...cluster, key, a, b, c };
}

/** An answer with the origin's own word on its lifetime. */
export function withFreshness(answer: Answer, freshness: Partial<Freshness>): Answer {
  const none = { isStorable: true, ageMs: 0, freshMs: 0, staleWhileRevalidateMs: 0, staleIfErrorMs: 0 };
  const own = { hasOwnLifetime: true, hasOwnStale: true };
  return { ...answer, freshness: { ...none, ...own, ...freshness } };
}

export function requestWith(name: string, value: string): RequestHead {
  return { fields: [[name, value]] };
}

/** A get of a client with a request of its own, as the HTTP edge makes it. */
export async function getFor(group: Group, key: string, request: RequestHead): Promise<Loaded> {
  const hit = group.lookup(key, request);
  if (hit !== undefined) return { value: hit.value, source: hit.from, stored: true };
  return await promised<Loaded>(undefined, (waiter) => group.load(key, waiter), request);
}
