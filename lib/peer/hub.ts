import { setImmediate } from "node:timers";
import type { WSEvents } from "hono/ws";
import type { Clock } from "../core/base/clock.ts";
import type { ProbedPeer } from "../core/liveness/liveness.ts";
import type { Log } from "../core/base/log.ts";
import type { Peer } from "../core/ports.ts";
import type { PeerRecord } from "../core/roster.ts";
import { FrameWriter } from "./wire/writer.ts";
import { MessageType } from "./wire/frames.ts";
import { type Greeting, greetingOf, type Refusal, type Self } from "./wire/greeting.ts";
import { PEER_LIMITS, type PeerLimits } from "./limits.ts";
import { dials, Link, type LinkContext, type LinkState } from "./link.ts";
import type { Schedule } from "./channel/outbox.ts";
import { Reception, type Verdict } from "./reception.ts";
import type { PeerService } from "./service.ts";
import { acceptEvents, type SocketLike } from "./socket/socket.ts";
import { dialTcp } from "./socket/tcp.ts";

export interface PeerHubOptions {
  readonly self: Self;
  /** Every group that this node serves. */
  readonly groups: readonly string[];
  /** The revision of each group's roster now; told in greetings. */
  readonly revisions: () => Readonly<Record<string, number>>;
  /** Whether this node has nothing of a group, in memory or in the air; told in greetings. @default never */
  readonly isEmpty?: (group: string) => boolean;
  readonly service: PeerService;
  /** A peer that the roster does not tell of wants to connect, and goes on wanting to. @default nothing */
  readonly onUnlisted?: () => void;
  /** A peer polls this node, which is answered without it. @default nothing */
  readonly onProbed?: () => void;
  readonly clock: Clock;
  readonly log: Log;
  /** @default dialTcp */
  readonly openSocket?: (url: string) => SocketLike;
  /** @default setImmediate: after the sockets that are readable now, so that one frame takes all they asked */
  readonly schedule?: Schedule;
  /** @default Math.random */
  readonly random?: () => number;
  readonly limits?: Partial<PeerLimits>;
}

export interface LinkStats {
  readonly name: string;
  readonly state: LinkState;
  /** Connections opened so far, the one that stands included. */
  readonly opens: number;
  /** Of the connection that stands; 0 when there is none. */
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
  readonly #reception: Reception;
  #links: ReadonlyMap<string, Link> = new Map();
  /** Links to peers that left, which still finish what is in flight. */
  readonly #retired = new Set<Link>();
  #closed = false;
  #onDrained = (): void => {};

  /** @throws RangeError so many groups that a hello cannot hold them */
  constructor(options: PeerHubOptions) {
    const { self, clock, log, groups, revisions, isEmpty = () => false, service } = options;
    const limits = { ...PEER_LIMITS, ...options.limits };
    this.#context = {
      self,
      groups,
      greeting: (expects) => greetingOf(self, expects, groups, revisions(), isEmpty),
      service,
      onProbed: options.onProbed ?? (() => {}),
      clock,
      log,
      limits,
      schedule: options.schedule ?? setImmediate,
      openSocket: options.openSocket ?? dialTcp,
      random: options.random ?? Math.random,
    };
    this.#reception = new Reception({
      judge: (hello) => this.#judge(hello),
      onGreeted: (socket, hello) => this.#links.get(hello.name)!.open(socket, hello),
      onHeld: options.onUnlisted ?? (() => {}),
      clock,
      log,
      limits,
    });
    const widest = Object.fromEntries(groups.map((group) => [group, Number.MAX_SAFE_INTEGER]));
    new FrameWriter().greeting(MessageType.hello, greetingOf(self, self.incarnation, groups, widest, () => false));
  }

  /**
   * All peers of all groups, oneself among them or not; replaces what was set before. Of a peer its latest life counts: the
   * groups hear one after the other that it has started anew, and the one that heard first is to have the link that stays.
   *
   * Of a peer that is gone, what is in flight is finished when it was draining before: it has said goodbye, and lets go
   * by itself. Else it was evicted: whoever waits for it is to fall back at once.
   */
  setPeers(records: readonly PeerRecord[]): void {
    if (this.#closed) return;
    const before = this.#links;
    const links = new Map<string, Link>();
    for (const record of ofLatestLives(records)) {
      const { name } = record;
      if (name === this.#context.self.name) continue;
      const known = links.get(name);
      if (known !== undefined) {
        // It drains as a whole, whichever group is heard of first.
        if (record.state === "draining") known.learn(record);
        continue;
      }
      const link = before.get(name);
      if (link !== undefined && isSameLife(link.record, record)) {
        link.learn(record);
        links.set(name, link);
      } else {
        link?.close("it has started anew");
        links.set(name, new Link(record, this.#context));
      }
    }
    this.#links = links;
    for (const [name, link] of before) {
      if (links.has(name)) continue;
      if (link.record.state === "draining") this.#retire(link);
      else link.close("it was taken off the roster");
    }
    this.#reception.review();
  }

  /** `undefined` for oneself and for whom the roster does not list. */
  peer(name: string): Peer | undefined {
    return this.#links.get(name);
  }

  /** As `peer`: the one to be polled. */
  link(name: string): ProbedPeer | undefined {
    return this.#links.get(name);
  }

  /** Every peer that the roster lists, but oneself. */
  probed(): ProbedPeer[] {
    return [...this.#links.values()];
  }

  /** Whether a peer has neither been connected with yet nor been given up. */
  get isConnecting(): boolean {
    return [...this.#links.values()].some((link) => link.isConnecting);
  }

  /** Whether every peer is connected. */
  get isWhole(): boolean {
    return [...this.#links.values()].every(({ state }) => state === "open");
  }

  /** Events of one connection at PEER_PATH, for Hono's `upgradeWebSocket`. */
  endpoint(): WSEvents {
    return acceptEvents((socket) => this.#reception.enter(socket));
  }

  /** Takes an accepted socket that is open. */
  accept(socket: SocketLike): void {
    this.#reception.enter(socket);
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
        asksInFlight: channel?.inFlight.asks ?? 0,
        servedInFlight: channel?.inFlight.served ?? 0,
        framesOut: channel?.framesOut ?? 0,
        framesIn: channel?.framesIn ?? 0,
        bytesOut: channel?.bytesOut ?? 0,
      };
    });
  }

  /**
   * Takes no more peers and asks, finishes what is in flight, each link within its bound, and closes. To be called when
   * this node is off the roster.
   */
  async drain(): Promise<void> {
    const links = [...this.#links.values()];
    this.#links = new Map();
    this.#closed = true;
    for (const link of links) this.#retire(link);
    this.#reception.review();
    if (this.#retired.size > 0) await new Promise<void>((drained) => this.#onDrained = drained);
  }

  /** Fails what is in flight and closes every connection. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#reception.close();
    for (const link of [...this.#links.values(), ...this.#retired]) link.close("this node is closing");
    this.#links = new Map();
    this.#retired.clear();
  }

  #retire(link: Link): void {
    this.#retired.add(link);
    link.retire(() => {
      this.#retired.delete(link);
      if (this.#retired.size === 0) this.#onDrained();
    });
  }

  #judge(hello: Greeting): Verdict {
    const { self, greeting } = this.#context;
    if (hello.expects !== self.incarnation) {
      return refuse("incarnation", `this is ${self.name} in its life ${self.incarnation}, not ${hello.expects}`);
    }
    const record = this.#links.get(hello.name)?.record;
    if (record?.incarnation === hello.incarnation) {
      if (!dials(hello.name, self.name)) return refuse("direction", "the peer with the smaller name dials");
      return { welcome: greeting(hello.incarnation) };
    }
    const detail = `${self.name} does not list ${hello.name} in its life ${hello.incarnation}`;
    // Incarnations are ULIDs: an earlier one will not come back, a later one the roster may be about to tell of.
    if (record !== undefined && record.incarnation > hello.incarnation) return refuse("outlived", detail);
    return { hold: { code: "stranger", detail } };
  }
}

function refuse(code: string, detail: string): { refuse: Refusal } {
  return { refuse: { code, detail } };
}

/** State, weight and zone may change under a standing connection. */
function isSameLife(a: PeerRecord, b: PeerRecord): boolean {
  return a.incarnation === b.incarnation && a.url === b.url;
}

/** Incarnations are ULIDs, so the latest life has the greatest. */
function ofLatestLives(records: readonly PeerRecord[]): PeerRecord[] {
  const latest = new Map<string, string>();
  for (const { name, incarnation } of records) {
    if (incarnation > (latest.get(name) ?? "")) latest.set(name, incarnation);
  }
  return records.filter(({ name, incarnation }) => incarnation === latest.get(name));
}
