/** One node's view of the other nodes: their lists, the links to them, and which of them are dead. */
import type { Config } from "../../config/config.ts";
import { PeerNetworks } from "../../config/texts/networks.ts";
import type { Clock } from "../../core/base/clock.ts";
import type { Tracing } from "../../core/base/trace.ts";
import { Liveness } from "../../core/liveness/liveness.ts";
import { type PeerRecord, type Roster, rosterOf } from "../../core/roster.ts";
import type { LostPeer, OutOfReachFigures } from "../../http/figures.ts";
import { PeerHub } from "../../peer/hub.ts";
import { isAlive } from "../../peer/proof/is-alive.ts";
import type { PeerService } from "../../peer/service.ts";
import { type Identity, verify } from "../../peer/proof/keys.ts";
import { dialTcp } from "../../peer/socket/tcp.ts";
import { Membership } from "../../registry/membership.ts";
import { groupOfList, type PeerStore } from "../../registry/store/store.ts";
import type { GroupLists } from "../groups/group-lists.ts";
import { PolicyCheck } from "../groups/policy-check.ts";
import { type Served, serviceOf } from "../groups/served-group.ts";
import type { Invalidations } from "../invalidations.ts";
import type { NodeLogs } from "../log/node-logs.ts";
import { serviceFault } from "../open-registry.ts";
import { Losses } from "./losses.ts";
import { FIGURES_GROUP, type Tellers, withFigures } from "./peer-figures.ts";
import { OutOfReach } from "./out-of-reach.ts";
import { Readiness } from "./readiness.ts";

export interface ClusterOptions {
  readonly config: Pick<Config, "peerNetworks" | "nats" | "polling">;
  /** This node's record, as it is listed. */
  readonly self: PeerRecord;
  readonly identity: Identity;
  readonly served: ReadonlyMap<string, Served>;
  readonly lists: GroupLists;
  readonly invalidations: Invalidations;
  /** The authorities that peers' certificates must come from, in PEM; `undefined`: the system's. */
  readonly ca: () => string | undefined;
  /** This node's answers about its figures and its keys, for peers that ask. */
  readonly tellers: Tellers;
  /** Records spans of this node's answers to its peers. */
  readonly tracing: Tracing;
  readonly clock: Clock;
  readonly logs: NodeLogs;
}

/** A roster goes from the membership to the hub, then to its group's picker: see `swap`. */
export class Cluster {
  readonly #options: ClusterOptions;
  readonly #networks: PeerNetworks;
  readonly #outOfReach: OutOfReach;
  readonly #losses: Losses;
  readonly hub: PeerHub;
  /** Whether the other nodes of a group have its origin and its policy. */
  readonly policies: PolicyCheck;
  readonly readiness: Readiness;
  /**
   * The peers of each group that have another origin. Each message of a peer looks here, so `swap` computes it once per
   * roster.
   */
  readonly #strangers = new Map<string, ReadonlySet<string>>();
  #membership: Membership | undefined;
  #liveness: Liveness | undefined;

  constructor(options: ClusterOptions) {
    const { config, self, served, clock, logs } = options;
    this.#options = options;
    this.#networks = new PeerNetworks(config.peerNetworks);
    this.policies = new PolicyCheck({
      selfName: self.name,
      factsOf: (group) => served.get(group)?.facts,
      clock,
      log: logs.registryLog,
    });
    const hub = this.hub = this.#makeHub();
    this.#outOfReach = new OutOfReach({ url: self.url, links: () => hub.stats(), clock, log: logs.peerLog });
    this.#losses = new Losses({
      selfName: self.name,
      isListed: (name) => this.#followed.some((list) => this.roster(list).peers.some((peer) => peer.name === name)),
      isReached: (name) =>
        hub.stats().some((link) => link.name === name && link.state === "open") &&
        !this.silent.some((peer) => peer.name === name),
      clock,
      log: logs.peerLog,
    });
    this.readiness = new Readiness({
      served,
      cluster: {
        isSettled: () => hub.isSettled,
        has: (list) => this.#membership?.has(list) === true,
        isKnownAway: () => this.#membership!.isKnownAway,
        isRead: (list) => this.#membership!.isRead(list),
        joined: (list) => this.#membership?.joined(list) === true,
      },
    });
  }

  /** `undefined` before `join`. */
  get membership(): Membership | undefined {
    return this.#membership;
  }

  /** The names of peers that have not answered their last probes. */
  get silent(): { name: string; misses: number }[] {
    const probed = this.#liveness?.stats().probed ?? [];
    return probed.flatMap(({ name, misses }) => misses === 0 ? [] : [{ name, misses }]);
  }

  /** The peers that evicted this node and still cannot reach it; `undefined`: none. */
  get outOfReach(): OutOfReachFigures | undefined {
    return this.#outOfReach.figures();
  }

  /** The nodes that were evicted lately, and have not come back. */
  get lost(): LostPeer[] {
    return this.#losses.lost;
  }

  /** The roster of a list; empty until the membership knows the list. */
  roster(list: string): Roster {
    return this.#membership?.has(list) ? this.#membership.roster(list) : rosterOf(list, 0, []);
  }

  /** Makes the membership of the groups' lists; `start` begins. Call it once. */
  join(store: PeerStore): Membership {
    const groups = [...this.#options.served.keys()];
    const membership = this.#membership = this.#makeMembership(store, groups);
    this.#liveness = this.#makeLiveness(membership);
    for (const group of groups) this.review(group);
    return membership;
  }

  /** Joins, and probes its peers from now on. Call it after `join`. */
  start(): void {
    this.#membership!.start();
    this.#liveness!.start();
  }

  /** Stops probing, so that no peer is evicted any more. */
  stopProbing(): void {
    this.#liveness?.stop();
    this.#outOfReach.stop();
  }

  /** Joins the lists of one more group. */
  addGroup(group: string): void {
    const { lists } = this.#options;
    this.#membership!.addGroup(lists.ownOf(group));
    this.#membership!.watchList(lists.otherOf(group));
    this.review(group);
  }

  /** Writes this node's record in a group again, as its contents have changed. */
  relist(group: string, timeoutMs: number): void {
    this.review(group);
    void this.#membership!.relist(this.#options.lists.ownOf(group), timeoutMs);
  }

  /** @throws RangeError a greeting could not hold all these groups */
  checkGroups(names: readonly string[]): void {
    this.hub.checkGroups([FIGURES_GROUP, ...names]);
  }

  /**
   * Leaves the lists of a group. @returns whether this node is known to be off the lists; if not, the removal goes on
   */
  async removeGroup(group: string, timeoutMs: number): Promise<boolean> {
    const lists = this.#options.lists.bothOf(group);
    for (const list of lists) this.#losses.forget(list);
    const areOut = await Promise.all(lists.map((list) => this.#membership!.removeGroup(list, timeoutMs)));
    return areOut.every((isOut) => isOut);
  }

  /** Gives a group its present roster again. */
  review(group: string): void {
    this.#swap(this.roster(group));
  }

  /** The lists that this node follows: for each group its peers, and the nodes that only ask for it. */
  get #followed(): string[] {
    return [...this.#options.served.keys()].flatMap((group) => this.#options.lists.bothOf(group));
  }

  /** Connects to new peers before any key is asked of them, then lets the group pick by the new roster. */
  #swap(roster: Roster): void {
    const served = this.#options.served.get(groupOfList(roster.group));
    if (served === undefined) return; // it is being removed
    this.#strangers.delete(served.group.name);
    this.#losses.see(roster);
    this.hub.setPeers(
      this.#followed.flatMap((list) => list === roster.group ? roster.peers : this.roster(list).peers),
    );
    // Nodes that only ask for a group own none of its keys.
    if (roster.group !== served.group.name) return this.#liveness?.rosterChanged();
    this.policies.check(roster);
    const { picker, group, guard } = served;
    const alike = this.policies.alike(roster);
    if (picker.swap(guard?.ownersIn(alike, roster.isStandIn) ?? alike)) void group.ownersChanged();
    this.#liveness?.rosterChanged();
  }

  #strangersOf(group: string): ReadonlySet<string> {
    const known = this.#strangers.get(group);
    if (known !== undefined) return known;
    const lists = this.#options.lists.bothOf(group).map((list) => this.roster(list));
    const found = this.policies.strangers(group, lists);
    this.#strangers.set(group, found);
    return found;
  }

  #makeHub(): PeerHub {
    const { self, identity, served, invalidations, tellers, ca, tracing, clock, logs } = this.#options;
    const isStranger = (group: string, peer: string) => served.has(group) && this.#strangersOf(group).has(peer);
    const service: PeerService = {
      ...serviceOf(served, invalidations, () => this.readiness.isInTouch, isStranger, tracing),
      probeIndirectly: (suspect, options) => this.#liveness!.probeIndirectly(suspect, options),
    };
    return new PeerHub({
      self: { name: self.name, incarnation: self.incarnation },
      identity,
      groups: [FIGURES_GROUP],
      revisions: () => Object.fromEntries([...served.keys()].map((group) => [group, this.roster(group).revision])),
      isEmpty: (group) => served.get(group)?.group.isEmpty ?? true,
      service: withFigures(service, tellers, clock),
      onUnlisted: () => this.#membership?.hurry(),
      onReached: (record) => {
        this.#liveness?.reached(record);
        this.#membership?.reachedPeer();
      },
      onProbed: () => this.#liveness?.probed(),
      onSettled: (isWhole) => this.readiness.settled(isWhole),
      openSocket: (url, introduction) => dialTcp(url, introduction, this.#networks, ca()),
      clock,
      log: logs.peerLog,
    });
  }

  #makeMembership(store: PeerStore, groups: readonly string[]): Membership {
    const { config, self, identity, served, lists, ca, clock, logs } = this.#options;
    return new Membership({
      store,
      groups: groups.map((group) => lists.ownOf(group)),
      watched: groups.map((group) => lists.otherOf(group)),
      self,
      factsOf: (list) => served.get(groupOfList(list))?.facts,
      clock,
      log: logs.registryLog,
      isAlive: (record, timeoutMs) =>
        isAlive({ self, identity, verify }, record, { timeoutMs, networks: this.#networks, ca: ca() }),
      faultOf: (url) => serviceFault(url, config.nats) ?? this.#networks.faultOf(url),
      onRoster: (roster) => this.#swap(roster),
      onKnown: () => this.readiness.reviewGates(),
      onWroteAgain: (record) => this.#liveness?.wroteAgain(record),
      onPutBack: () => {
        this.#liveness?.putBack();
        this.#outOfReach.putBack();
      },
      onListed: (list, isListed) => {
        const group = groupOfList(list);
        if (isListed && served.has(group) && lists.joinedOf(group).includes(list)) this.readiness.await([list]);
        this.readiness.review();
      },
    });
  }

  #makeLiveness(membership: Membership): Liveness {
    const { config, self, served, lists, clock, logs } = this.#options;
    const joining = () => [...served.keys()].map((group) => lists.ownOf(group));
    const isIn = (list: string) => this.roster(list).peers.some(({ incarnation }) => incarnation === self.incarnation);
    return new Liveness({
      self,
      clock,
      random: Math.random,
      log: logs.peerLog,
      peers: () => this.hub.probed(),
      lists: () => this.#followed.map((list) => this.roster(list).peers),
      isListed: () => joining().every(isIn),
      isRegistryAway: () => membership.isAway,
      evict: (record) => membership.evict(record),
      onAnswer: (record) => void membership.evictEarlierLives(record),
      options: config.polling,
    });
  }
}
