/** One interface for the two kinds of WebSocket: dialed by this node (tcp.ts), and accepted through Hono (here). */
import type { WSContext, WSEvents } from "hono/ws";
import { MAX_FRAME_BYTES } from "../../core/base/limits.ts";

/** Receives the events of a socket. It is replaced when a connection has finished greeting. No method throws. */
export interface SocketHandler {
  /** The socket may be written. Called at most once, before any frame. */
  opened(): void;
  /** A frame came. `undefined`: it was no binary message within bounds. The handler may keep the frame. */
  received(frame: Uint8Array<ArrayBuffer> | undefined): void;
  /**
   * Called once, when the connection is lost or the other end closes it. Never called after `close` at this end.
   *
   * @param status the status of the HTTP answer that refused the upgrade
   */
  closed(reason: string, status?: number): void;
}

export interface SocketLike {
  handler: SocketHandler;
  /** Sends a frame, and copies it before it returns. `false`: the frame could not be sent and the connection is dead. */
  send(frame: Uint8Array<ArrayBuffer>): boolean;
  /** Closes the socket. The handler gets no further event. Idempotent. */
  close(code: number, reason: string): void;
  /** Bytes accepted by `send` that the system has not taken yet. */
  readonly bufferedBytes: number;
}

/** Codes 4000 to 4999 belong to the application (RFC 6455, 7.4.2). */
export const CloseCode = {
  done: 1000,
  malformed: 4000,
  refused: 4001,
  replaced: 4002,
  stalled: 4003,
  removed: 4004,
  silent: 4005,
} as const;

export const DEAF: SocketHandler = { opened() {}, received() {}, closed() {} };

/** The used parts of a runtime's socket. The runtimes count unsent bytes under different names. */
interface RawSocket {
  send(frame: Uint8Array<ArrayBuffer>): unknown;
  close(code: number, reason: string): void;
  readonly bufferedAmount?: number;
  getBufferedAmount?(): number;
}

class AcceptedSocket implements SocketLike {
  handler: SocketHandler = DEAF;
  readonly #raw: RawSocket;
  #gone = false;

  constructor(raw: RawSocket) {
    this.#raw = raw;
  }

  send(frame: Uint8Array<ArrayBuffer>): boolean {
    if (this.#gone) return false;
    try {
      // Bun returns 0 for a message that it dropped; Deno returns nothing.
      return this.#raw.send(frame) !== 0;
    } catch {
      return false;
    }
  }

  close(code: number, reason: string): void {
    if (this.#gone) return;
    this.#gone = true;
    this.handler = DEAF;
    try {
      this.#raw.close(code, reason.slice(0, 120).replace(/[^\x20-\x7e]/g, "?"));
    } catch {
      // The socket is already closed.
    }
  }

  get bufferedBytes(): number {
    return this.#raw.getBufferedAmount?.() ?? this.#raw.bufferedAmount ?? 0;
  }

  heard(data: unknown): void {
    this.handler.received(
      data instanceof ArrayBuffer && data.byteLength <= MAX_FRAME_BYTES ? new Uint8Array(data) : undefined,
    );
  }

  lost(reason: string): void {
    if (this.#gone) return;
    this.#gone = true;
    const handler = this.handler;
    this.handler = DEAF;
    handler.closed(reason);
  }
}

/** The event handlers for Hono's `upgradeWebSocket`. They call `accept` with the socket once it is open. */
export function acceptEvents(accept: (socket: SocketLike) => void): WSEvents {
  let socket: AcceptedSocket | undefined;
  return {
    onOpen(_event, context) {
      socket = new AcceptedSocket(rawOf(context));
      accept(socket);
    },
    onMessage(event) {
      socket?.heard(event.data);
    },
    onClose(event) {
      socket?.lost(event.reason || `closed with code ${event.code}`);
    },
    onError() {
      socket?.lost("the connection failed");
    },
  };
}

/** The runtime's own socket. Hono's context hides unsent bytes and dropped messages. */
function rawOf(context: WSContext): RawSocket {
  const raw = context.raw as RawSocket | undefined;
  // A standard socket may deliver Blobs, which can only be read later and out of order.
  if (raw instanceof WebSocket) raw.binaryType = "arraybuffer";
  return raw ?? { send: (frame) => context.send(frame), close: (code, reason) => context.close(code, reason) };
}
