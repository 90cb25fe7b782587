/** Sockets in memory that obey the rules of the real ones: they copy a frame, and deliver it in a later turn. */
import { type Ask, asked, type AskOptions, type Peer } from "../../lib/core/ports.ts";
import type { Value } from "../../lib/core/value.ts";
import type { PeerLimits } from "../../lib/peer/limits.ts";
import { PeerHub, type PeerHubOptions } from "../../lib/peer/hub.ts";
import type { SocketHandler, SocketLike } from "../../lib/peer/socket/socket.ts";
import { CHALLENGE, CLAIM, PROOF } from "../../lib/peer/proof/fields.ts";
import type { Introduction } from "../../lib/peer/proof/introduction.ts";
import { ManualClock, settle } from "../support/clock.ts";
import { identityOf, verifyAtOnce } from "../support/identity.ts";
import { MemoryLog } from "../support/log.ts";

/** Answers gets, by a promise or at once. */
export type Serve = (group: string, key: string, options: AskOptions) => Value | Promise<Value>;

/** The `get` of a service. */
export function getBy(serve: Serve): (group: string, key: string, ask: Ask) => void {
  return (group, key, ask) => {
    const result = serve(group, key, ask);
    if (result instanceof Promise) result.then((value) => ask.resolve(value), (error) => ask.reject(error));
    else ask.resolve(result);
  };
}

export type HubOptions = Partial<PeerHubOptions> & { limits?: Partial<PeerLimits>; serve?: Serve };

const DEAF: SocketHandler = { opened() {}, received() {}, closed() {} };

export class MemorySocket implements SocketLike {
  handler: SocketHandler = DEAF;
  other!: MemorySocket;
  /** Bytes that the other end has not read. */
  bufferedBytes = 0;
  /** The other end reads nothing while set. */
  stalled = false;
  /** The path drops every packet from here: the system takes them, and nothing reaches the other end, not even a close. */
  isBlackHole = false;
  closedWith: { code: number; reason: string } | undefined;
  readonly frames: Uint8Array<ArrayBuffer>[] = [];
  #unread: Uint8Array<ArrayBuffer>[] = [];

  send(frame: Uint8Array<ArrayBuffer>): boolean {
    if (this.closedWith !== undefined) return false;
    const copy = frame.slice();
    this.frames.push(copy);
    if (this.isBlackHole) return true;
    this.bufferedBytes += copy.length;
    this.#unread.push(copy);
    if (!this.stalled) queueMicrotask(() => this.deliver());
    return true;
  }

  deliver(): void {
    this.stalled = false;
    const frames = this.#unread;
    this.#unread = [];
    for (const frame of frames) {
      this.bufferedBytes -= frame.length;
      if (this.other.closedWith === undefined) this.other.handler.received(frame);
    }
  }

  /** The other end reads the next frame only. @returns whether there was one */
  deliverOne(): boolean {
    const frame = this.#unread.shift();
    if (frame === undefined) return false;
    this.bufferedBytes -= frame.length;
    if (this.other.closedWith === undefined) this.other.handler.received(frame);
    return true;
  }

  close(code: number, reason: string): void {
    if (this.closedWith !== undefined) return;
    this.closedWith = { code, reason };
    this.handler = DEAF;
    if (!this.isBlackHole) queueMicrotask(() => this.other.lose(reason));
  }

  /** The connection breaks at this end. */
  lose(reason: string, status?: number): void {
    if (this.closedWith !== undefined) return;
    this.closedWith = { code: 1006, reason };
    const handler = this.handler;
    this.handler = DEAF;
    handler.closed(reason, status);
  }
}

/** Asks by a promise. */
export function getFrom(
  peer: Peer,
  group: string,
  key: string,
  options: AskOptions & Pick<Ask, "request"> & Partial<Pick<Ask, "after">>,
): Promise<Value> {
  return asked(options, (ask) => peer.ask(group, key, ask));
}

export function socketPair(): [MemorySocket, MemorySocket] {
  const [a, b] = [new MemorySocket(), new MemorySocket()];
  a.other = b;
  b.other = a;
  return [a, b];
}

/** A hub; or the far end alone, which has proved who it is as if by magic. */
type Host = Pick<PeerHub, "challenge" | "admit" | "accept"> | ((socket: MemorySocket) => void);

/** Hubs by their host name; dialing one that is not listed fails. */
export class MemoryNetwork {
  readonly hosts = new Map<string, Host>();
  /** The dialing end of each connection, in the order of the dials. */
  readonly dialed: MemorySocket[] = [];
  /** When each dial was made, by the clock. */
  readonly dialedAtMs: number[] = [];
  readonly clock = new ManualClock();
  #tick: (() => void)[] = [];

  openSocket = (url: string, introduction: Introduction): SocketLike => {
    const [near, far] = socketPair();
    this.dialed.push(near);
    this.dialedAtMs.push(this.clock.nowMs());
    const host = this.hosts.get(new URL(url).hostname);
    queueMicrotask(() => {
      if (host === undefined) near.lose("connection refused");
      else if (typeof host === "object") void this.#introduce(introduction, host, near, far);
      else {
        host(far);
        near.handler.opened();
      }
    });
    return near;
  };

  /** What tcp.ts and the HTTP server do before the upgrade. */
  async #introduce(
    introduction: Introduction,
    host: Exclude<Host, (socket: MemorySocket) => void>,
    near: MemorySocket,
    far: MemorySocket,
  ): Promise<void> {
    const gone = new AbortController();
    far.handler = { ...DEAF, closed: () => gone.abort() };
    const challenge = await host.challenge(new Headers({ [CLAIM]: introduction.claim }));
    const proof = await introduction.answer(challenge[CHALLENGE]);
    if (proof === undefined) return near.lose("another node answers there");
    const admitted = await host.admit(new Headers({ [PROOF]: proof }), gone.signal);
    if (near.closedWith !== undefined) return;
    if (admitted === undefined) return near.lose("the upgrade was answered with 403", 403);
    host.accept(far, admitted);
    near.handler.opened();
  }

  /** Ends the tick: runs the scheduled actions, and those that they schedule. */
  async tick(): Promise<void> {
    await settle();
    for (let rounds = 0; rounds < 20 && this.#tick.length > 0; rounds++) {
      const due = this.#tick;
      this.#tick = [];
      for (const action of due) action();
      await settle();
    }
  }

  /** @param options.serve a service that answers gets only */
  hub(name: string, { serve, ...options }: HubOptions = {}): PeerHub {
    const self = options.self ?? { name, incarnation: `01-${name}` };
    const hub = new PeerHub({
      self,
      identity: identityOf(self),
      verify: verifyAtOnce,
      groups: ["dict"],
      revisions: () => ({ dict: 3 }),
      service: { get: getBy(serve ?? (() => Promise.reject(new Error("nothing is served here")))) },
      clock: this.clock,
      log: new MemoryLog(),
      openSocket: this.openSocket,
      schedule: (action) => this.#tick.push(action),
      random: () => 1,
      ...options,
      // Tests count seconds by hand.
      limits: { firstOpenMs: 1_000, ...options.limits },
    });
    this.hosts.set(name, hub);
    return hub;
  }
}
