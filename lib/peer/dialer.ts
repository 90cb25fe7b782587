import { backoffMs } from "../core/base/time/backoff.ts";
import type { Clock } from "../core/base/clock.ts";
import type { PeerLimits } from "./limits.ts";
import type { OwnGreeting } from "./own-groups.ts";
import type { Introduction } from "./proof/introduction.ts";
import { CloseCode, type SocketLike } from "./socket/socket.ts";
import { MessageType, type ProtocolRange } from "./wire/frames.ts";
import { isRefusal, type PeerGreeting, readAnswer, type Refusal } from "./wire/greeting.ts";
import { FrameWriter } from "./wire/writer.ts";

/** The path where peers connect. */
export const PEER_PATH = "/_peer";

/** The status of the answer to an upgrade that is refused. */
const REFUSED = 403;

/** Connects to the URL. The socket opens after both ends have proved their identity. @throws TypeError not a URL */
export type OpenSocket = (url: string, introduction: Introduction) => SocketLike;

export interface DialerOptions {
  /** The URL that the peer advertises. */
  readonly url: string;
  readonly openSocket: OpenSocket;
  /** Makes the introduction for one attempt. */
  readonly introduce: () => Introduction;
  readonly protocol: ProtocolRange;
  readonly hello: () => OwnGreeting;
  /** Checks that the right peer answered. A refusal closes the connection. */
  readonly check: (welcome: PeerGreeting) => Refusal | undefined;
  readonly clock: Clock;
  readonly limits: PeerLimits;
  /** 0 to 1: spreads the retries of many dialers. */
  readonly random: () => number;
  /** Called when the peer welcomed this node. The callee then owns the socket. */
  readonly onOpen: (socket: SocketLike, welcome: PeerGreeting, hello: OwnGreeting) => void;
  /** Called when an attempt failed. Another one follows. */
  readonly onFailure: (refusal: Refusal) => void;
}

/**
 * Dials one peer until it welcomes this node, and again after `redial`. The delays grow, with jitter. A peer that does
 * not know this node yet is dialed again after the shortest delay.
 */
export class Dialer {
  readonly #options: DialerOptions;
  #socket: SocketLike | undefined;
  #cancelTimer: (() => void) | undefined;
  #failures = 0;
  #openedAtMs = -Infinity;
  #dialedAtMs = -Infinity;
  #isWaiting = false;
  #stopped = false;

  constructor(options: DialerOptions) {
    this.#options = options;
  }

  dial(): void {
    if (this.#stopped) return;
    const { url, openSocket, introduce, hello, clock, limits } = this.#options;
    this.#isWaiting = false;
    this.#dialedAtMs = clock.nowMs();
    const introduction = introduce();
    let socket: SocketLike;
    try {
      socket = openSocket(peerUrl(url), introduction);
    } catch (error) {
      return this.#fail({ code: "unreachable", detail: `${error}` });
    }
    this.#socket = socket;
    let told: OwnGreeting | undefined;
    socket.handler = {
      opened: () => {
        told = hello();
        const writer = new FrameWriter();
        writer.greeting(MessageType.hello, told.json);
        if (!socket.send(writer.take())) this.#fail({ code: "unreachable", detail: "the hello could not be sent" });
      },
      received: (frame) => this.#answered(socket, told!, frame),
      closed: (reason, status) => this.#fail(refusalOf(introduction, reason, status)),
    };
    this.#cancelTimer = clock.after(limits.greetingMs, () => {
      this.#fail({ code: "unreachable", detail: `no welcome within ${limits.greetingMs} ms` });
    });
  }

  /** To be called when the open connection was lost. */
  redial(): void {
    if (this.#stopped) return;
    const { clock, limits, random } = this.#options;
    // If connections are lost as soon as they open, do not dial in a tight loop.
    if (clock.nowMs() - this.#openedAtMs >= limits.steadyMs) this.#failures = 0;
    this.#openedAtMs = Infinity;
    const pace = { firstMs: limits.firstRetryMs, mostMs: limits.lastRetryMs };
    this.#cancelTimer?.();
    this.#isWaiting = true;
    this.#cancelTimer = clock.after(backoffMs(this.#failures++, pace, random), () => this.dial());
  }

  /** Dials now instead of later, if the last attempt was at least `firstRetryMs` ago. */
  hurry(): void {
    const { clock, limits } = this.#options;
    if (!this.#isWaiting || clock.nowMs() - this.#dialedAtMs < limits.firstRetryMs) return;
    this.#cancelTimer?.();
    this.dial();
  }

  stop(): void {
    this.#stopped = true;
    this.#isWaiting = false;
    this.#cancelTimer?.();
    this.#socket?.close(CloseCode.done, "no longer dialed");
    this.#socket = undefined;
  }

  #answered(socket: SocketLike, hello: OwnGreeting, frame: Uint8Array<ArrayBuffer> | undefined): void {
    const answer = readAnswer(frame, this.#options.protocol);
    if (isRefusal(answer)) return this.#fail(answer);
    const refusal = this.#options.check(answer);
    if (refusal !== undefined) return this.#fail(refusal);
    this.#cancelTimer?.();
    this.#socket = undefined;
    this.#openedAtMs = this.#options.clock.nowMs();
    this.#options.onOpen(socket, answer, hello);
  }

  #fail(refusal: Refusal): void {
    this.#socket?.close(CloseCode.done, refusal.code);
    this.#socket = undefined;
    // The peer held the proof for a while. Dial again soon so that it holds the next one: it then welcomes this node as
    // soon as its roster lists it.
    const { clock, limits } = this.#options;
    if (refusal.code === "stranger" && clock.nowMs() - this.#dialedAtMs >= limits.heldAskMs) this.#failures = 0;
    this.redial();
    this.#options.onFailure(refusal);
  }
}

/** A refused upgrade has no reason. It is a sign of life only if the peer proved itself before. */
function refusalOf({ isPeer }: Introduction, reason: string, status: number | undefined): Refusal {
  if (isPeer === false) return { code: "impostor", detail: reason };
  if (status !== REFUSED || !isPeer) return { code: "unreachable", detail: reason };
  return { code: "stranger", detail: "it does not list this node yet, or lists a later life of it" };
}

/** @throws TypeError not a URL */
function peerUrl(url: string): string {
  const target = new URL(PEER_PATH, url);
  target.protocol = target.protocol === "https:" ? "wss:" : "ws:";
  return target.href;
}
