/** Makes the groups of a running node follow its present options. */
import { changedGroups } from "../../config/changes.ts";
import type { GroupConfig } from "../../config/config.ts";
import type { GroupKeeper } from "../groups/defined-groups.ts";

export interface FollowOptions {
  readonly keeper: GroupKeeper;
  /** The groups of the former options; `read` has those of the present ones. */
  readonly running: readonly GroupConfig[];
  readonly read: readonly GroupConfig[];
  /** The groups that the node has now; some may be defined in NATS. */
  readonly served: { keys(): Iterable<string>; has(name: string): boolean };
  /** Which group answers the requests for a host. */
  readonly hosts: ReadonlyMap<string, { readonly group: { readonly name: string } }>;
  /** Takes a group's hosts from it. */
  readonly freeHosts: (name: string) => void;
  /** @throws RangeError a node cannot have all these groups */
  readonly checkNames: (names: readonly string[]) => void;
}

/**
 * Ends, changes and adds groups in one turn of the event loop, so that no request sees half of the change.
 *
 * @throws TypeError, RangeError the node cannot have these groups; nothing has changed
 */
export function followGroups(options: FollowOptions): void {
  const { keeper, running, read, served, hosts, freeHosts, checkNames } = options;
  const { added, changed, removed } = changedGroups(running, read);
  const kept = [...served.keys()].filter((name) => !removed.includes(name));
  checkNames([...new Set([...kept, ...added.map(({ name }) => name)])]);
  const free = new Set([...removed, ...changed.map(({ group: { name } }) => name)]);
  for (const group of [...added, ...changed.map((each) => each.group)]) checkHosts(group, hosts, free);
  // A host may move from one group to another.
  for (const name of free) freeHosts(name);
  for (const name of removed) void keeper.removeGroup(name);
  for (const { group } of changed) keeper.changeGroup(group);
  for (const group of added) {
    // So far NATS has defined a group of this name. Its values stay if the origin is the same.
    if (served.has(group.name)) keeper.changeGroup(group);
    else keeper.addGroup(group);
  }
}

/** Conflicts between groups of the options were found when the options were read. */
function checkHosts({ name, hosts }: GroupConfig, taken: FollowOptions["hosts"], free: ReadonlySet<string>): void {
  for (const host of hosts) {
    const owner = taken.get(host)?.group.name ?? name;
    if (owner === name || free.has(owner)) continue;
    throw new TypeError(
      `Cannot give the host ${host} to the group ${name}: the group ${owner}, defined in NATS, has it`,
    );
  }
}
