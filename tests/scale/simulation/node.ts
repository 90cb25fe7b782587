/**
 * A node without its runtime: the real membership, liveness, placement, cache group with its handoff, and invalidations,
 * wired as lib/node/peers/cluster.ts wires them. Links to the other nodes and NATS are simulated.
 */
import type { Clock } from "../../../lib/core/base/clock.ts";
import { Group } from "../../../lib/core/group/group.ts";
import type { Label } from "../../../lib/core/invalidation/label.ts";
import { Liveness } from "../../../lib/core/liveness/liveness.ts";
import { RosterPicker } from "../../../lib/core/placement/picker.ts";
import type { PeerRecord, Roster } from "../../../lib/core/roster.ts";
import { Invalidations } from "../../../lib/node/invalidations.ts";
import { Membership } from "../../../lib/registry/membership.ts";
import { askersOf } from "../../../lib/registry/store/store.ts";
import { FarLog, FarStore } from "./far.ts";
import { SimLink } from "./link.ts";
import type { World } from "./world.ts";

export const GROUP = "dict";
const LISTS: readonly string[] = [GROUP, askersOf(GROUP)];
const BUDGET_BYTES = 64 * 1024 * 1024;
/** Chosen, as its own default: how long a stopping node waits for the registry. */
const LEAVE_TIMEOUT_MS = 500;
/** A dial, the proof and the greeting: three round trips. */
const CONNECT_WAYS = 6;

/** One node of a world. */
export class SimNode {
  readonly record: PeerRecord;
  readonly membership: Membership;
  readonly liveness: Liveness;
  readonly picker: RosterPicker;
  readonly group: Group;
  readonly invalidations: Invalidations;
  /** The number of its log lines. */
  lines = 0;
  isKilled = false;
  /** The positions in the log that its peers have announced. */
  readonly #applied = new Map<string, Label>();
  readonly #world: World;
  readonly #clock: Clock;
  #links: ReadonlyMap<string, SimLink> = new Map();

  constructor(record: PeerRecord, world: World) {
    const { network } = world;
    this.record = record;
    this.#world = world;
    const clock: Clock = this.#clock = {
      nowMs: () => network.clock.nowMs(),
      after: (delayMs, action) =>
        network.clock.after(delayMs, () => {
          if (!this.isKilled) action();
        }),
    };
    const line = () => void this.lines++;
    const log = { debug: line, info: line, warn: line, error: line };
    const { random } = network;
    this.picker = new RosterPicker(GROUP, record.name, (name) => this.#links.get(name), clock);
    this.membership = new Membership({
      store: new FarStore(world.bucket.open(), network, clock),
      groups: [GROUP],
      watched: [askersOf(GROUP)],
      self: record,
      clock,
      log,
      isAlive: (other) => world.isAlive(other),
      onRoster: (roster) => this.#swap(roster),
      onWroteAgain: (other) => this.liveness.wroteAgain(other),
      onPutBack: () => this.liveness.putBack(),
      random,
    });
    this.liveness = new Liveness({
      self: record,
      clock,
      random,
      log,
      peers: () => [...this.#links.values()],
      lists: () => LISTS.map((list) => this.membership.roster(list).peers),
      isListed: () => this.roster.peers.some(({ incarnation }) => incarnation === record.incarnation),
      isRegistryAway: () => this.membership.isAway,
      evict: (other) => this.membership.evict(other),
      onAnswer: (other) => void this.membership.evictEarlierLives(other),
    });
    this.invalidations = new Invalidations({
      selfName: record.name,
      log: new FarLog(world.stream.open(), network, clock),
      peers: {
        peer: (name) => this.#links.get(name),
        applied: () => this.#applied,
        announceApplied: (label) => this.#announce(label),
      },
      listed: () => LISTS.flatMap((list) => this.membership.roster(list).peers),
      clock,
      say: log,
    });
    this.group = new Group({
      name: GROUP,
      origin: world.origin,
      picker: this.picker,
      clock,
      budgetBytes: BUDGET_BYTES,
      position: this.invalidations.position,
      loadTimeoutMs: 10_000,
      random,
    });
    this.invalidations.add({ group: this.group, picker: this.picker, ttlMs: null, honoursOwnTtl: false });
  }

  get roster(): Roster {
    return this.membership.roster(GROUP);
  }

  get links(): number {
    return this.#links.size;
  }

  start(): void {
    this.membership.start();
    this.invalidations.start();
    this.liveness.start();
  }

  /** Leaves like a stopping node: hands over its values, then leaves the lists. */
  async stop(): Promise<void> {
    this.liveness.stop();
    await this.membership.setState("draining", LEAVE_TIMEOUT_MS);
    await this.group.drain(new AbortController().signal, Promise.resolve());
    this.invalidations.close();
    await this.membership.leave(LEAVE_TIMEOUT_MS);
    await this.membership.close();
    this.isKilled = true;
  }

  /** Whether it lists that peer with that incarnation. */
  lists({ name, incarnation }: Pick<PeerRecord, "name" | "incarnation">): boolean {
    return this.#links.get(name)?.record.incarnation === incarnation;
  }

  told(name: string, label: Label): void {
    this.#applied.set(name, label);
  }

  #swap(roster: Roster): void {
    this.#connect();
    if (roster.group === GROUP && this.picker.swap(roster)) void this.group.ownersChanged();
    this.liveness.rosterChanged();
  }

  /** Like the hub, keeps the links that stay. */
  #connect(): void {
    const before = this.#links;
    const links = new Map<string, SimLink>();
    const opened: SimLink[] = [];
    for (const record of LISTS.flatMap((list) => this.membership.roster(list).peers)) {
      if (record.name === this.record.name || links.has(record.name)) continue;
      const known = before.get(record.name);
      const link = known?.record.incarnation === record.incarnation ? known : new SimLink(this, record, this.#world);
      link.record = record;
      if (link !== known) opened.push(link);
      links.set(record.name, link);
    }
    this.#links = links;
    if (opened.length === 0) return;
    this.#clock.after(CONNECT_WAYS * this.#world.network.wayMs(), () => {
      for (const link of opened) {
        if (!link.open()) continue;
        this.liveness.reached(link.record);
        this.membership.reachedPeer();
      }
    });
  }

  /** One event for all peers, since no caller waits for this message. */
  #announce(label: Label): void {
    const { network } = this.#world;
    const links = [...this.#links.values()];
    network.count("position", links.length);
    this.#clock.after(network.wayMs(), () => {
      for (const { target } of links) target?.told(this.record.name, label);
    });
  }
}
