import type { Clock } from "../../core/base/clock.ts";
import { atDeadline } from "../../core/base/time/deadlines.ts";
import type { PeerLimits } from "../limits.ts";
import { MAX_PUSH_BYTES, MAX_TRANSFER_BYTES, MAX_TRANSFERS, MessageType, type PartedType } from "../wire/frames.ts";
import type { FrameWriter, Payload } from "../wire/writer.ts";

/** A value or a push whose bodies are longer than one piece. */
export interface PartedMessage {
  readonly type: PartedType;
  readonly id: number;
  /** The bytes of its bodies. */
  readonly bodyBytes: number;
  /** Called when its turn comes. @throws it cannot be sent */
  readonly encode: (nowMs: number) => Payload;
  /** Gets the error of `encode`. */
  readonly onFailed: (error: unknown) => void;
  /** Called when the peer has taken a piece. @param beganMs when the first piece was sent */
  readonly onMoved?: (nowMs: number, beganMs: number) => void;
}

/** A message that is being sent in pieces. */
interface Transfer {
  readonly number: number;
  readonly message: PartedMessage;
  readonly payload: Payload;
  readonly bytes: number;
  readonly beganMs: number;
  /** Bytes of the payload that were sent. */
  sentBytes: number;
}

interface Sent {
  readonly transfer: Transfer;
  readonly bytes: number;
  readonly atMs: number;
}

/**
 * Sends long messages piece by piece, in turns; all other messages go between the pieces. The peer acknowledges each
 * piece, and the bytes in flight are bounded: the system's buffers hold megabytes, and every probe would wait behind
 * them. A peer that acknowledges nothing for `stallMs` is given up.
 */
export class OutgoingPieces {
  readonly #clock: Clock;
  readonly #limits: PeerLimits;
  readonly #onStalled: () => void;
  /** Messages that have not begun. */
  readonly #waiting: PartedMessage[] = [];
  /** Messages in progress; the first one has the next turn. */
  readonly #transfers: Transfer[] = [];
  #transferBytes = 0;
  /** Unacknowledged pieces in order. */
  readonly #sent: Sent[] = [];
  #sentBytes = 0;
  #windowBytes: number;
  /** The shortest time from a piece to its acknowledgement: the time of the empty path. */
  #leastMs = Infinity;
  #nextNumber = 1;
  #movedAtMs = 0;
  #cancelStall: (() => void) | undefined;
  /** Values and pushes that are not sent completely, and the bytes of their bodies. */
  readonly held = { values: 0, valueBytes: 0, pushes: 0, pushBytes: 0 };

  constructor(clock: Clock, limits: PeerLimits, onStalled: () => void) {
    this.#clock = clock;
    this.#limits = limits;
    this.#onStalled = onStalled;
    this.#windowBytes = limits.windowBytes;
  }

  /** Whether a piece may be sent now. */
  get isReady(): boolean {
    return (this.#transfers.length > 0 || this.#waiting.length > 0) && this.#sentBytes < this.#windowBytes;
  }

  /** Whether everything was sent and acknowledged. */
  get isIdle(): boolean {
    return this.#waiting.length === 0 && this.#transfers.length === 0 && this.#sent.length === 0;
  }

  /** How many bytes may be in flight now. */
  get windowBytes(): number {
    return this.#windowBytes;
  }

  add(message: PartedMessage): void {
    this.#waiting.push(message);
    this.#count(message, 1);
  }

  /** Writes the next piece. @returns false: none may be sent now */
  write(writer: FrameWriter): boolean {
    if (!this.isReady) return false;
    this.#begin();
    const transfer = this.#transfers.shift();
    if (transfer === undefined) return false;
    const { number, message, payload: { head, body }, sentBytes } = transfer;
    const nowMs = this.#clock.nowMs();
    if (sentBytes === 0) writer.parted(number, message.type, message.id, transfer.bytes);
    const isFirst = sentBytes === 0;
    const from = isFirst ? 0 : sentBytes - head.length;
    const until = Math.min(body.length, from + Math.max(1, this.#limits.pieceBytes - (isFirst ? head.length : 0)));
    const bytes = until - from + (isFirst ? head.length : 0);
    writer.piece(number, isFirst ? head : NOTHING, body.subarray(from, until));
    transfer.sentBytes += bytes;
    this.#sent.push({ transfer, bytes, atMs: nowMs });
    this.#sentBytes += bytes;
    this.#watch(nowMs);
    if (transfer.sentBytes < transfer.bytes) this.#transfers.push(transfer);
    else this.#end(transfer);
    return true;
  }

  /** To be called when the peer has taken a piece. @returns why the connection must close, or nothing */
  taken(number: number): string | void {
    const sent = this.#sent[0];
    if (sent === undefined || sent.transfer.number !== number) return "malformed pieceTaken: not the next piece";
    this.#sent.shift();
    this.#sentBytes -= sent.bytes;
    const nowMs = this.#clock.nowMs();
    this.#movedAtMs = nowMs;
    const { pieceDelayMs, pieceBytes, windowBytes, maxWindowBytes } = this.#limits;
    const tookMs = nowMs - sent.atMs;
    this.#leastMs = Math.min(this.#leastMs, tookMs);
    const delayMs = tookMs - this.#leastMs;
    if (delayMs <= pieceDelayMs) this.#windowBytes = Math.min(maxWindowBytes, this.#windowBytes + pieceBytes);
    else if (delayMs > 2 * pieceDelayMs) this.#windowBytes = Math.max(windowBytes, this.#windowBytes - pieceBytes);
    sent.transfer.message.onMoved?.(nowMs, sent.transfer.beganMs);
  }

  /** Withdraws a message. @returns its transfer, if a part was already sent: then the peer must be told */
  drop(type: PartedType, id: number): number | undefined {
    const isIt = (message: PartedMessage) => message.type === type && message.id === id;
    const at = this.#transfers.findIndex(({ message }) => isIt(message));
    if (at >= 0) {
      const [transfer] = this.#transfers.splice(at, 1);
      this.#end(transfer!);
      return transfer!.sentBytes > 0 ? transfer!.number : undefined;
    }
    const waitsAt = this.#waiting.findIndex(isIt);
    if (waitsAt >= 0) this.#count(this.#waiting.splice(waitsAt, 1)[0]!, -1);
    return undefined;
  }

  close(): void {
    this.#cancelStall?.();
    this.#waiting.length = 0;
    this.#transfers.length = 0;
    this.#sent.length = 0;
    this.#sentBytes = 0;
    Object.assign(this.held, { values: 0, valueBytes: 0, pushes: 0, pushBytes: 0 });
  }

  /**
   * Begins as many messages as the peer takes at a time, in order. The first piece of a new one is sent next: its times
   * count from then, and a short message need not wait for a turn of all others.
   */
  #begin(): void {
    let begun = 0;
    while (
      this.#waiting.length > 0 && this.#transfers.length < MAX_TRANSFERS &&
      this.#transferBytes + MAX_PUSH_BYTES <= MAX_TRANSFER_BYTES
    ) {
      const message = this.#waiting.shift()!;
      const beganMs = this.#clock.nowMs();
      try {
        const payload = message.encode(beganMs);
        const bytes = payload.head.length + payload.body.length;
        const number = this.#nextNumber;
        this.#nextNumber = (number + 1) >>> 0;
        this.#transfers.splice(begun++, 0, { number, message, payload, bytes, beganMs, sentBytes: 0 });
        this.#transferBytes += bytes;
      } catch (error) {
        this.#count(message, -1);
        message.onFailed(error);
      }
    }
  }

  #end(transfer: Transfer): void {
    this.#transferBytes -= transfer.bytes;
    this.#count(transfer.message, -1);
  }

  #count({ type, bodyBytes }: PartedMessage, by: 1 | -1): void {
    if (type === MessageType.value) {
      this.held.values += by;
      this.held.valueBytes += by * bodyBytes;
    } else {
      this.held.pushes += by;
      this.held.pushBytes += by * bodyBytes;
    }
  }

  /** Watches for a stall. A process that stood still reads the acknowledgements first: see deadlines.ts. */
  #watch(nowMs: number): void {
    if (this.#sent.length === 1) this.#movedAtMs = nowMs;
    this.#cancelStall ??= atDeadline(this.#clock, this.#limits.stallMs, () => this.#checkStall());
  }

  #checkStall(): void {
    this.#cancelStall = undefined;
    if (this.#sent.length === 0) return;
    const leftMs = this.#movedAtMs + this.#limits.stallMs - this.#clock.nowMs();
    if (leftMs <= 0) this.#onStalled();
    else this.#cancelStall = atDeadline(this.#clock, leftMs, () => this.#checkStall());
  }
}

const NOTHING = new Uint8Array(0);
