import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { FrameWriter } from "./wire/writer.ts";
import { MessageType } from "./wire/frames.ts";
import { type Greeting, isRefusal, readHello, type Refusal } from "./wire/greeting.ts";
import type { PeerLimits } from "./limits.ts";
import { CloseCode, type SocketLike } from "./socket/socket.ts";

/** What the roster makes of a hello; `hold`: it may know more in a moment. */
export type Verdict = { readonly welcome: Greeting } | { readonly refuse: Refusal } | { readonly hold: Refusal };

export interface ReceptionOptions {
  readonly judge: (hello: Greeting) => Verdict;
  readonly onGreeted: (socket: SocketLike, hello: Greeting) => void;
  /** A hello is held, and was for a while: whoever keeps the roster had better look again. */
  readonly onHeld: () => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: PeerLimits;
}

interface Guest {
  readonly socket: SocketLike;
  hello: Greeting | undefined;
  cancelTimer: () => void;
}

/** Names come from strangers: what is remembered of them is bounded. */
const MAX_LOGGED = 256;

/**
 * Sockets that were accepted and have not been welcomed. Their number is bounded, the oldest gives way; a hello whose
 * sender the roster does not know yet is held for a moment, since a joiner may dial before our watch tells of it.
 */
export class Reception {
  readonly #options: ReceptionOptions;
  /** In the order of their coming. */
  readonly #guests = new Set<Guest>();
  readonly #logged = new Set<string>();
  #cancelAsk: (() => void) | undefined;
  #closed = false;

  constructor(options: ReceptionOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#guests.size;
  }

  enter(socket: SocketLike): void {
    const { clock, limits } = this.#options;
    if (this.#closed) return socket.close(CloseCode.removed, "closing");
    if (this.#guests.size >= limits.strangers) {
      const [oldest] = this.#guests;
      if (oldest !== undefined) this.#turnAway(oldest, CloseCode.silent, "too many strangers");
    }
    const guest: Guest = {
      socket,
      hello: undefined,
      cancelTimer: clock.after(limits.greetingMs, () => this.#turnAway(guest, CloseCode.silent, "no hello in time")),
    };
    this.#guests.add(guest);
    socket.handler = {
      opened() {},
      received: (frame) => this.#heard(guest, frame),
      closed: () => this.#forget(guest),
    };
  }

  /** The roster has changed: held hellos are judged again. */
  review(): void {
    for (const guest of [...this.#guests]) {
      if (guest.hello !== undefined && this.#guests.has(guest)) this.#judge(guest, guest.hello);
    }
  }

  close(): void {
    this.#closed = true;
    this.#cancelAsk?.();
    for (const guest of [...this.#guests]) this.#turnAway(guest, CloseCode.removed, "closing");
  }

  #heard(guest: Guest, frame: Uint8Array<ArrayBuffer> | undefined): void {
    if (guest.hello !== undefined) return this.#turnAway(guest, CloseCode.malformed, "asked before the welcome");
    const hello = readHello(frame);
    if (isRefusal(hello)) this.#refuse(guest, "a stranger", hello);
    else this.#judge(guest, hello);
  }

  #judge(guest: Guest, hello: Greeting): void {
    const verdict = this.#options.judge(hello);
    if ("refuse" in verdict) return this.#refuse(guest, hello.name, verdict.refuse);
    if ("hold" in verdict) return this.#hold(guest, hello, verdict.hold);
    this.#forget(guest);
    if (this.#say(guest.socket, MessageType.welcome, verdict.welcome)) this.#options.onGreeted(guest.socket, hello);
    else guest.socket.close(CloseCode.done, "the welcome could not be sent");
  }

  #hold(guest: Guest, hello: Greeting, refusal: Refusal): void {
    if (guest.hello !== undefined) return;
    const { clock, limits } = this.#options;
    guest.hello = hello;
    guest.cancelTimer();
    guest.cancelTimer = clock.after(limits.heldHelloMs, () => this.#refuse(guest, hello.name, refusal));
    this.#askSoon();
  }

  #askSoon(): void {
    const { clock, limits, onHeld } = this.#options;
    this.#cancelAsk ??= clock.after(limits.heldAskMs, () => {
      this.#cancelAsk = undefined;
      if (this.#closed || ![...this.#guests].some(({ hello }) => hello !== undefined)) return;
      onHeld();
      this.#askSoon();
    });
  }

  #refuse(guest: Guest, name: string, refusal: Refusal): void {
    const said = `${name}: ${refusal.code}`;
    // One that made itself known, and will be dialed.
    if (refusal.code !== "direction" && !this.#logged.has(said)) {
      if (this.#logged.size >= MAX_LOGGED) this.#logged.clear();
      this.#logged.add(said);
      this.#options.log.warn(`refused a connection from ${JSON.stringify(name)}: ${refusal.code}: ${refusal.detail}`);
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
