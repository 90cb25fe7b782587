/** What comes over a dialed connection: answers, the proofs in their fields, and messages of WebSocket. */
import assert from "node:assert/strict";
import { MAX_FRAME_BYTES } from "../../../lib/core/base/limits.ts";
import { Challenges } from "../../../lib/peer/proof/challenges.ts";
import { fieldOf, readChallenge, readClaim, readProof } from "../../../lib/peer/proof/fields.ts";
import { AnswerReader } from "../../../lib/peer/socket/answer.ts";
import { MessageReader, Opcode } from "../../../lib/peer/socket/rfc6455.ts";
import { chunksOf, type Dice } from "../dice.ts";
import { checkMessage, latin1Of, type Target, utf8 } from "../target.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** As a server writes it: not masked. */
function messageOf(opcode: number, payload: Bytes, isFinal = true, bits = 0): Bytes {
  const { length } = payload;
  const head = length < 126 ? [length] : length < 65_536 ? [126, length >> 8, length & 0xff] : longHead(length);
  return Uint8Array.from([(isFinal ? 0x80 : 0) | bits | opcode, ...head, ...payload]);
}

function longHead(length: number): number[] {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length));
  return [127, ...bytes];
}

function joined(parts: readonly Bytes[]): Bytes {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

const opcodes = Object.values(Opcode);

function made(dice: Dice): Bytes {
  const parts: Bytes[] = [];
  for (let left = 1 + dice.size(8); left > 0; left--) {
    const payload = dice.bytes(dice.isIn(0.1) ? dice.size(3_000) : dice.size(140));
    // A message in fragments, with pings between them.
    if (dice.isIn(0.3)) {
      parts.push(messageOf(Opcode.binary, payload, false));
      for (let more = dice.size(4); more > 0; more--) {
        parts.push(
          messageOf(dice.isIn(0.3) ? Opcode.ping : Opcode.continuation, dice.bytes(dice.size(20)), dice.isIn(0.3)),
        );
      }
      parts.push(messageOf(Opcode.continuation, payload));
    } else parts.push(messageOf(dice.pick(opcodes), payload, dice.isIn(0.95), dice.isIn(0.02) ? 0x40 : 0));
  }
  return joined(parts);
}

/** What the reader says of a stream in these chunks. */
function heardOf(chunks: readonly Bytes[]): { messages: string[]; fault: string | undefined } {
  const messages: string[] = [];
  const reader = new MessageReader((opcode, payload) => {
    messages.push(`${payload.length} ${opcode} ${latin1Of(payload)}`);
  });
  for (const chunk of chunks) {
    const fault = reader.read(chunk);
    if (fault !== undefined) return { messages, fault };
  }
  return { messages, fault: undefined };
}

function run(input: Bytes): boolean {
  const whole = heardOf([input.slice()]);
  const apart = heardOf(chunksOf(input));
  assert.equal(apart.fault, whole.fault);
  assert.equal(apart.messages.join(), whole.messages.join());
  const bytes = whole.messages.reduce((sum, text) => sum + Number.parseInt(text), 0);
  assert.ok(bytes <= Math.min(input.length, MAX_FRAME_BYTES * whole.messages.length));
  if (whole.fault !== undefined) checkMessage(whole.fault);
  return whole.fault === undefined;
}

/** The bytes behind the answer come with it or later. */
function answerOf(chunks: readonly Bytes[]): string {
  const reader = new AnswerReader();
  for (const [index, chunk] of chunks.entries()) {
    const answer = reader.read(chunk);
    if (answer === undefined) continue;
    if (typeof answer === "string") return answer;
    const { status, fields, isLast, rest } = answer;
    const behind = [rest, ...chunks.slice(index + 1)].map(latin1Of).join("");
    return JSON.stringify({ status, fields: [...fields], isLast, behind });
  }
  return "half an answer";
}

function runAnswer(input: Bytes): boolean {
  const whole = answerOf([input]);
  assert.equal(answerOf(chunksOf(input)), whole);
  return whole.startsWith("{");
}

const [nonce, challenge, signature] = ["n".repeat(22), "c".repeat(51), "s".repeat(86)] as const;
const claim = { name: "127-0-0-1-8000", incarnation: "01J0000000000000000000000", nonce };
const proofs = [claim, { challenge, signature }, { ...claim, challenge, signature }].map(fieldOf);

/** A field is read as one of the three at most, and written just so. */
function runProof(input: Bytes): boolean {
  const field = latin1Of(input);
  const read = [readClaim(field), readChallenge(field), readProof(field)].filter((value) => value !== undefined);
  assert.ok(read.length <= 1);
  for (const value of read) assert.equal(fieldOf(value), field);
  // What is no challenge of this node is none, in any spelling.
  assert.ok(!challenges.isOpen(field));
  return read.length === 1;
}

const challenges = new Challenges({ clock: { nowMs: () => 0, after: () => () => {} }, validMs: 1_000, maxUsed: 10 });

export const socketTargets: readonly Target[] = [
  {
    name: "answers",
    seeds: [
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x82\x01a",
      `HTTP/1.1 426 Upgrade Required\r\nMuster-Challenge: ${proofs[1]}\r\nContent-Length: 4\r\n\r\nbody`,
      "HTTP/1.1 403 Forbidden\r\nConnection: keep-alive, close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ].map(utf8),
    tokens: ["\r\n", "\r\n\r\n", ":", "HTTP/1.1 ", "Content-Length: ", "Connection: close", "99999", "101", "\r", "\n"],
    run: runAnswer,
  },
  {
    name: "proofs",
    seeds: proofs.map(utf8),
    tokens: [" ", "-", "_", "\n", nonce, challenge, signature],
    run: runProof,
  },
  {
    name: "websocket",
    seeds: [
      messageOf(Opcode.binary, utf8("a frame")),
      messageOf(Opcode.binary, new Uint8Array(300).fill(7)),
      messageOf(Opcode.close, utf8("\x0f\xa0done")),
      joined([messageOf(Opcode.ping, utf8("are you there")), messageOf(Opcode.pong, new Uint8Array())]),
      joined([messageOf(Opcode.binary, utf8("half "), false), messageOf(Opcode.continuation, utf8("a frame"))]),
    ],
    tokens: ["\x00\x00", "\x02\x00", "\x02\x7e\x01\x00", "\x00\x01a"],
    make: made,
    run,
  },
];
