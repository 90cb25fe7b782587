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
  /** The key pair of this life; its public key stands in this node's record. */
  readonly identity: Identity;
  /** @default verify (proof/keys.ts) */
  readonly verify?: Verify;
  /** The groups that this node has from the start; `addGroup` and `removeGroup` change them. */
  readonly groups: readonly string[];
  /** The revision of each group's roster now; peers are told it. */
  readonly revisions: () => Readonly<Record<string, number>>;
  /**
   * Whether this node has nothing of a group, in memory or in flight; peers are told it. Called for groups that this node
   * has, from the constructor or `addGroup` on.
   *
   * @default never
   */
  readonly isEmpty?: (group: string) => boolean;
  readonly service: PeerService;
  /** One that the roster does not list wants to connect: called again and again while it does. @default nothing */
  readonly onUnlisted?: () => void;
  /** A peer was reached: a connection has opened, or the peer says that it does not list this node. @default nothing */
  readonly onReached?: (record: PeerRecord) => void;
  /** A peer has probed this node; the hub has replied. @default nothing */
  readonly onProbed?: () => void;
  /**
   * Called once each time when no link is connecting any more: each is open, or down, or was given up. Also after a
   * `setPeers` that leaves no link at all. Never called within `setPeers`. Must not throw.
   *
   * @param isWhole whether every link is open
   * @default nothing
   */
  readonly onSettled?: (isWhole: boolean) => void;
  readonly clock: Clock;
  readonly log: Log;
  /** @default dialTcp, which trusts the system's authorities */
  readonly openSocket?: OpenSocket;
  /** @default setImmediate: runs after the sockets that are readable now, so that one frame takes the asks of all */
  readonly schedule?: Schedule;
  /** @default Math.random */
  readonly random?: () => number;
  readonly limits?: Partial<PeerLimits>;
  /** The protocol versions that this node speaks: a test plays another release. @default PROTOCOL */
  readonly protocol?: ProtocolRange;
}

export interface LinkStats {
  readonly name: string;
  readonly state: LinkState;
  /** Connections so far, with the open one. */
  readonly opens: number;
  /** This and the figures below belong to the open connection; 0 when there is none. */
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
  /** Links to peers that left, which finish their asks. */
  readonly #retired = new Set<Link>();
  /** The last life of each peer that left the roster, by its name; the one that left first comes first. */
  readonly #former = new Map<string, string>();
  /** What `announceApplied` was told last. */
  #applied: Label | undefined;
  #closed = false;
  #isSettled = false;
  /** Whether its links have settled since this node started. */
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
   * From now on this node asks and is asked for the group as well. Every peer is told, now or in the next greeting.
   * A group that is there already is left as it is.
   *
   * @throws RangeError the name has not 1 to 256 well-formed characters, or no greeting could hold the groups; nothing
   * has changed then
   */
  addGroup(name: string): void {
    if (this.#groups.add(name)) this.#announceGroups();
  }

  /** @throws RangeError no greeting could hold these groups together: `addGroup` would refuse one of them */
  checkGroups(names: readonly string[]): void {
    this.#groups.checkSize(names);
  }

  /**
   * From now on asks for the group fail with a PeerError, this node's at once and the peers' by a reply. Asks in flight
   * get their replies. A group that is not there is no error.
   */
  removeGroup(name: string): void {
    if (this.#groups.remove(name)) this.#announceGroups();
  }

  /**
   * Replaces the peers: those of all groups, this node among them or not. The latest life of a peer counts. The groups hear
   * one after the other that a peer has started anew, and the link made for the first of them must stay.
   *
   * A peer that is gone and was draining before has said goodbye: its link finishes the asks in flight. Any other peer
   * that is gone was evicted: its asks fail at once, so that they fall back.
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
        // A node drains in all its groups at once, whichever roster tells of it first.
        if (record.state === "draining") known.learn(record);
        continue;
      }
      const link = before.get(name);
      if (link !== undefined && isSameLife(link.record, record)) {
        link.learn(record);
        links.set(name, link);
      } else {
        link?.close("it has started anew");
        links.set(name, this.#linkTo(record));
        isChange = true;
      }
    }
    this.#links = links;
    for (const [name, link] of before) {
      if (links.has(name)) continue;
      this.#remember(link.record);
      if (link.record.state === "draining") this.#retire(link);
      else link.close("it was taken off the roster");
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
   * Tells all connected peers where this node is in the log of invalidations; a peer that connects later is told then. The
   * same label again tells nothing.
   *
   * @throws RangeError the label's numbers are not whole, or are below 0
   */
  announceApplied(label: Label): void {
    if (this.#applied !== undefined && areSame(this.#applied, label)) return;
    checkLabel(label);
    this.#applied = label;
    for (const link of this.#links.values()) link.announceApplied(label);
  }

  /**
   * Where the connected peers are in the log, by their names: what each has told last, by an announcement or in reply to a
   * catch-up. A peer that has told nothing on its connection is not in it.
   */
  applied(): ReadonlyMap<string, Label> {
    const labels = new Map<string, Label>();
    for (const [name, { applied }] of this.#links) if (applied !== undefined) labels.set(name, applied);
    return labels;
  }

  /** As `peer`, to be probed. */
  link(name: string): ProbedPeer | undefined {
    return this.#links.get(name);
  }

  /** Where a peer takes HTTP requests; `undefined` while there is no open connection to it. */
  urlOf(name: string): string | undefined {
    const link = this.#links.get(name);
    return link?.state === "open" ? link.record.url : undefined;
  }

  /** Every peer that the roster lists, but this node. */
  probed(): ProbedPeer[] {
    return [...this.#links.values()];
  }

  /** Whether `onSettled` was called and no link has been connecting since. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  /**
   * The answer to a claim: fields for a 426 at PEER_PATH (proof/fields.ts). None when the request makes no claim.
   *
   * @param fields those of a request that asks for no upgrade
   */
  async challenge(fields: Headers): Promise<Record<string, string>> {
    const challenge = fields.has("origin") ? undefined : await this.#gate.challenge(fields.get(CLAIM));
    return challenge === undefined ? {} : { [CHALLENGE]: challenge };
  }

  /**
   * Resolves to who wants to upgrade, once it has proved to be a peer; to nothing when it has not, within `heldProofMs`.
   *
   * @param fields those of the request to upgrade. A web page's have `Origin`, and are refused
   * @param gone the client has given up
   */
  async admit(fields: Headers, gone?: CancelSignal): Promise<Self | undefined> {
    return fields.has("origin") ? undefined : await this.#gate.admit(fields.get(PROOF), gone);
  }

  /** Events of one connection that was upgraded for `admitted`, as Hono has them. */
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
   * Takes no more peers and asks, finishes the asks in flight, each link within its bound, and closes. To be called when
   * this node is off the roster.
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

  /** Calls `onSettled` in a microtask, if no link is connecting then: a caller of the hub is never called back at once. */
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
        // A node starts with no link at all, before it has read a list.
        this.#knowsPeers ||= this.#links.size > 0;
        this.#onSettled([...this.#links.values()].every(({ state }) => state === "open"));
      });
    }
  }

  /** From the first welcome on, the peers that still refuse this node are waited for less long. */
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
    // The roster has changed since the proof. Incarnations are ULIDs, so they sort by time: an earlier life does not come back.
    return refuse(record !== undefined && record.incarnation > hello.incarnation ? "outlived" : "stranger", detail);
  }
}

function refuse(code: string, detail: string): { refuse: Refusal } {
  return { refuse: { code, detail } };
}

/** State, weight and zone may change while a connection is open. */
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
