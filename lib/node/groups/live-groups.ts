/** The groups of a running node: added, changed and removed while it serves. */
import type { GroupConfig } from "../../config/config.ts";
import { OriginError } from "../../core/errors.ts";
import type { StartGate } from "../../core/load/start-gate.ts";
import type { CheckedOrigin } from "../../origins/origin.ts";
import type { PeerHub } from "../../peer/hub.ts";
import type { PeerRecord } from "../../core/roster.ts";
import type { Invalidations } from "../invalidations.ts";
import type { GroupLists } from "./group-lists.ts";
import { originDigest } from "./policy-digest.ts";
import { type Served, serveGroup, type Watchers } from "./served-group.ts";

export interface LiveGroupsOptions {
  /** Holds the groups. Nothing else writes to it. */
  readonly served: Map<string, Served>;
  /** This node's record, as it is listed. */
  readonly self: PeerRecord;
  readonly lists: GroupLists;
  readonly hub: PeerHub;
  readonly invalidations: Invalidations;
  readonly watchers: Watchers;
  /** A group's origin, if it is a function of the program. */
  readonly inCode: (group: string) => CheckedOrigin | undefined;
  /** Makes the gate that holds a new group's misses; `undefined`: there are no peers to wait for. */
  readonly makeGate: () => StartGate | undefined;
  /** Called when a group's share of the origin has changed, so that it needs its roster again. */
  readonly onShare: (group: string) => void;
  /** Called when a group has ended. */
  readonly onForgotten: (group: string) => void;
  /** Called when a group's origin refuses its configuration. */
  readonly onFault: (group: string, fault: Error) => void;
}

/** While a group is here, it is also in the hub, in the log of invalidations and among the hosts. */
export class LiveGroups {
  readonly #options: LiveGroupsOptions;
  /** The sites by the hosts whose requests they answer. */
  readonly #hosts = new Map<string, Served>();
  /** Origins of changed or ended groups, which still answer loads. Each has a function that cancels its later close. */
  readonly #retired = new Map<CheckedOrigin, () => void>();

  constructor(options: LiveGroupsOptions) {
    this.#options = options;
  }

  /** The sites by the hosts whose requests they answer. */
  get hosts(): ReadonlyMap<string, Served> {
    return this.#hosts;
  }

  /** Frees a group's hosts for other groups, before the group itself changes or ends. */
  freeHosts(name: string): void {
    for (const host of this.#options.served.get(name)?.hosts ?? []) this.#hosts.delete(host);
  }

  /** @throws TypeError the node serves a group of this name, or with one of its hosts */
  check({ name, hosts }: GroupConfig): void {
    if (this.#options.served.has(name)) {
      throw new TypeError(`Cannot add the group ${name}: this node serves it already`);
    }
    const taken = hosts.find((host) => this.#hosts.has(host));
    if (taken !== undefined) throw new TypeError(`Cannot add the group ${name}: another group has the host ${taken}`);
  }

  /**
   * Serves one more group.
   *
   * @throws RangeError a greeting could not hold one more group
   */
  add(config: GroupConfig): void {
    const { served: all, self, lists, hub, invalidations, watchers, inCode, makeGate, onShare } = this.#options;
    const { name } = config;
    const isServed = lists.isServed(name);
    const options = { isServed, gate: makeGate(), inCode: inCode(name) };
    const served = serveGroup(config, self, () => onShare(name), hub, invalidations, watchers, options);
    // Add the group before its name: the hub asks a group as soon as it has the name.
    all.set(name, served);
    try {
      hub.addGroup(name);
    } catch (error) {
      all.delete(name);
      this.#forget(served);
      throw error;
    }
    for (const host of served.hosts) this.#hosts.set(host, served);
    if (!isServed) watchers.log.info(`not serving ${name}: asking the nodes that do`, {}, { group: name });
    void this.#checkOrigin(name, served.origin);
  }

  /**
   * Serves a group by other options from now on. It keeps its values unless its origin changes.
   *
   * @throws RangeError the node does not serve it
   * @throws TypeError another group has one of its hosts
   */
  change(config: GroupConfig): void {
    const { served: all, self, hub, invalidations, watchers, inCode, onShare } = this.#options;
    const { name } = config;
    const served = all.get(name);
    if (served === undefined) throw new RangeError(`Cannot change the group ${name}: this node does not serve it`);
    const taken = config.hosts.find((host) => (this.#hosts.get(host) ?? served) !== served);
    if (taken !== undefined) throw new TypeError(`Cannot change the group ${name}: another group has ${taken}`);
    const keepsValues = originDigest(config) === served.facts.origin;
    const options = {
      isServed: served.isServed,
      gate: served.gate,
      inCode: inCode(name),
      before: { served, keepsValues },
    };
    const next = serveGroup(config, self, () => onShare(name), hub, invalidations, watchers, options);
    all.set(name, next);
    for (const host of served.hosts) this.#hosts.delete(host);
    for (const host of next.hosts) this.#hosts.set(host, next);
    void this.#checkOrigin(name, next.origin);
    this.#retire(served);
  }

  /**
   * Requests for the group get a 404 from now on, and its values are dropped. Loads in flight go on.
   *
   * @throws RangeError the node does not serve it
   */
  remove(name: string): Served {
    const { served: all, hub } = this.#options;
    const served = all.get(name);
    if (served === undefined) throw new RangeError(`Cannot remove the group ${name}: this node does not serve it`);
    hub.removeGroup(name);
    all.delete(name);
    for (const host of served.hosts) this.#hosts.delete(host);
    this.#forget(served);
    this.#retire(served);
    return served;
  }

  /** Closes all origins: loads in flight fail. */
  async close(): Promise<void> {
    for (const cancel of this.#retired.values()) cancel();
    const origins = [...this.#retired.keys(), ...[...this.#options.served.values()].map(({ origin }) => origin)];
    await Promise.all(origins.map((origin) => origin.close()));
  }

  /** Closes an origin later. Until then its loads in flight go on, for this node's clients and for peers. */
  #retire({ origin, loadTimeoutMs }: Served): void {
    const cancel = this.#options.watchers.clock.after(loadTimeoutMs, () => {
      this.#retired.delete(origin);
      void origin.close();
    });
    this.#retired.set(origin, cancel);
  }

  /** Ends a group, and takes it out of the log of invalidations. */
  #forget({ group, gate }: Served): void {
    const { invalidations, onForgotten } = this.#options;
    gate?.open();
    invalidations.remove(group.name);
    onForgotten(group.name);
    group.close();
  }

  async #checkOrigin(group: string, origin: CheckedOrigin): Promise<void> {
    const { watchers: { log }, onFault } = this.#options;
    try {
      const warning = await origin.check();
      if (warning !== undefined) log.warn(`the origin of ${group}: ${warning}`, {}, { group, reason: warning });
    } catch (error) {
      onFault(group, error instanceof Error ? error : new OriginError(String(error)));
    }
  }
}
