/** The way to a WebSocket, taken by hand: from either end, and with any breach. */
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { challengeText, type Claim, fieldOf, type Proof, proofText, readClaim } from "../../lib/peer/proof/fields.ts";
import type { HttpAnswer } from "../../lib/peer/socket/answer.ts";
import { AnswerReader } from "../../lib/peer/socket/answer.ts";
import type { Self } from "../../lib/peer/wire/greeting.ts";
import { identityOf } from "../support/identity.ts";
import type { Defer } from "../support/test.ts";

export const UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/** An answer, with its text but for the date. */
export interface RawAnswer extends HttpAnswer {
  readonly text: string;
}

/** One connection to a node. */
export class RawClient {
  readonly socket: Socket;
  readonly closed: Promise<void>;
  #received: (chunk: Uint8Array<ArrayBuffer>) => void = () => {};
  #lost: (error: Error) => void = () => {};

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Uint8Array<ArrayBuffer>) => this.#received(chunk));
    socket.on("error", () => {});
    this.closed = new Promise((resolve) =>
      socket.on("close", () => {
        this.#lost(new Error("the connection was closed"));
        resolve();
      })
    );
  }

  static async open(url: string, defer: Defer): Promise<RawClient> {
    const socket = connect({ host: "127.0.0.1", port: Number(new URL(url).port) });
    defer(() => socket.destroy());
    const client = new RawClient(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", () => resolve());
      socket.once("error", reject);
    });
    return client;
  }

  /** The answer to `GET /_peer`. @param fields lines, each with CR LF. */
  ask(fields: string): Promise<RawAnswer> {
    const reader = new AnswerReader();
    const chunks: Uint8Array[] = [];
    return new Promise((resolve, reject) => {
      this.#lost = reject;
      this.#received = (chunk) => {
        chunks.push(chunk);
        const answer = reader.read(chunk);
        if (answer === undefined) return;
        if (typeof answer === "string") return reject(new Error(answer));
        this.#received = () => {};
        resolve({ ...answer, text: Buffer.concat(chunks).toString("latin1").replace(/\r\ndate: [^\r]*/i, "") });
      };
      this.socket.write(`GET /_peer HTTP/1.1\r\nHost: b\r\n${fields}\r\n`);
    });
  }

  /** A challenge of the node, for `who`. */
  async challenge(who: Self): Promise<{ claim: Claim; challenge: string }> {
    const claim = claimOf(who);
    const { fields } = await this.ask(`Muster-Claim: ${fieldOf(claim)}\r\n`);
    return { claim, challenge: fields.get("muster-challenge")!.split(" ")[0]! };
  }

  /** The answer to an upgrade in the name of `who`, to the node `to`, with the key of `signer`. */
  async upgrade(who: Self, to: Self, signer: Self = who): Promise<RawAnswer> {
    const { claim, challenge } = await this.challenge(who);
    return await this.ask(UPGRADE + proofLine(await proofOf(claim, to, challenge, signer)));
  }
}

/** A claim with a new nonce. */
export function claimOf({ name, incarnation }: Self): Claim {
  return { name, incarnation, nonce: randomBytes(16).toString("base64url") };
}

/** The proof for a challenge of the node `to`, with the key of `signer`. */
export async function proofOf(claim: Claim, to: Self, challenge: string, signer: Self = claim): Promise<Proof> {
  return { ...claim, challenge, signature: await identityOf(signer).sign(proofText(claim, to, challenge)) };
}

/** A proof as a line of a request. */
export function proofLine(proof: Proof): string {
  return `Muster-Proof: ${fieldOf(proof)}\r\n`;
}

/** What the node `acceptor` answers to the head of a claim. */
export async function answerToClaim(head: Uint8Array, acceptor: Self): Promise<string> {
  const claim = readClaim(/muster-claim: ([^\r]+)/i.exec(new TextDecoder().decode(head))?.[1])!;
  const challenge = randomBytes(38).toString("base64url");
  const signature = await identityOf(acceptor).sign(challengeText(claim, acceptor, challenge));
  const field = fieldOf({ challenge, signature });
  return `HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nMuster-Challenge: ${field}\r\n\r\n`;
}
