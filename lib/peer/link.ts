import { SayOnce } from "../core/base/logs/say-once.ts";
import { OverloadedError, PeerError } from "../core/errors.ts";
import type { Label } from "../core/invalidation/label.ts";
import type { ProbedPeer, Suspect } from "../core/liveness/probed-peer.ts";
import { type Ask, asked, type AskOptions, type Entry, type Peer, type PushOptions } from "../core/ports.ts";
import type { PeerRecord } from "../core/roster.ts";
import type { Value } from "../core/value.ts";
import { Channel } from "./channel/channel.ts";
import { Dialer, type OpenSocket } from "./dialer.ts";
import { Opening } from "./opening.ts";
import type { OwnGreeting } from "./own-groups.ts";
import { Introduction, type Prover } from "./proof/introduction.ts";
import type { ChannelContext } from "./service.ts";
import { CloseCode, type SocketLike } from "./socket/socket.ts";
import type { ProtocolRange } from "./wire/frames.ts";
import { isSignOfLife, type PeerGreeting, type Refusal, type Self } from "./wire/greeting.ts";

/**
 * `connecting`: the peer is new; asks wait for it for a bounded time. `open`: both ends have greeted. `down`: asks fail
 * at once until it opens again.
 */
export type LinkState = "connecting" | "open" | "down";

export interface LinkContext extends ChannelContext {
  readonly self: Self;
  readonly prover: Prover;
  /** The versions that this node speaks. */
  readonly protocol: ProtocolRange;
  readonly openSocket: OpenSocket;
  readonly random: () => number;
  /** This node's label in the log of invalidations, by its last announcement. */
  readonly applied: () => Label | undefined;
  /** Called when `isConnecting` of a link may have changed. */
  readonly onChange: () => void;
  /** When a peer welcomed this node for the first time; Infinity: no peer has. */
  readonly welcomedAtMs: () => number;
  /** Called when the peer was reached: a connection opened, or the peer says that it does not list this node. */
  readonly onReached: (record: PeerRecord) => void;
}

/** How the peer came onto the roster. */
export interface LinkOptions {
  /** How long gets wait for the first connection. */
  readonly waitMs: number;
  /** Whether this life left the roster and is back: most nodes could not reach it. Its link is down until it opens. */
  readonly isReturn: boolean;
}

/** The most different refusals, and faults, to log per link; both come from the other end. Chosen. */
const MAX_SAID = 16;

/** The share of a probe's time after which other bytes of the peer count as its answer. Chosen. */
const SHARE_OF_PROBE = 0.95;

/** In each pair of nodes the one with the smaller name dials, so that there is one connection and no race for it. */
export function dials(self: string, peer: string): boolean {
  return self < peer;
}

/** One life of a peer: the connection to it, or the attempts to connect. */
export class Link implements Peer, ProbedPeer {
  readonly name: string;
  readonly #context: LinkContext;
  /** The end that waits to be dialed also has a dialer until then: its hello makes it known to the peer. */
  readonly #dialer: Dialer;
  readonly #refusalsSaid: SayOnce;
  /** Kept over all connections, as a peer may break the rules on each of them. */
  readonly #faultsSaid: SayOnce;
  #record: PeerRecord;
  #state: LinkState = "connecting";
  #channel: Channel | undefined;
  #downBecause = "not connected yet";
  #closed = false;
  readonly #opening: Opening;
  readonly #sinceMs: number;
  /** Gets that come before this time wait until this time. */
  readonly #waitUntilMs: number;
  #cancelFirstOpen: () => void;
  #cancelKnock = (): void => {};
  /** Whether the peer lives but refused the last attempt, as it does not list this node yet. */
  #isUnknownThere = false;
  #cancelUnknown = (): void => {};
  /** The connection to a peer that left. It finishes its asks. */
  #retired: Channel | undefined;
  opens = 0;

  constructor(record: PeerRecord, context: LinkContext, { waitMs, isReturn }: LinkOptions) {
    this.name = record.name;
    this.#record = record;
    this.#context = context;
    this.#opening = new Opening(record.name, context.clock);
    this.#refusalsSaid = new SayOnce({ clock: context.clock, maxSaid: MAX_SAID });
    this.#faultsSaid = new SayOnce({ clock: context.clock, maxSaid: MAX_SAID });
    this.#sinceMs = context.clock.nowMs();
    this.#waitUntilMs = this.#sinceMs + waitMs;
    const { firstOpenMs, knockAfterMs } = context.limits;
    this.#cancelFirstOpen = context.clock.after(firstOpenMs, () => this.#late(`not open after ${firstOpenMs} ms`));
    if (isReturn) this.#down("it left the roster and is back");
    this.#dialer = this.#makeDialer();
    if (this.#isDialing) this.#dialer.dial();
    else this.#cancelKnock = context.clock.after(knockAfterMs, () => this.#dialer.dial());
  }

  get #isDialing(): boolean {
    return dials(this.#context.self.name, this.name);
  }

  /** The latest record of this life. */
  get record(): PeerRecord {
    return this.#record;
  }

  /** Takes a newer record. State, weight and zone may change while a connection is open. */
  learn(record: PeerRecord): void {
    this.#record = record;
  }

  get state(): LinkState {
    return this.#state;
  }

  /** Whether it may open soon: the peer is new, or it lives but does not list this node yet, for a bounded time. */
  get isConnecting(): boolean {
    const isWaitedFor = this.#isUnknownThere && this.#context.clock.nowMs() < this.#unknownUntilMs;
    return this.#state === "connecting" || isWaitedFor;
  }

  get #unknownUntilMs(): number {
    const { limits: { unknownMs, lateUnknownMs }, welcomedAtMs } = this.#context;
    return Math.min(this.#sinceMs + unknownMs, Math.max(this.#sinceMs, welcomedAtMs()) + lateUnknownMs);
  }

  get isOpen(): boolean {
    return this.#channel !== undefined;
  }

  /** The open connection. */
  get channel(): Channel | undefined {
    return this.#channel;
  }

  /**
   * Asks the peer as owner. The ask is rejected with the owner's final answers; BehindError if the peer is behind the
   * ask; PeerError if the peer cannot be reached, is lost or silent; OverloadedError if too many asks are in flight;
   * the signal's reason when it aborts.
   */
  ask(group: string, key: string, ask: Ask): void {
    const channel = this.#channel;
    if (channel !== undefined) return channel.get(group, key, ask);
    if (this.#state !== "connecting" || this.#context.clock.nowMs() >= this.#waitUntilMs) {
      return ask.reject(this.#downError());
    }
    const { asksInFlight } = this.#context.limits;
    if (this.#opening.waiters >= asksInFlight) {
      return ask.reject(new OverloadedError(`${asksInFlight} asks wait for ${this.name} to be connected`));
    }
    const { signal, request, after } = ask;
    this.#opening.wait(
      ask,
      (opened, timeoutMs) => asked({ signal, timeoutMs, request, after }, (later) => opened.get(group, key, later)),
      this.#waitUntilMs,
    ).then((value) => ask.resolve(value), (error) => ask.reject(error));
  }

  /** When the peer said on the open connection that it had no value of the group, if it did. */
  emptyAtMs(group: string): number | undefined {
    return this.#channel?.emptyAtMs(group);
  }

  /**
   * The value that the peer has in memory or is loading. It does not wait for a link that is down, as a peek only saves
   * a load. It waits for a link that is connecting, as a joining node looks for its values while its links open.
   *
   * @throws PeerError, BadKeyError; the signal's reason when it aborts
   */
  peek(group: string, key: string, options: AskOptions): Promise<Value | undefined> {
    return this.#onceOpen(options, (channel, timeoutMs) => channel.peek(group, key, { ...options, timeoutMs }));
  }

  /**
   * Hands over at most MAX_ENTRIES entries, of MAX_PUSH_BYTES together. Resolves to the number that the peer took. Leaves out
   * entries that no frame can hold. Waits like a peek: in a rolling restart the next owner has often just come back.
   *
   * @throws PeerError; RangeError more than fits into one message; the signal's reason when it aborts
   */
  push(group: string, entries: readonly Entry[], options: PushOptions): Promise<number> {
    return this.#onceOpen(options, (channel, timeoutMs) => channel.push(group, entries, { ...options, timeoutMs }));
  }

  /**
   * Resolves to the peer's label when it has reached `label`, or shortly before the time is over. Waits for the
   * connection like a peek.
   *
   * @throws PeerError; the signal's reason when it aborts
   */
  catchUp(label: Label, options: AskOptions): Promise<Label> {
    return this.#onceOpen(options, (channel, timeoutMs) => channel.catchUp(label, { ...options, timeoutMs }));
  }

  /** The last label that the peer told over the open connection, if it told one. */
  get applied(): Label | undefined {
    return this.#channel?.applied;
  }

  /** Tells this node's label to the peer, if the link is open. */
  announceApplied(label: Label): void {
    this.#channel?.announceApplied(label);
  }

  #onceOpen<T>(options: AskOptions, ask: (channel: Channel, timeoutMs: number) => Promise<T>): Promise<T> {
    if (this.#channel !== undefined) return ask(this.#channel, options.timeoutMs);
    const { asksInFlight } = this.#context.limits;
    if (this.#opening.isOver || this.#opening.waiters >= asksInFlight) return Promise.reject(this.#downError());
    return this.#opening.wait(options, ask);
  }

  /**
   * Resolves when the peer replied in this life; a refusal because it does not list this node is a reply, too. If the
   * link is down, it fails and dials at once, so that the next probe has fresh evidence.
   *
   * @throws PeerError; OverloadedError it was not sent, as too many asks are in flight
   */
  probe({ timeoutMs }: { timeoutMs: number }): Promise<void> {
    const channel = this.#channel;
    if (channel !== undefined) return this.#probeOver(channel, timeoutMs);
    if (this.#isUnknownThere) {
      this.#dialer.hurry();
      return Promise.resolve();
    }
    if (this.#state === "connecting") {
      return this.#opening.wait({ timeoutMs }, (opened, leftMs) => this.#probeOver(opened, leftMs));
    }
    this.#dialer.hurry();
    return Promise.reject(this.#downError());
  }

  /** @throws PeerError this peer cannot be asked, or cannot tell */
  probeIndirectly(suspect: Suspect, { timeoutMs }: { timeoutMs: number }): Promise<boolean> {
    return this.#channel?.probeIndirectly(suspect, timeoutMs) ?? Promise.reject(this.#downError());
  }

  /**
   * Takes a dialed or accepted connection on which both ends have greeted. It replaces the former one, which may be
   * half dead.
   */
  open(socket: SocketLike, greeting: PeerGreeting, own: OwnGreeting): void {
    this.#channel?.close(CloseCode.replaced, "replaced by a newer connection");
    const channel = new Channel(socket, greeting, own, this.#context, (reason, isFault) => {
      if (isFault) this.#faulted(reason);
      if (this.#channel !== channel) return;
      this.#channel = undefined;
      this.#down(reason);
      if (this.#isDialing) this.#dialer.redial();
    });
    this.#channel = channel;
    this.#state = "open";
    this.opens++;
    this.#setUnknownThere(false);
    if (!this.#isDialing) this.#endKnocking();
    this.#cancelFirstOpen();
    this.#refusalsSaid.forget();
    this.#context.log.debug(`peer ${this.name}: connected`, {}, { peer: this.name });
    // The groups may have changed since this node's greeting, and asks that waited may be for a new group.
    channel.announceGroups();
    const applied = this.#context.applied();
    if (applied !== undefined) channel.announceApplied(applied);
    this.#opening.open(channel);
    this.#context.onChange();
    this.#context.onReached(this.#record);
  }

  /** Tells the peer the changes of this node's groups. */
  announceGroups(): void {
    (this.#channel ?? this.#retired)?.announceGroups();
  }

  /** To be called when the peer left the roster: finishes the asks in flight within a bound, then closes. Idempotent. */
  retire(onClosed: () => void): void {
    const channel = this.#channel;
    this.#stop("it left the roster");
    if (channel === undefined) return onClosed();
    const close = () => channel.close(CloseCode.removed, "it left the roster");
    const cancelLinger = this.#context.clock.after(this.#context.limits.lingerMs, close);
    this.#retired = channel;
    channel.whenIdle(() => {
      cancelLinger();
      close();
      onClosed();
    });
  }

  /** Fails the asks in flight. Idempotent. */
  close(reason: string): void {
    (this.#channel ?? this.#retired)?.close(CloseCode.removed, reason);
    this.#stop(reason);
  }

  #stop(reason: string): void {
    this.#closed = true;
    this.#channel = undefined;
    this.#endKnocking();
    this.#down(reason);
  }

  #endKnocking(): void {
    this.#cancelKnock();
    this.#dialer.stop();
  }

  /** From now on gets do not wait for it. Peeks, pushes and catch-ups still do, within their own time. */
  #late(reason: string): void {
    this.#state = "down";
    this.#downBecause = reason;
    this.#context.onChange();
  }

  #down(reason: string): void {
    this.#cancelFirstOpen();
    this.#setUnknownThere(false);
    const facts = { peer: this.name, reason };
    if (this.#state === "open") this.#context.log.debug(`peer ${this.name}: connection lost: ${reason}`, {}, facts);
    this.#state = "down";
    this.#downBecause = reason;
    this.#opening.fail(reason);
    this.#context.onChange();
  }

  #setUnknownThere(isUnknown: boolean): void {
    if (this.#isUnknownThere === isUnknown) return;
    this.#isUnknownThere = isUnknown;
    if (isUnknown) this.#context.onReached(this.#record);
    this.#cancelUnknown();
    const { clock, onChange } = this.#context;
    const leftMs = this.#unknownUntilMs - clock.nowMs();
    this.#cancelUnknown = isUnknown && leftMs > 0 ? clock.after(leftMs, onChange) : () => {};
  }

  #downError(): PeerError {
    return new PeerError(`${this.name} is ${this.#state === "down" ? "down" : "not connected"}: ${this.#downBecause}`);
  }

  #probeOver(channel: Channel, timeoutMs: number): Promise<void> {
    const { incarnation } = channel.remote;
    // Less than the prober's own time: first the channel checks whether other bytes came from the peer meanwhile.
    if (incarnation === this.#record.incarnation) return channel.probe(timeoutMs * SHARE_OF_PROBE);
    return Promise.reject(
      new PeerError(`${this.name} is in its life ${incarnation}, not the one that the roster lists`),
    );
  }

  #faulted(reason: string): void {
    if (!this.#faultsSaid.isNews(reason)) return;
    this.#context.log.warn(`peer ${this.name}: connection closed: ${reason}`, {}, { peer: this.name, reason });
  }

  #makeDialer(): Dialer {
    const { prover, groups, protocol, clock, limits, random, openSocket } = this.#context;
    return new Dialer({
      url: this.record.url,
      openSocket,
      introduce: () => new Introduction(prover, this.record),
      protocol,
      hello: () => groups.greeting(this.record.incarnation),
      check: (welcome) => this.#checkWelcome(welcome),
      clock,
      limits,
      random,
      onOpen: (socket, welcome, hello) => this.open(socket, welcome, hello),
      onFailure: (refusal) => this.#dialFailed(refusal),
    });
  }

  #checkWelcome({ name, incarnation, expects }: PeerGreeting): Refusal | undefined {
    const { self } = this.#context;
    if (!this.#isDialing) return { code: "malformed", detail: `${name} should dial, not welcome` };
    if (name === this.name && incarnation === this.record.incarnation && expects === self.incarnation) return undefined;
    return { code: "incarnation", detail: `${this.record.url} is ${name} in its life ${incarnation}` };
  }

  #dialFailed(refusal: Refusal): void {
    if (this.#closed) return;
    const { code, detail } = refusal;
    // The peer can be reached, but its roster may not list this node yet: asks continue to wait.
    if (isSignOfLife(refusal)) {
      this.#setUnknownThere(true);
      this.#context.onChange();
      if (!this.isConnecting) this.#opening.fail(`${code}: ${detail}`);
    } else this.#down(`${code}: ${detail}`);
    if (code === "direction" || !this.#refusalsSaid.isNews(code)) return;
    this.#context.log.warn(`cannot connect to peer ${this.name}: ${code}: ${detail}`, {}, {
      peer: this.name,
      code,
      detail,
    });
  }
}
