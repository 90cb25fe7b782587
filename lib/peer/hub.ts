import { setImmediate } from "node:timers";
import type { WSEvents } from "hono/ws";
import type { CancelSignal } from "../core/base/cancel.ts";
import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { areSame, type Label } from "../core/invalidation/label.ts";
import type { ProbedPeer } from "../core/liveness/probed-peer.ts";
import type { Peer } from "../core/ports.ts";
import type { PeerRecord } from "../core/roster.ts";
import { PEER_LIMITS, type PeerLimits } from "./limits.ts";
import type { OpenSocket } from "./dialer.ts";
import { dials, Link, type LinkContext, type LinkState } from "./link.ts";
import { OwnGroups } from "./own-groups.ts";
import { CHALLENGE, CLAIM, PROOF } from "./proof/fields.ts";
import { Gate } from "./proof/gate.ts";
import type { Prover } from "./proof/introduction.ts";
import { type Identity, type Verify, verify } from "./proof/keys.ts";
import { Reception, type Verdict } from "./reception.ts";
import type { PeerService, Schedule } from "./service.ts";
import { acceptEvents, type SocketLike } from "./socket/socket.ts";
import { dialTcp } from "./socket/tcp.ts";
import { PROTOCOL, type ProtocolRange } from "./wire/frames.ts";
import type { PeerGreeting, Refusal, Self } from "./wire/greeting.ts";
import { checkLabel } from "./wire/labels.ts";

export interface PeerHubOptions {
  readonly self: Self;
  /** The key pair of this life. This node's record holds its public key. */
  readonly identity: Identity;
  /** @default verify (proof/keys.ts) */
  readonly verify?: Verify;
  /** The groups that this node has at the start. `addGroup` and `removeGroup` change them. */
  readonly groups: readonly string[];
  /** The current revision of each group's roster. Greetings and announcements tell it to peers. */
  readonly revisions: () => Readonly<Record<string, number>>;
  /**
   * Whether this node has no value of a group, in memory or in flight. Greetings and announcements tell it to peers.
   * Called only for groups that this node has, from the constructor or `addGroup` on.
   *
   * @default never
   */
  readonly isEmpty?: (group: string) => boolean;
  readonly service: PeerService;
  /** Called again and again while an unlisted node wants to connect. @default nothing */
  readonly onUnlisted?: () => void;
  /**
   * Called when a peer was reached: a connection opened, or the peer says that it does not list this node.
   *
   * @default nothing
   */
  readonly onReached?: (record: PeerRecord) => void;
  /** Called after a peer probed this node and the hub replied. @default nothing */
  readonly onProbed?: () => void;
  /**
   * Called once each time when no link is connecting any more: each is open, down or given up. Also called after a
   * `setPeers` that leaves no link. Never called within `setPeers`. Must not throw.
   *
   * @param isWhole whether every link is open
   * @default nothing
   */
  readonly onSettled?: (isWhole: boolean) => void;
  readonly clock: Clock;
  readonly log: Log;
  /** @default dialTcp with the system's authorities */
  readonly openSocket?: OpenSocket;
  /** @default setImmediate: runs after all sockets that are readable now, so that one frame takes the asks of all of them */
  readonly schedule?: Schedule;
  /** @default Math.random */
  readonly random?: () => number;
  readonly limits?: Partial<PeerLimits>;
  /** The protocol versions that this node speaks. Tests use others to act as another release. @default PROTOCOL */
  readonly protocol?: ProtocolRange;
}

export interface LinkStats {
  readonly name: string;
  readonly state: LinkState;
  /** The number of connections so far, including the open one. */
  readonly opens: number;
  /** This and the figures below are for the open connection; 0 without one. */
  readonly asked: number;
  readonly answered: number;
  readonly asksInFlight: number;
  readonly servedInFlight: number;
  readonly framesOut: number;
  readonly framesIn: number;
  readonly bytesOut: number;
}

/** The links of this node to all its peers, over every group. */
export class PeerHub {
  readonly #context: LinkContext;
  readonly #gate: Gate;
  readonly #reception: Reception;
  readonly #groups: OwnGroups;
  readonly #onSettled: (isWhole: boolean) => void;
  #links: ReadonlyMap<string, Link> = new Map();
  /** Links to peers that left. They finish their asks. */
  readonly #retired = new Set<Link>();
  /** The last life of each peer that left the roster, by name, in the order of leaving. */
  readonly #former = new Map<string, string>();
  /** The last label given to `announceApplied`. */
  #applied: Label | undefined;
  #closed = false;
  #isSettled = false;
  /** Whether links have settled since this node started. */
  #knowsPeers = false;
  #isReviewing = false;
  #welcomedAtMs = Infinity;
  #cancelLate = (): void => {};
  #onDrained = (): void => {};

  /** @throws RangeError as `addGroup` */
  constructor(options: PeerHubOptions) {
    const { self, clock, log, groups: names, revisions, isEmpty = () => false, service, protocol = PROTOCOL } = options;
    const limits = { ...PEER_LIMITS, ...options.limits };
    const prover: Prover = { self, identity: options.identity, verify: options.verify ?? verify };
    const groups = new OwnGroups({ self, protocol, names, revisions, isEmpty });
    this.#groups = groups;
    this.#onSettled = options.onSettled ?? (() => {});
    this.#context = {
      self,
      prover,
      protocol,
      groups,
      service,
      onProbed: options.onProbed ?? (() => {}),
      clock,
      log,
      limits,
      schedule: options.schedule ?? setImmediate,
      openSocket: options.openSocket ?? ((url, introduction) => dialTcp(url, introduction)),
      random: options.random ?? Math.random,
      applied: () => this.#applied,
      onChange: () => this.#reviewSettled(),
      welcomedAtMs: () => this.#welcomedAtMs,
      onReached: options.onReached ?? (() => {}),
    };
    this.#gate = new Gate({
      prover,
      keyOf: ({ name, incarnation }) => {
        const record = this.#links.get(name)?.record;
        return record?.incarnation === incarnation ? record.key : undefined;
      },
      onHeld: options.onUnlisted ?? (() => {}),
      clock,
      log,
      limits,
    });
    this.#reception = new Reception({
      protocol,
      judge: (hello) => this.#judge(hello),
      onGreeted: (socket, hello, welcome) => this.#links.get(hello.name)!.open(socket, hello, welcome),
      clock,
      log,
      limits,
    });
  }

  /**
   * From now on this node also asks and is asked for the group. It tells every peer now or in the next greeting. Adding
   * a group again changes nothing.
   *
   * @throws RangeError the name does not have 1 to 256 well-formed characters, or no greeting could hold the groups;
   * then nothing has changed
   */
  addGroup(name: string): void {
    if (this.#groups.add(name)) this.#announceGroups();
  }

  /** @throws RangeError no greeting could hold these groups together: `addGroup` would refuse one of them */
  checkGroups(names: readonly string[]): void {
    this.#groups.checkSize(names);
  }

  /**
   * From now on asks for the group fail with a PeerError: this node's at once, the peers' by a reply. Asks in flight
   * get their replies. Removing an absent group is no error.
   */
  removeGroup(name: string): void {
    if (this.#groups.remove(name)) this.#announceGroups();
  }

  /**
   * Replaces the peers of all groups; the records may include this node. The latest life of a peer counts. Groups learn
   * of a peer's restart one after the other, and the link made for the first of them must stay.
   *
   * A missing peer that was draining has left properly, so its link finishes the asks in flight. Any other missing peer
   * was evicted: its asks fail at once, so that they fall back.
   */
  setPeers(records: readonly PeerRecord[]): void {
    if (this.#closed) return;
    const before = this.#links;
    const links = new Map<string, Link>();
    let isChange = false;
    for (const record of ofLatestLives(records)) {
      const { name } = record;
      if (name === this.#context.self.name) continue;
      const known = links.get(name);
      if (known !== undefined) {
        // A node drains in all its groups at once, so the first roster that shows it counts.
        if (record.state === "draining") known.learn(record);
        continue;
      }
      const link = before.get(name);
      if (link !== undefined && isSameLife(link.record, record)) {
        link.learn(record);
        links.set(name, link);
      } else {
        link?.close("it has restarted");
        links.set(name, this.#linkTo(record));
        isChange = true;
      }
    }
    this.#links = links;
    for (const [name, link] of before) {
      if (links.has(name)) continue;
      this.#remember(link.record);
      if (link.record.state === "draining") this.#retire(link);
      else link.close("it was removed from the roster");
    }
    this.#gate.review();
    if (isChange || links.size === 0) this.#isSettled = false;
    this.#reviewSettled();
  }

  /** `undefined` for this node, and for a peer that the roster does not list. */
  peer(name: string): Peer | undefined {
    return this.#links.get(name);
  }

  /**
   * Tells this node's label in the log of invalidations to all connected peers, and to later ones when they connect.
   * Does nothing for the same label again.
   *
   * @throws RangeError the label's numbers are not whole or are below 0
   */
  announceApplied(label: Label): void {
    if (this.#applied !== undefined && areSame(this.#applied, label)) return;
    checkLabel(label);
    this.#applied = label;
    for (const link of this.#links.values()) link.announceApplied(label);
  }

  /**
   * The labels of the connected peers by name: the last one that each told, by an announcement or in reply to a
   * catch-up. Without peers that told none on their connection.
   */
  applied(): ReadonlyMap<string, Label> {
    const labels = new Map<string, Label>();
    for (const [name, { applied }] of this.#links) if (applied !== undefined) labels.set(name, applied);
    return labels;
  }

  /** Like `peer`, for probes. */
  link(name: string): ProbedPeer | undefined {
    return this.#links.get(name);
  }

  /** The URL where a peer takes HTTP requests; `undefined` while there is no open connection to it. */
  urlOf(name: string): string | undefined {
    const link = this.#links.get(name);
    return link?.state === "open" ? link.record.url : undefined;
  }

  /** Every peer that the roster lists, except this node. */
  probed(): ProbedPeer[] {
    return [...this.#links.values()];
  }

  /** Whether `onSettled` was called, and no link has been connecting since. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  /**
   * The answer to a claim: header fields for a 426 at PEER_PATH (proof/fields.ts). None if the request makes no claim.
   *
   * @param fields the header fields of a request without an upgrade
   */
  async challenge(fields: Headers): Promise<Record<string, string>> {
    const challenge = fields.has("origin") ? undefined : await this.#gate.challenge(fields.get(CLAIM));
    return challenge === undefined ? {} : { [CHALLENGE]: challenge };
  }

  /**
   * Resolves to the node that wants to upgrade, when it has proved to be a peer; to nothing if it did not within `heldProofMs`.
   *
   * @param fields the header fields of the upgrade request. A web page sends `Origin` and is refused
   * @param gone aborted when the client gives up
   */
  async admit(fields: Headers, gone?: CancelSignal): Promise<Self | undefined> {
    return fields.has("origin") ? undefined : await this.#gate.admit(fields.get(PROOF), gone);
  }

  /** The event handlers, in Hono's form, of one connection that was upgraded for `admitted`. */
  endpoint(admitted: Self): WSEvents {
    return acceptEvents((socket) => this.#reception.enter(socket, admitted));
  }

  /** Takes an open socket that was upgraded for `admitted`. */
  accept(socket: SocketLike, admitted: Self): void {
    this.#reception.enter(socket, admitted);
  }

  stats(): LinkStats[] {
    return [...this.#links.values()].map((link) => {
      const channel = link.channel;
      return {
        name: link.name,
        state: link.state,
        opens: link.opens,
        asked: channel?.asked ?? 0,
        answered: channel?.answered ?? 0,
        asksInFlight: channel?.inFlight.outgoing ?? 0,
        servedInFlight: channel?.inFlight.incoming ?? 0,
        framesOut: channel?.framesOut ?? 0,
        framesIn: channel?.framesIn ?? 0,
        bytesOut: channel?.bytesOut ?? 0,
      };
    });
  }

  /**
   * Takes no more peers and asks, finishes the asks in flight, each link within its bound, and closes. To be called
   * when this node has left the roster.
   */
  async drain(): Promise<void> {
    const links = [...this.#links.values()];
    this.#links = new Map();
    this.#closed = true;
    this.#cancelLate();
    for (const link of links) this.#retire(link);
    this.#gate.close();
    if (this.#retired.size > 0) await new Promise<void>((drained) => this.#onDrained = drained);
  }

  /** Fails the asks in flight and closes every connection. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#cancelLate();
    this.#gate.close();
    this.#reception.close();
    for (const link of [...this.#links.values(), ...this.#retired]) link.close("this node is closing");
    this.#links = new Map();
    this.#retired.clear();
  }

  #announceGroups(): void {
    for (const link of this.#links.values()) link.announceGroups();
    for (const link of this.#retired) link.announceGroups();
  }

  /**
   * Calls `onSettled` if no link is connecting. It uses a microtask, so that no caller of the hub is called back
   * synchronously.
   */
  #reviewSettled(): void {
    if (this.#closed) return;
    if (this.#welcomedAtMs === Infinity) this.#noteWelcome();
    if (this.#isConnecting) this.#isSettled = false;
    else if (!this.#isSettled && !this.#isReviewing) {
      this.#isReviewing = true;
      queueMicrotask(() => {
        this.#isReviewing = false;
        if (this.#closed || this.#isConnecting) return;
        this.#isSettled = true;
        // Without links this node may only have started: it may not have read a list yet.
        this.#knowsPeers ||= this.#links.size > 0;
        this.#onSettled([...this.#links.values()].every(({ state }) => state === "open"));
      });
    }
  }

  /** After the first welcome, waits less long for peers that still refuse this node. */
  #noteWelcome(): void {
    const { clock, limits } = this.#context;
    if ([...this.#links.values()].every(({ state }) => state !== "open")) return;
    this.#welcomedAtMs = clock.nowMs();
    this.#cancelLate = clock.after(limits.lateUnknownMs, () => this.#reviewSettled());
  }

  get #isConnecting(): boolean {
    for (const link of this.#links.values()) if (link.isConnecting) return true;
    return false;
  }

  #linkTo(record: PeerRecord): Link {
    const { newPeerMs, firstOpenMs } = this.#context.limits;
    const isReturn = this.#former.get(record.name) === record.incarnation;
    this.#former.delete(record.name);
    const waitMs = this.#knowsPeers ? newPeerMs : firstOpenMs;
    return new Link(record, this.#context, { waitMs, isReturn });
  }

  #remember({ name, incarnation }: PeerRecord): void {
    this.#former.delete(name);
    this.#former.set(name, incarnation);
    const [oldest] = this.#former.keys();
    if (this.#former.size > this.#context.limits.formerLives) this.#former.delete(oldest!);
  }

  #retire(link: Link): void {
    this.#retired.add(link);
    link.retire(() => {
      this.#retired.delete(link);
      if (this.#retired.size === 0) this.#onDrained();
    });
  }

  #judge(hello: PeerGreeting): Verdict {
    const { self, groups } = this.#context;
    if (hello.expects !== self.incarnation) {
      return refuse("incarnation", `this is ${self.name} in its life ${self.incarnation}, not ${hello.expects}`);
    }
    const record = this.#links.get(hello.name)?.record;
    if (record?.incarnation === hello.incarnation) {
      if (!dials(hello.name, self.name)) return refuse("direction", "the peer with the smaller name dials");
      return { welcome: groups.greeting(hello.incarnation) };
    }
    const detail = `${self.name} does not list ${hello.name} in its life ${hello.incarnation}`;
    // The roster changed after the proof. Incarnations are ULIDs, which sort by time: if a later life is listed, this
    // one is over.
    return refuse(record !== undefined && record.incarnation > hello.incarnation ? "outlived" : "stranger", detail);
  }
}

function refuse(code: string, detail: string): { refuse: Refusal } {
  return { refuse: { code, detail } };
}

/** Compares only life, URL and key: state, weight and zone may change while a connection is open. */
function isSameLife(a: PeerRecord, b: PeerRecord): boolean {
  return a.incarnation === b.incarnation && a.url === b.url && a.key === b.key;
}

/** Incarnations are ULIDs, so the latest life has the greatest. */
function ofLatestLives(records: readonly PeerRecord[]): PeerRecord[] {
  const latest = new Map<string, string>();
  for (const { name, incarnation } of records) {
    if (incarnation > (latest.get(name) ?? "")) latest.set(name, incarnation);
  }
  return records.filter(({ name, incarnation }) => incarnation === latest.get(name));
}
