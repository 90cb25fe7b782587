/**
 * The dialing end: a WebSocket client (RFC 6455) over a TCP socket, with Nagle's algorithm off.
 *
 * The runtime's own WebSocket is too slow on Deno 2.9. It sends the header of a message over 1 KiB on its own and leaves
 * Nagle's algorithm on, so the payload waits 40 ms for the peer's delayed ACK. Measured: 1,450 asks/s over a link that
 * carries a hundred times as many.
 */
import { createHash, randomBytes } from "node:crypto";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { ANYWHERE } from "../../config/networks.ts";
import { MessageReader, MessageWriter, Opcode } from "./rfc6455.ts";
import { CloseCode, DEAF, type SocketHandler, type SocketLike } from "./socket.ts";

const ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // RFC 6455, 1.3
/** Chosen: an answer to an upgrade takes some 200 bytes. */
const MAX_HEAD_BYTES = 16 * 1024;
/** Chosen: how long a peer may take to read the end of a connection. */
const CLOSING_MS = 1_000;
/** Chosen: TCP probes an idle connection after so long. */
const KEEP_ALIVE_MS = 15_000;
/** With more unsent bytes, pings get no pong: a peer that sends pings and does not read would fill the memory. Chosen. */
const PONG_UNSENT_BYTES = 64 * 1024;
const encoder = new TextEncoder();

/**
 * Dials `ws:` or `wss:`. Failures come to the handler's `closed`.
 *
 * @param networks the addresses that may be connected to; a name counts by what it resolves to
 * @throws TypeError not a URL; Error an address that is not allowed
 */
export function dialTcp(url: string, networks = ANYWHERE): SocketLike {
  const target = new URL(url);
  const isSecure = target.protocol === "wss:";
  const host = target.hostname.replace(/^\[|\]$/g, "");
  const port = Number(target.port) || (isSecure ? 443 : 80);
  // An IP address is no server name (RFC 6066, 3): the runtimes throw at one. Without, they check the certificate for `host`.
  const servername = isIP(host) === 0 ? host : undefined;
  const fault = networks.faultOf(url);
  if (fault !== undefined) throw new Error(fault);
  const place = { host, port, ...networks.lookup };
  const raw = isSecure ? connectTls({ ...place, servername }) : connectTcp(place);
  return new TcpSocket(raw, isSecure ? "secureConnect" : "connect", target);
}

class TcpSocket implements SocketLike {
  handler: SocketHandler = DEAF;
  readonly #raw: Socket;
  readonly #key = randomBytes(16).toString("base64");
  #head: Uint8Array = new Uint8Array(0);
  #isOpen = false;
  #gone = false;
  readonly #reader: MessageReader;
  readonly #writer = new MessageWriter();

  constructor(raw: Socket, readyEvent: string, target: URL) {
    this.#raw = raw;
    this.#reader = new MessageReader((opcode, payload) => this.#heard(opcode, payload));
    raw.setNoDelay(true);
    raw.setKeepAlive(true, KEEP_ALIVE_MS);
    raw.once(readyEvent, () => {
      raw.write(
        `GET ${target.pathname}${target.search} HTTP/1.1\r\nHost: ${target.host}\r\nUpgrade: websocket\r\n` +
          `Connection: Upgrade\r\nSec-WebSocket-Key: ${this.#key}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
      );
    });
    raw.on("data", (chunk: Uint8Array<ArrayBuffer>) => this.#received(chunk));
    raw.on("error", (error: Error) => this.#lost(error.message || "the connection failed"));
    raw.on("close", () => this.#lost("the connection was closed"));
    raw.on("end", () => this.#lost("the connection was closed"));
  }

  get bufferedBytes(): number {
    return this.#raw.writableLength;
  }

  send(frame: Uint8Array<ArrayBuffer>): boolean {
    if (this.#gone || !this.#isOpen) return false;
    this.#write(Opcode.binary, frame);
    return true;
  }

  close(code: number, reason: string): void {
    if (this.#gone) return;
    const isOpen = this.#isOpen;
    this.#leave();
    if (!isOpen) return void this.#raw.destroy();
    const payload = encoder.encode(`..${reason.slice(0, 120).replace(/[^\x20-\x7e]/g, "?")}`);
    new DataView(payload.buffer).setUint16(0, code);
    // A peer that reads gets the frames sent before; a peer that does not must not keep the socket.
    this.#raw.end(this.#writer.message(Opcode.close, payload));
    // Not the socket's own timer: it starts again with every byte that the peer goes on sending.
    const timer = setTimeout(() => this.#raw.destroy(), CLOSING_MS);
    this.#raw.once("close", () => clearTimeout(timer));
  }

  /** Not every ping needs a pong (RFC 6455, 5.5.3): the unsent frames are a sign of life, too. */
  #pong(payload: Uint8Array<ArrayBuffer>): void {
    if (this.#raw.writableLength < PONG_UNSENT_BYTES) this.#write(Opcode.pong, payload);
  }

  #write(opcode: number, payload: Uint8Array<ArrayBuffer>): void {
    if (this.#raw.writableLength === 0) this.#writer.reuse();
    this.#raw.write(this.#writer.message(opcode, payload));
  }

  #leave(): void {
    this.#gone = true;
    this.handler = DEAF;
  }

  #lost(reason: string): void {
    if (this.#gone) return;
    const handler = this.handler;
    this.#leave();
    this.#raw.destroy();
    handler.closed(reason);
  }

  #received(chunk: Uint8Array<ArrayBuffer>): void {
    if (this.#gone) return;
    let rest = chunk;
    if (!this.#isOpen) {
      const after = this.#handshake(chunk);
      if (after === undefined) return;
      rest = after;
    }
    const fault = this.#reader.read(rest);
    if (fault !== undefined) this.#lost(fault);
  }

  /** @returns the bytes behind the head, once the head is whole and right */
  #handshake(chunk: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
    const seen = new Uint8Array(this.#head.length + chunk.length);
    seen.set(this.#head);
    seen.set(chunk, this.#head.length);
    this.#head = seen;
    const text = new TextDecoder("latin1").decode(seen.subarray(0, MAX_HEAD_BYTES));
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) {
      if (seen.length >= MAX_HEAD_BYTES) this.#lost("the answer to the upgrade is too long");
      return undefined;
    }
    const status = /^HTTP\/1\.1 (\d{3})/.exec(text)?.[1];
    const accept = /\r\nsec-websocket-accept: *([^\s]+)/i.exec(text.slice(0, end))?.[1];
    const expected = createHash("sha1").update(this.#key + ACCEPT_GUID).digest("base64");
    if (status !== "101" || accept !== expected) {
      this.#lost(`the upgrade was answered with ${status === "101" ? "a wrong key" : status ?? "no HTTP"}`);
      return undefined;
    }
    this.#isOpen = true;
    this.#head = new Uint8Array(0);
    this.handler.opened();
    return seen.subarray(end + 4);
  }

  #heard(opcode: number, payload: Uint8Array<ArrayBuffer>): void {
    if (this.#gone) return;
    if (opcode === Opcode.binary) this.handler.received(payload);
    else if (opcode === Opcode.ping) this.#pong(payload);
    else if (opcode === Opcode.close) {
      const code = payload.length >= 2 ? payload[0]! << 8 | payload[1]! : CloseCode.done;
      const reason = new TextDecoder().decode(payload.subarray(2));
      this.#write(Opcode.close, payload.subarray(0, 2));
      this.#lost(reason || `closed with code ${code}`);
    } else if (opcode !== Opcode.pong) this.handler.received(undefined);
  }
}
