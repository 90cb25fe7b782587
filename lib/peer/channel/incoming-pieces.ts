import type { Deadlines } from "../../core/base/time/deadlines.ts";
import type { ChannelContext } from "../service.ts";
import {
  type AskVisitor,
  MAX_TRANSFER_BYTES,
  MAX_TRANSFERS,
  MessageType,
  type PartedType,
  type PieceVisitor,
} from "../wire/frames.ts";
import { readWhole } from "../wire/reader.ts";
import type { Outbox } from "./outbox.ts";
import type { OutgoingAsks } from "./outgoing-asks.ts";

/** A message that arrives in pieces. */
interface Arrival {
  readonly type: PartedType;
  readonly id: number;
  readonly bytes: number;
  /** `undefined`: this node no longer waits for it. Its pieces are still acknowledged. */
  payload: Uint8Array<ArrayBuffer> | undefined;
  readonly beganMs: number;
  movedMs: number;
  /** Bytes of the payload that have arrived. */
  gotBytes: number;
}

/**
 * This node waits this many times longer for pieces than the peer waits for acknowledgements. By then they came, or
 * never will.
 */
const STALLS = 2;

/** Assembles the peer's long messages, each in one buffer of its announced length. */
export class IncomingPieces implements PieceVisitor {
  readonly #context: ChannelContext;
  readonly #outbox: Outbox;
  readonly #deadlines: Deadlines;
  readonly #asks: AskVisitor;
  readonly #replies: OutgoingAsks;
  readonly #onStalled: () => void;
  readonly #arrivals = new Map<number, Arrival>();
  #bytes = 0;
  #closedBecause: string | undefined;

  /** @param onStalled called when a begun message stalls */
  constructor(
    context: ChannelContext,
    outbox: Outbox,
    deadlines: Deadlines,
    asks: AskVisitor,
    replies: OutgoingAsks,
    onStalled: () => void,
  ) {
    this.#context = context;
    this.#outbox = outbox;
    this.#deadlines = deadlines;
    this.#asks = asks;
    this.#replies = replies;
    this.#onStalled = onStalled;
  }

  /** Bytes of memory that incomplete messages hold. */
  get heldBytes(): number {
    return this.#bytes;
  }

  onParted(transfer: number, type: PartedType, id: number, bytes: number): string | void {
    if (this.#closedBecause !== undefined) return this.#closedBecause;
    if (this.#arrivals.has(transfer)) return "malformed parted: the transfer is under way";
    if (this.#arrivals.size >= MAX_TRANSFERS) return `malformed parted: over ${MAX_TRANSFERS} transfers`;
    if (this.#bytes + bytes > MAX_TRANSFER_BYTES) return `malformed parted: over ${MAX_TRANSFER_BYTES} bytes`;
    const nowMs = this.#context.clock.nowMs();
    const arrival: Arrival = { type, id, bytes, payload: undefined, beganMs: nowMs, movedMs: nowMs, gotBytes: 0 };
    const isWanted = this.#isWanted(arrival, nowMs);
    if (typeof isWanted === "string") return isWanted;
    if (isWanted) {
      arrival.payload = new Uint8Array(bytes);
      this.#bytes += bytes;
    }
    this.#arrivals.set(transfer, arrival);
    this.#deadlines.cover(this.#deadlineOf(arrival));
  }

  onPiece(transfer: number, piece: Uint8Array<ArrayBuffer>): string | void {
    if (this.#closedBecause !== undefined) return this.#closedBecause;
    const arrival = this.#arrivals.get(transfer);
    if (arrival === undefined) return "malformed piece: of no transfer";
    if (piece.length > arrival.bytes - arrival.gotBytes) return "malformed piece: more bytes than were announced";
    const nowMs = this.#context.clock.nowMs();
    this.#outbox.bare(MessageType.pieceTaken, transfer);
    this.#replies.heard();
    const isWanted = this.#isWanted(arrival, nowMs);
    if (typeof isWanted === "string") return isWanted;
    if (!isWanted) this.#release(arrival);
    arrival.payload?.set(piece, arrival.gotBytes);
    arrival.gotBytes += piece.length;
    arrival.movedMs = nowMs;
    if (arrival.gotBytes < arrival.bytes) return;
    const { type, id, payload, beganMs } = arrival;
    this.#forget(transfer, arrival);
    if (payload !== undefined) return readWhole(type, id, payload, this.#asks, this.#replies, beganMs);
  }

  onPieceTaken(transfer: number): string | void {
    if (this.#closedBecause !== undefined) return this.#closedBecause;
    this.#replies.heard();
    return this.#outbox.pieceTaken(transfer);
  }

  onDropped(transfer: number): string | void {
    if (this.#closedBecause !== undefined) return this.#closedBecause;
    const arrival = this.#arrivals.get(transfer);
    if (arrival === undefined) return "malformed dropped: of no transfer";
    this.#forget(transfer, arrival);
  }

  /** Reports a message that has stalled or has taken too long. @returns the earliest remaining deadline, or Infinity */
  endOverdue(nowMs: number): number {
    let nextMs = Infinity;
    for (const arrival of this.#arrivals.values()) nextMs = Math.min(nextMs, this.#deadlineOf(arrival));
    if (nextMs > nowMs) return nextMs;
    this.#onStalled();
    return Infinity;
  }

  close(reason: string): void {
    this.#closedBecause = reason;
    this.#arrivals.clear();
    this.#bytes = 0;
  }

  /** Extends the ask that waits for the message. @returns whether one still waits; or why the connection must close */
  #isWanted({ type, id, beganMs }: Arrival, nowMs: number): boolean | string {
    return type === MessageType.push || this.#replies.arrives(id, nowMs, beganMs);
  }

  #deadlineOf({ movedMs, beganMs }: Arrival): number {
    const { pieceStallMs, transferMs } = this.#context.limits;
    return Math.min(movedMs + STALLS * pieceStallMs, beganMs + STALLS * transferMs);
  }

  #forget(transfer: number, arrival: Arrival): void {
    this.#release(arrival);
    this.#arrivals.delete(transfer);
  }

  #release(arrival: Arrival): void {
    if (arrival.payload === undefined) return;
    arrival.payload = undefined;
    this.#bytes -= arrival.bytes;
  }
}
