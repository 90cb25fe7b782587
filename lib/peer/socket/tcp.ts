/**
 * The dialing end: a WebSocket client (RFC 6455) over a TCP socket, with Nagle's algorithm off.
 *
 * The runtime's own WebSocket is too slow on Deno 2.9. It sends the header of a message over 1 KiB separately and
 * leaves Nagle's algorithm on. So the payload waits 40 ms for the peer's delayed ACK. Measured: 1,450 asks/s over a
 * link that can carry a hundred times as many.
 *
 * Before the upgrade both ends prove their identity (proof/fields.ts) over the same TCP connection. So the node that
 * answers the upgrade is the node that answered the claim.
 */
import { createHash, randomBytes } from "node:crypto";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { ANYWHERE } from "../../config/texts/networks.ts";
import { connectFault } from "../../core/base/connect-fault.ts";
import { CHALLENGE, CLAIM, PROOF } from "../proof/fields.ts";
import type { Introduction } from "../proof/introduction.ts";
import { AnswerReader, type HttpAnswer } from "./answer.ts";
import { MessageReader, MessageWriter, Opcode } from "./rfc6455.ts";
import { CloseCode, DEAF, type SocketHandler, type SocketLike } from "./socket.ts";

const ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // RFC 6455, 1.3
/** How long a peer may take to read the end of a connection. Chosen. */
const CLOSING_MS = 1_000;
/** After this idle time TCP probes the connection. Chosen. */
const KEEP_ALIVE_MS = 15_000;
/** With more unsent bytes pings get no pong, as a peer that sends pings and does not read would fill the memory. Chosen. */
const PONG_UNSENT_BYTES = 64 * 1024;
const encoder = new TextEncoder();

/**
 * Dials `ws:` or `wss:`. Failures go to the handler's `closed`.
 *
 * @param networks the allowed addresses; a host name is checked by its resolved address
 * @param ca the authorities to trust, in PEM. @default the system's
 * @throws TypeError not a URL; Error an address that is not allowed
 */
export function dialTcp(
  url: string,
  introduction: Pick<Introduction, "claim" | "answer">,
  networks = ANYWHERE,
  ca?: string,
): SocketLike {
  const target = new URL(url);
  const isSecure = target.protocol === "wss:";
  const host = target.hostname.replace(/^\[|\]$/g, "");
  const port = Number(target.port) || (isSecure ? 443 : 80);
  // An IP address is no server name (RFC 6066, 3): the runtimes throw at one. Without a name they check the certificate
  // for `host`.
  const servername = isIP(host) === 0 ? host : undefined;
  const fault = networks.faultOf(url);
  if (fault !== undefined) throw new Error(fault);
  const place = { host, port, ...networks.lookup };
  const raw = isSecure ? connectTls({ ...place, servername, ...(ca !== undefined && { ca }) }) : connectTcp(place);
  return new TcpSocket(raw, isSecure ? "secureConnect" : "connect", target, introduction);
}

class TcpSocket implements SocketLike {
  handler: SocketHandler = DEAF;
  readonly #raw: Socket;
  readonly #key = randomBytes(16).toString("base64");
  readonly #target: URL;
  readonly #introduction: Pick<Introduction, "claim" | "answer">;
  /** Reads the expected answer; `undefined` while it is this end's turn, and after the connection is open. */
  #answer: AnswerReader | undefined;
  #isProving = false;
  #isOpen = false;
  #gone = false;
  readonly #reader: MessageReader;
  readonly #writer = new MessageWriter();

  constructor(raw: Socket, readyEvent: string, target: URL, introduction: Pick<Introduction, "claim" | "answer">) {
    this.#raw = raw;
    this.#target = target;
    this.#introduction = introduction;
    this.#reader = new MessageReader((opcode, payload) => this.#heard(opcode, payload));
    raw.setNoDelay(true);
    raw.setKeepAlive(true, KEEP_ALIVE_MS);
    raw.once(readyEvent, () => this.#request(`${CLAIM}: ${introduction.claim}\r\n`));
    raw.on("data", (chunk: Uint8Array<ArrayBuffer>) => this.#received(chunk));
    raw.on("error", (error: Error) => this.#lost(connectFault(error.message) || "the connection failed"));
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
    // A peer that reads gets all earlier frames. A peer that does not read must not keep the socket.
    this.#raw.end(this.#writer.message(Opcode.close, payload));
    // Not the socket's own timer, as every byte from the peer restarts it.
    const timer = setTimeout(() => this.#raw.destroy(), CLOSING_MS);
    this.#raw.once("close", () => clearTimeout(timer));
  }

  /** Answers a ping. Not every ping needs a pong (RFC 6455, 5.5.3), as unsent frames will be a sign of life, too. */
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

  #lost(reason: string, status?: number): void {
    if (this.#gone) return;
    const handler = this.handler;
    this.#leave();
    this.#raw.destroy();
    handler.closed(reason, status);
  }

  #received(chunk: Uint8Array<ArrayBuffer>): void {
    if (this.#gone) return;
    let rest = chunk;
    if (!this.#isOpen) {
      if (this.#answer === undefined) return this.#lost("the peer spoke out of turn");
      const answer = this.#answer.read(chunk);
      if (answer === undefined) return;
      if (typeof answer === "string") return this.#lost(answer);
      this.#answer = undefined;
      if (answer.status !== 101) return this.#answered(answer);
      if (!this.#isUpgrade(answer)) return;
      rest = answer.rest;
    }
    const fault = this.#reader.read(rest);
    if (fault !== undefined) this.#lost(fault);
  }

  /** The first answer contains a challenge. A second answer that is no upgrade is a refusal. */
  #answered({ status, fields, isLast, rest }: HttpAnswer): void {
    if (this.#isProving) return this.#lost(`the upgrade was answered with ${status}`, status);
    if (status !== 426) return this.#lost(`the claim was answered with ${status}`);
    if (isLast || rest.length > 0) return this.#lost("the peer did not wait for the upgrade");
    this.#isProving = true;
    void this.#prove(fields.get(CHALLENGE));
  }

  async #prove(challenge: string | undefined): Promise<void> {
    const proof = await this.#introduction.answer(challenge);
    if (this.#gone) return;
    if (proof === undefined) return this.#lost("another node answers there: it does not have the peer's key");
    this.#request(
      `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${this.#key}\r\n` +
        `Sec-WebSocket-Version: 13\r\n${PROOF}: ${proof}\r\n`,
    );
  }

  #request(fields: string): void {
    const { pathname, search, host } = this.#target;
    this.#answer = new AnswerReader();
    this.#raw.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`);
  }

  #isUpgrade({ fields }: HttpAnswer): boolean {
    const expected = createHash("sha1").update(this.#key + ACCEPT_GUID).digest("base64");
    if (!this.#isProving) this.#lost("the claim was answered with 101");
    else if (fields.get("sec-websocket-accept") !== expected) this.#lost("the upgrade was answered with a wrong key");
    else {
      this.#isOpen = true;
      this.handler.opened();
    }
    return this.#isOpen;
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
