import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { SayOnce } from "../core/base/logs/say-once.ts";
import type { PeerLimits } from "./limits.ts";
import type { OwnGreeting } from "./own-groups.ts";
import { CloseCode, type SocketLike } from "./socket/socket.ts";
import { type Greeting, isRefusal, type PeerGreeting, readHello, type Refusal, type Self } from "./wire/greeting.ts";
import { MessageType, type ProtocolRange } from "./wire/frames.ts";
import { FrameWriter } from "./wire/writer.ts";

/** The answer to a hello, by the current roster. */
export type Verdict = { readonly welcome: OwnGreeting } | { readonly refuse: Refusal };

export interface ReceptionOptions {
  readonly protocol: ProtocolRange;
  readonly judge: (hello: PeerGreeting) => Verdict;
  readonly onGreeted: (socket: SocketLike, hello: PeerGreeting, welcome: OwnGreeting) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: PeerLimits;
}

interface Guest {
  readonly socket: SocketLike;
  readonly proved: Self;
  readonly cancelTimer: () => void;
}

/** The most different refusals (name and code) to log within SAID_FOR_MS. Chosen: room for each peer of a large cluster. */
const MAX_SAID = 256;
const SAID_FOR_MS = 600_000;

/**
 * Accepted sockets of peers that have proved their identity but have not said hello yet. Their number is bounded; one
 * more displaces the oldest.
 */
export class Reception {
  readonly #options: ReceptionOptions;
  /** The oldest first. */
  readonly #guests = new Set<Guest>();
  readonly #said: SayOnce;
  #closed = false;

  constructor(options: ReceptionOptions) {
    this.#options = options;
    this.#said = new SayOnce({ clock: options.clock, maxSaid: MAX_SAID, forMs: SAID_FOR_MS });
  }

  get waiting(): number {
    return this.#guests.size;
  }

  /** @param proved the node at the other end */
  enter(socket: SocketLike, proved: Self): void {
    const { clock, limits } = this.#options;
    if (this.#closed) return socket.close(CloseCode.removed, "closing");
    if (this.#guests.size >= limits.strangers) {
      const [oldest] = this.#guests;
      if (oldest !== undefined) this.#turnAway(oldest, CloseCode.silent, "too many at once");
    }
    const guest: Guest = {
      socket,
      proved,
      cancelTimer: clock.after(limits.greetingMs, () => this.#turnAway(guest, CloseCode.silent, "no hello in time")),
    };
    this.#guests.add(guest);
    socket.handler = {
      opened() {},
      received: (frame) => this.#heard(guest, frame),
      closed: () => this.#forget(guest),
    };
  }

  close(): void {
    this.#closed = true;
    for (const guest of [...this.#guests]) this.#turnAway(guest, CloseCode.removed, "closing");
  }

  #heard(guest: Guest, frame: Uint8Array<ArrayBuffer> | undefined): void {
    const { protocol, judge, onGreeted } = this.#options;
    const { socket, proved } = guest;
    const hello = readHello(frame, protocol);
    if (isRefusal(hello)) return this.#refuse(guest, hello);
    if (hello.name !== proved.name || hello.incarnation !== proved.incarnation) {
      return this.#refuse(guest, { code: "malformed", detail: "the hello names another node than the proof" });
    }
    const verdict = judge(hello);
    if ("refuse" in verdict) return this.#refuse(guest, verdict.refuse);
    this.#forget(guest);
    if (!this.#say(socket, MessageType.welcome, verdict.welcome.json)) {
      return socket.close(CloseCode.done, "the welcome could not be sent");
    }
    onGreeted(socket, hello, verdict.welcome);
  }

  #refuse(guest: Guest, refusal: Refusal): void {
    const { name } = guest.proved;
    // Do not log "direction": a peer that waits to be dialed only made itself known.
    if (refusal.code !== "direction" && this.#said.isNews(`${name}: ${refusal.code}`)) {
      const { code, detail } = refusal;
      const message = `refused a connection from ${name}: ${code}: ${detail}`;
      this.#options.log.warn(message, {}, { peer: name, code, detail });
    }
    this.#say(guest.socket, MessageType.refuse, refusal);
    this.#turnAway(guest, CloseCode.refused, refusal.code);
  }

  #say(socket: SocketLike, type: number, json: Greeting | Refusal): boolean {
    const writer = new FrameWriter();
    writer.greeting(type, json);
    return socket.send(writer.take());
  }

  #turnAway(guest: Guest, code: number, reason: string): void {
    this.#forget(guest);
    guest.socket.close(code, reason);
  }

  #forget(guest: Guest): void {
    guest.cancelTimer();
    this.#guests.delete(guest);
  }
}
