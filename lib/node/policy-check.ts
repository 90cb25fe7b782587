/** Tells an operator that nodes of one group have different policies: each would serve the others' values by rules of its own. */
import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { SayOnce } from "../core/base/say-once.ts";
import type { Roster } from "../core/roster.ts";
import { policyDifferences } from "./policy-digest.ts";

/** Chosen: a fleet of a hundred nodes with ten groups that all differ. */
const MAX_SAID = 1_000;

export interface PolicyCheckOptions {
  /** Of this node. */
  readonly selfName: string;
  /** This node's policy for a group, as `policyDigest` writes it; `undefined`: it serves no such group. */
  readonly policyOf: (group: string) => string | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/** Compares the policies of a group's peers with this node's own. */
export class PolicyCheck {
  readonly #options: PolicyCheckOptions;
  readonly #said: SayOnce;

  constructor(options: PolicyCheckOptions) {
    this.#options = options;
    this.#said = new SayOnce({ clock: options.clock, maxSaid: MAX_SAID });
  }

  /** Logs one line for each peer and difference, once. Peers that tell no policy are of an older version. */
  check({ group, peers }: Roster): void {
    const { selfName, policyOf, log } = this.#options;
    const mine = policyOf(group);
    if (mine === undefined) return;
    for (const { name, policy } of peers) {
      if (name === selfName || policy === undefined) continue;
      const differences = policyDifferences(mine, policy).join("; ");
      const text = `the policy of ${group} at ${name} differs from mine: ${differences}`;
      if (differences !== "" && this.#said.isNews(text)) log.warn(text, {}, { group, peer: name, differences });
    }
  }
}
