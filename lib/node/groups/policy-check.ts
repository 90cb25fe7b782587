/**
 * Tells an operator that nodes of one group have different policies. Each node would serve the others' values by its
 * own rules.
 */
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";
import { SayOnce } from "../../core/base/logs/say-once.ts";
import type { Roster } from "../../core/roster.ts";
import type { GroupFacts } from "../../registry/membership.ts";
import type { Difference } from "../../http/figures.ts";
import { policyDifferences } from "./policy-digest.ts";

/** Chosen: a fleet of a hundred nodes with ten groups that all differ. */
const MAX_SAID = 1_000;
/** How many differences of a group operators see. Chosen: the first few tell what to change. */
const MAX_SHOWN = 20;

export interface PolicyCheckOptions {
  /** The name of this node. */
  readonly selfName: string;
  /** The facts of a group in this node's record, see policy-digest.ts; `undefined`: it serves no such group. */
  readonly factsOf: (group: string) => GroupFacts | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/** Compares the policies of a group's peers with this node's own. */
export class PolicyCheck {
  readonly #options: PolicyCheckOptions;
  readonly #said: SayOnce;
  /** Computed from each group's last roster. */
  readonly #differences = new Map<string, readonly Difference[]>();

  constructor(options: PolicyCheckOptions) {
    this.#options = options;
    const onMore = (count: number) =>
      options.log.warn(`${count} more differences between policies and origins of nodes were left out`, {}, { count });
    this.#said = new SayOnce({ clock: options.clock, maxSaid: MAX_SAID, onMore });
  }

  /** Logs one line for each peer and difference, once. A peer without a policy in its record has an older version. */
  check({ group, peers }: Roster): void {
    const { selfName, factsOf, log } = this.#options;
    const { policy: mine, origin } = factsOf(group) ?? {};
    const found: Difference[] = [];
    this.#differences.set(group, found);
    if (mine === undefined) return;
    for (const { name, policy, origin: theirs } of peers) {
      if (name === selfName) continue;
      if (isOther(origin, theirs)) {
        const text = `the origin of ${group} at ${name} is another than mine: no value of it is shared with that node`;
        if (found.length < MAX_SHOWN) found.push({ peer: name, text });
        if (this.#said.isNews(text)) log.warn(text, {}, { group, peer: name });
      }
      if (policy === undefined) continue;
      const differences = policyDifferences(mine, policy).join("; ");
      const text = `the policy of ${group} at ${name} differs from mine: ${differences}`;
      if (differences !== "" && found.length < MAX_SHOWN) found.push({ peer: name, text });
      if (differences !== "" && this.#said.isNews(text)) log.warn(text, {}, { group, peer: name, differences });
    }
  }

  /** The first 20 differences in the group's last roster. */
  differences(group: string): readonly Difference[] {
    return this.#differences.get(group) ?? [];
  }

  /** Called when the group is no longer served. */
  forget(group: string): void {
    this.#differences.delete(group);
  }

  /** The roster without peers that have another origin for the group. For them this node is no peer either. */
  alike(roster: Roster): Roster {
    const { selfName, factsOf } = this.#options;
    const mine = factsOf(roster.group)?.origin;
    const peers = roster.peers.filter(({ name, origin }) => name === selfName || !isOther(mine, origin));
    return peers.length === roster.peers.length ? roster : { ...roster, peers };
  }

  /**
   * The peers that are listed with another origin. They and this node share no values.
   *
   * @param lists the lists of the group's peers; if a peer is in several, the first counts
   */
  strangers(group: string, lists: readonly Roster[]): ReadonlySet<string> {
    const mine = this.#options.factsOf(group)?.origin;
    const origins = new Map<string, string | undefined>();
    for (const { peers } of lists) {
      for (const { name, origin } of peers) if (!origins.has(name)) origins.set(name, origin);
    }
    return new Set([...origins].flatMap(([name, theirs]) => isOther(mine, theirs) ? [name] : []));
  }
}

/** Older nodes do not tell their origin, so a missing one is not different. */
function isOther(mine: string | undefined, theirs: string | undefined): boolean {
  return mine !== undefined && theirs !== undefined && mine !== theirs;
}
