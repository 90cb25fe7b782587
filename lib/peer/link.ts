import { OverloadedError, PeerError } from "../core/errors.ts";
import type { ProbedPeer, Suspect } from "../core/liveness/liveness.ts";
import { type Ask, asked, type AskOptions, type Entry, type Peer } from "../core/ports.ts";
import type { PeerRecord } from "../core/roster.ts";
import type { Value } from "../core/value.ts";
import { Channel } from "./channel/channel.ts";
import type { ChannelContext } from "./channel/context.ts";
import { Dialer } from "./dialer.ts";
import { type Greeting, isSignOfLife, type Refusal, type Self } from "./wire/greeting.ts";
import { Opening } from "./opening.ts";
import { CloseCode, type SocketLike } from "./socket/socket.ts";

/**
 * `connecting`: the peer is new, asks wait for it, for a bounded time.
 * `open`: both ends have greeted. `down`: asks fail at once, until it opens again.
 */
export type LinkState = "connecting" | "open" | "down";

export interface LinkContext extends ChannelContext {
  readonly self: Self;
  /** One's own greeting for the peer that is in the life `expects`, as things stand now. */
  readonly greeting: (expects: string) => Greeting;
  readonly openSocket: (url: string) => SocketLike;
  readonly random: () => number;
}

/** Codes of refusals, and kinds of faults, come from the other end. */
const MAX_LOGGED = 16;

/** Of each pair the one with the smaller name dials, so that there is one connection and no race for it. */
export function dials(self: string, peer: string): boolean {
  return self < peer;
}

/** One peer in one of its lives: the connection to it, or the effort to have one. */
export class Link implements Peer, ProbedPeer {
  readonly name: string;
  readonly #context: LinkContext;
  /** The peer that waits to be dialed has one, too, until then: to be heard of by a peer that does not know of it yet. */
  readonly #dialer: Dialer;
  readonly #refusalsLogged = new Set<string>();
  /** Not forgotten when the peer connects again: whoever breaks the rules may do so at each connection. */
  readonly #faultsLogged = new Set<string>();
  #record: PeerRecord;
  #state: LinkState = "connecting";
  #channel: Channel | undefined;
  #downBecause = "not connected yet";
  #closed = false;
  readonly #opening: Opening;
  readonly #sinceMs: number;
  #cancelFirstOpen: () => void;
  #cancelKnock = (): void => {};
  /** The last try was refused by the peer that is meant, which does not know of us yet. */
  #isUnknownThere = false;
  /** Still finishes what is in flight. */
  #retired: Channel | undefined;
  opens = 0;

  constructor(record: PeerRecord, context: LinkContext) {
    this.name = record.name;
    this.#record = record;
    this.#context = context;
    this.#opening = new Opening(record.name, context.clock);
    this.#sinceMs = context.clock.nowMs();
    const { firstOpenMs, knockAfterMs } = context.limits;
    this.#cancelFirstOpen = context.clock.after(firstOpenMs, () => this.#late(`not open after ${firstOpenMs} ms`));
    this.#dialer = this.#makeDialer();
    if (this.#isDialing) this.#dialer.dial();
    else this.#cancelKnock = context.clock.after(knockAfterMs, () => this.#dialer.dial());
  }

  get #isDialing(): boolean {
    return dials(this.#context.self.name, this.name);
  }

  /** The latest that was learned, of the one life. */
  get record(): PeerRecord {
    return this.#record;
  }

  /** Its state, weight and zone may change under a standing connection. */
  learn(record: PeerRecord): void {
    this.#record = record;
  }

  get state(): LinkState {
    return this.#state;
  }

  /** Whether it is worth waiting for: it is new, or it lives and has not heard of us yet, which may last for a while. */
  get isConnecting(): boolean {
    const ageMs = this.#context.clock.nowMs() - this.#sinceMs;
    return this.#state === "connecting" || this.#isUnknownThere && ageMs < this.#context.limits.unknownMs;
  }

  /** The connection that stands, for statistics. */
  get channel(): Channel | undefined {
    return this.#channel;
  }

  /**
   * Asks the peer as owner. The question fails with the owner's final answers; PeerError when the peer cannot be reached,
   * is lost or is silent; OverloadedError when too many asks are in the air; the signal's reason when it aborts.
   */
  ask(group: string, key: string, ask: Ask): void {
    const channel = this.#channel;
    if (channel !== undefined) return channel.get(group, key, ask);
    if (this.#state !== "connecting") return ask.reject(this.#downError());
    const { asksInFlight, firstOpenMs } = this.#context.limits;
    if (this.#opening.waiters >= asksInFlight) {
      return ask.reject(new OverloadedError(`${asksInFlight} asks wait for ${this.name} to be connected`));
    }
    const { signal } = ask;
    this.#opening.wait(
      ask,
      (opened, timeoutMs) => asked({ signal, timeoutMs }, (later) => opened.get(group, key, later)),
      this.#sinceMs + firstOpenMs,
    ).then((value) => ask.resolve(value), (error) => ask.reject(error));
  }

  /** When it said that it had nothing of the group, if it did so on the connection that stands. */
  emptyAtMs(group: string): number | undefined {
    return this.#channel?.emptyAtMs(group);
  }

  /**
   * What the peer has in memory or is loading. A peer that cannot be reached is not waited for, as this only spares a
   * load; one that is new or has not heard of us yet is: who joins looks for its values while its links open.
   *
   * @throws PeerError, BadKeyError; the signal's reason when it aborts
   */
  peek(group: string, key: string, options: AskOptions): Promise<Value | undefined> {
    return this.#onceOpen(options, (channel, timeoutMs) => channel.peek(group, key, { ...options, timeoutMs }));
  }

  /**
   * Hands over at most MAX_ENTRIES entries, of MAX_PUSH_BYTES together; resolves with how many the peer took. Those
   * that no frame can hold are left out. Waits as a peek does: in a rolling restart the next owner has often just come
   * back when a node hands over what it has.
   *
   * @throws PeerError; RangeError more than fits into one message; the signal's reason when it aborts
   */
  push(group: string, entries: readonly Entry[], options: AskOptions): Promise<number> {
    return this.#onceOpen(options, (channel, timeoutMs) => channel.push(group, entries, { ...options, timeoutMs }));
  }

  #onceOpen<T>(options: AskOptions, ask: (channel: Channel, timeoutMs: number) => Promise<T>): Promise<T> {
    if (this.#channel !== undefined) return ask(this.#channel, options.timeoutMs);
    const { asksInFlight } = this.#context.limits;
    if (this.#opening.isOver || this.#opening.waiters >= asksInFlight) return Promise.reject(this.#downError());
    return this.#opening.wait(options, ask);
  }

  /**
   * Resolves when the peer has answered, in this life; that it does not know of us yet is an answer, too. Fails at once
   * when the link is down; it is then dialed without the delay that was due, so that the next poll is fresh evidence.
   *
   * @throws PeerError; OverloadedError so many are in the air that it was not sent
   */
  probe({ timeoutMs }: { timeoutMs: number }): Promise<void> {
    const channel = this.#channel;
    if (channel !== undefined) return this.#pollOver(channel, timeoutMs);
    if (this.#isUnknownThere) {
      this.#dialer.hurry();
      return Promise.resolve();
    }
    if (this.#state === "connecting") {
      return this.#opening.wait({ timeoutMs }, (opened, leftMs) => this.#pollOver(opened, leftMs));
    }
    this.#dialer.hurry();
    return Promise.reject(this.#downError());
  }

  /** @throws PeerError this peer cannot be asked, or cannot tell */
  probeIndirectly(suspect: Suspect, { timeoutMs }: { timeoutMs: number }): Promise<boolean> {
    return this.#channel?.probeIndirectly(suspect, timeoutMs) ?? Promise.reject(this.#downError());
  }

  /** A greeted connection, dialed or accepted. A second one replaces the first, which may be half dead. */
  open(socket: SocketLike, greeting: Greeting): void {
    this.#channel?.close(CloseCode.replaced, "replaced by a newer connection");
    const channel = new Channel(socket, greeting, this.#context, (reason, isFault) => {
      if (isFault) this.#faulted(reason);
      if (this.#channel !== channel) return;
      this.#channel = undefined;
      this.#down(reason);
      if (this.#isDialing) this.#dialer.redial();
    });
    this.#channel = channel;
    this.#state = "open";
    this.opens++;
    this.#isUnknownThere = false;
    if (!this.#isDialing) this.#endKnocking();
    this.#cancelFirstOpen();
    this.#opening.open(channel);
    this.#refusalsLogged.clear();
    this.#context.log.debug(`peer ${this.name}: connected`);
  }

  /** The peer has left the roster: finishes what is in flight, within a bound, and closes. Idempotent. */
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

  /** Fails all that is in flight. Idempotent. */
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

  /** Gets go past it from now on; what spares a load still waits, within its own time. */
  #late(reason: string): void {
    this.#state = "down";
    this.#downBecause = reason;
  }

  #down(reason: string): void {
    this.#cancelFirstOpen();
    this.#isUnknownThere = false;
    if (this.#state === "open") this.#context.log.debug(`peer ${this.name}: connection lost: ${reason}`);
    this.#state = "down";
    this.#downBecause = reason;
    this.#opening.fail(reason);
  }

  #downError(): PeerError {
    return new PeerError(`${this.name} is ${this.#state === "down" ? "down" : "not connected"}: ${this.#downBecause}`);
  }

  #pollOver(channel: Channel, timeoutMs: number): Promise<void> {
    const { incarnation } = channel.remote;
    if (incarnation === this.#record.incarnation) return channel.probe(timeoutMs);
    return Promise.reject(new PeerError(`${this.name} is in its life ${incarnation}, not the one that is meant`));
  }

  #faulted(reason: string): void {
    if (this.#faultsLogged.has(reason) || this.#faultsLogged.size >= MAX_LOGGED) return;
    this.#faultsLogged.add(reason);
    this.#context.log.warn(`peer ${this.name}: connection closed: ${reason}`);
  }

  #makeDialer(): Dialer {
    const { greeting, clock, limits, random, openSocket } = this.#context;
    return new Dialer({
      url: this.record.url,
      openSocket,
      hello: () => greeting(this.record.incarnation),
      check: (welcome) => this.#checkWelcome(welcome),
      clock,
      limits,
      random,
      onOpen: (socket, welcome) => this.open(socket, welcome),
      onFailure: (refusal) => this.#dialFailed(refusal),
    });
  }

  #checkWelcome({ name, incarnation, expects }: Greeting): Refusal | undefined {
    const { self } = this.#context;
    if (!this.#isDialing) return { code: "malformed", detail: `${name} was to dial, not to welcome` };
    if (name === this.name && incarnation === this.record.incarnation && expects === self.incarnation) return undefined;
    return { code: "incarnation", detail: `${this.record.url} is ${name} in its life ${incarnation}` };
  }

  #dialFailed(refusal: Refusal): void {
    if (this.#closed) return;
    const { code, detail } = refusal;
    const said = `peer ${this.name}: ${code}: ${detail}`;
    // A peer that is new in our roster may not have us in its own yet: it is reachable, asks go on waiting.
    if (isSignOfLife(refusal)) {
      this.#isUnknownThere = true;
      if (!this.isConnecting) this.#opening.fail(`${code}: ${detail}`);
    } else this.#down(`${code}: ${detail}`);
    if (code === "direction") return;
    if (this.#refusalsLogged.has(code) || this.#refusalsLogged.size >= MAX_LOGGED) return;
    this.#refusalsLogged.add(code);
    this.#context.log.warn(`cannot connect to ${said}`);
  }
}
