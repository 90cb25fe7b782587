import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { SayOnce } from "../core/base/say-once.ts";
import type { PeerLimits } from "./limits.ts";
import type { OwnGreeting } from "./own-groups.ts";
import { CloseCode, type SocketLike } from "./socket/socket.ts";
import { type Greeting, isRefusal, type PeerGreeting, readHello, type Refusal } from "./wire/greeting.ts";
import { MessageType, type ProtocolRange } from "./wire/frames.ts";
import { FrameWriter } from "./wire/writer.ts";

/** The answer to a hello by the roster of now; `hold`: the roster may list the sender in a moment. */
export type Verdict = { readonly welcome: OwnGreeting } | { readonly refuse: Refusal } | { readonly hold: Refusal };

export interface ReceptionOptions {
  readonly protocol: ProtocolRange;
  readonly judge: (hello: PeerGreeting) => Verdict;
  readonly onGreeted: (socket: SocketLike, hello: PeerGreeting, welcome: OwnGreeting) => void;
  /** Called every `heldAskMs` while a hello is held: the roster of this node may be old. */
  readonly onHeld: () => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: PeerLimits;
}

interface Guest {
  readonly socket: SocketLike;
  hello: PeerGreeting | undefined;
  cancelTimer: () => void;
}

/**
 * Names come from strangers, who may send a new one each time. So the log has at most MAX_SAID lines about refusals in
 * SAID_FOR_MS, and the memory as many texts. Chosen: room for a large cluster under a wrong name, and no flood.
 */
const MAX_SAID = 256;
const SAID_FOR_MS = 600_000;

/**
 * Accepted sockets that have not been welcomed yet. Their number is bounded, and the oldest gives way. A hello is held for
 * a moment when the roster does not list its sender: a node that joins may dial before the roster tells of it.
 */
export class Reception {
  readonly #options: ReceptionOptions;
  /** The oldest first. */
  readonly #guests = new Set<Guest>();
  readonly #said: SayOnce;
  #cancelAsk: (() => void) | undefined;
  #closed = false;

  constructor(options: ReceptionOptions) {
    this.#options = options;
    this.#said = new SayOnce({ clock: options.clock, maxSaid: MAX_SAID, forMs: SAID_FOR_MS });
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
    const hello = readHello(frame, this.#options.protocol);
    if (isRefusal(hello)) this.#refuse(guest, "a stranger", hello);
    else this.#judge(guest, hello);
  }

  #judge(guest: Guest, hello: PeerGreeting): void {
    const verdict = this.#options.judge(hello);
    if ("refuse" in verdict) return this.#refuse(guest, hello.name, verdict.refuse);
    if ("hold" in verdict) return this.#hold(guest, hello, verdict.hold);
    this.#forget(guest);
    const { welcome } = verdict;
    if (!this.#say(guest.socket, MessageType.welcome, welcome.json)) {
      return guest.socket.close(CloseCode.done, "the welcome could not be sent");
    }
    this.#options.onGreeted(guest.socket, hello, welcome);
  }

  #hold(guest: Guest, hello: PeerGreeting, refusal: Refusal): void {
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
    // A peer that must wait to be dialed has only made itself known: no news for the log.
    if (refusal.code !== "direction" && this.#said.isNews(`${name}: ${refusal.code}`)) {
      const { code, detail } = refusal;
      const message = `refused a connection from ${JSON.stringify(name)}: ${code}: ${detail}`;
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
