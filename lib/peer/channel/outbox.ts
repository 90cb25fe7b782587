import type { Clock } from "../../core/base/clock.ts";
import type { Trace } from "../../core/base/trace.ts";
import { PassThroughError, PeerError } from "../../core/errors.ts";
import type { Label } from "../../core/invalidation/label.ts";
import type { Entry, RequestHead } from "../../core/ports.ts";
import type { Value } from "../../core/value.ts";
import { FrameWriter, pushPayload, valuePayload } from "../wire/writer.ts";
import { type BareType, FailureCode, type GroupNews, MessageType, type PartedType } from "../wire/frames.ts";
import type { PeerLimits } from "../limits.ts";
import type { Schedule } from "../service.ts";
import { CloseCode, type SocketLike } from "../socket/socket.ts";
import { OutgoingPieces } from "./outgoing-pieces.ts";

/** Receives the progress of a push. */
export interface PushReply {
  /** Receives the errors of a push that was not sent at once. */
  readonly onFailed: (error: unknown) => void;
  /** Called when the peer has taken a piece of it. @param beganMs when the first piece was sent */
  readonly onMoved: (nowMs: number, beganMs: number) => void;
}

/** A value or a push that waits, not encoded yet, for room in the socket. */
type Waiting =
  | { readonly id: number; readonly value: Value; readonly bytes: number }
  | {
    readonly id: number;
    readonly group: number;
    readonly entries: readonly Entry[];
    readonly isWritten: boolean;
    readonly bytes: number;
    readonly reply: PushReply;
  };

/**
 * The messages to send over one socket. The messages of one tick share one frame. While the socket is full, values and pushes
 * wait as references, so that a slow reader costs no copies; other messages wait encoded. After `stallMs` without progress the
 * connection is given up. Longer messages are sent in pieces, after all others: see outgoing-pieces.ts.
 */
export class Outbox {
  readonly #socket: SocketLike;
  readonly #clock: Clock;
  readonly #schedule: Schedule;
  readonly #limits: PeerLimits;
  readonly #giveUp: (code: number, reason: string) => void;
  readonly #onDrained: () => void;
  readonly #writer = new FrameWriter();
  readonly #pieces: OutgoingPieces;
  readonly #pieceBytes: number;
  readonly #waiting: Waiting[] = [];
  #waitingPushes = 0;
  #waitingPushBytes = 0;
  #waitingValueBytes = 0;
  readonly #flushLater = () => {
    this.#scheduled = false;
    this.flush();
  };
  readonly #flushNow = () => {
    this.#isFlushingSoon = false;
    this.flush();
  };
  #isFlushingSoon = false;
  #scheduled = false;
  #corked = false;
  #full = false;
  #fullBytes = 0;
  #fullSinceMs = 0;
  #cancelPoll: (() => void) | undefined;
  #closed = false;
  frames = 0;
  bytes = 0;

  /** @param onDrained called when no message waits for the socket any more */
  constructor(
    socket: SocketLike,
    clock: Clock,
    schedule: Schedule,
    limits: PeerLimits,
    giveUp: (code: number, reason: string) => void,
    onDrained: () => void,
  ) {
    this.#socket = socket;
    this.#clock = clock;
    this.#schedule = schedule;
    this.#limits = limits;
    this.#giveUp = giveUp;
    this.#onDrained = onDrained;
    this.#pieceBytes = limits.pieceBytes;
    this.#pieces = new OutgoingPieces(clock, limits, () => this.#stalled());
  }

  /** @throws BadKeyError, RangeError the key or the label cannot be sent; then nothing was written */
  get(id: number, group: number, timeoutMs: number, after: Label, key: string): void {
    this.#writer.get(id, group, timeoutMs, after, key);
    this.#wrote();
  }

  /** @throws BadKeyError the key cannot be sent; then nothing was written */
  peek(id: number, group: number, timeoutMs: number, key: string): void {
    this.#writer.peek(id, group, timeoutMs, key);
    this.#wrote();
  }

  /**
   * A get with the header fields of the client's request.
   *
   * @throws BadKeyError, RangeError as `get`; PassThroughError the fields cannot be sent. Then nothing was written
   */
  getFor(id: number, group: number, timeoutMs: number, after: Label, key: string, request: RequestHead): void {
    this.#writer.getFor(id, group, timeoutMs, after, key, request);
    this.#wrote();
  }

  /** To be called just before the get or getFor with this id. */
  traced(id: number, trace: Trace): void {
    this.#writer.traced(id, trace);
    this.#wrote();
  }

  bare(type: BareType, id: number): void {
    this.#writer.bare(type, id);
    this.#wrote();
  }

  /** @throws RangeError the suspect's name or incarnation cannot be sent; then nothing was written */
  indirectProbe(id: number, timeoutMs: number, name: string, incarnation: string): void {
    this.#writer.indirectProbe(id, timeoutMs, name, incarnation);
    this.#wrote();
  }

  indirectProbed(id: number, isAlive: boolean): void {
    this.#writer.indirectProbed(id, isAlive);
    this.#wrote();
  }

  taken(id: number, count: number): void {
    this.#writer.taken(id, count);
    this.#wrote();
  }

  /**
   * @throws RangeError more than one message can hold; BadKeyError a key that cannot be sent; PeerError too much waits
   * behind the full socket. Then nothing was written
   * @param reply gets the first two errors of a push that had to wait
   */
  push(id: number, group: number, entries: readonly Entry[], isWritten: boolean, reply: PushReply): void {
    const bytes = entries.reduce((sum, { value }) => sum + value.body.length, 0);
    const isParted = bytes > this.#pieceBytes;
    if (!this.#full && !isParted) return this.#writePush(id, group, entries, isWritten);
    const { pushes, pushBytes } = this.#pieces.held;
    const heldBytes = this.#waitingPushBytes + pushBytes;
    if (this.#waitingPushes + pushes > 0 && heldBytes + bytes > this.#limits.pushBacklogBytes) {
      throw new PeerError("the connection is full");
    }
    if (isParted) {
      const encode = (nowMs: number) => pushPayload(group, entries, isWritten, nowMs);
      this.#pieces.add({ type: MessageType.push, id, bodyBytes: bytes, encode, ...reply });
      return this.#wrote();
    }
    this.#waiting.push({ id, group, entries, isWritten, bytes, reply });
    this.#waitingPushes++;
    this.#waitingPushBytes += bytes;
  }

  /** @throws RangeError the label cannot be sent; then nothing was written */
  catchUp(id: number, timeoutMs: number, label: Label): void {
    this.#writer.catchUp(id, timeoutMs, label);
    this.#wrote();
  }

  /** @throws RangeError as `catchUp` */
  caughtUp(id: number, label: Label): void {
    this.#writer.caughtUp(id, label);
    this.#wrote();
  }

  /** @throws RangeError as `catchUp` */
  applied(label: Label): void {
    this.#writer.applied(label);
    this.#wrote();
  }

  failure(id: number, code: FailureCode, detail: string): void {
    this.#writer.failure(id, code, detail);
    this.#wrote();
  }

  groupAdded(group: GroupNews): void {
    this.#writer.groupAdded(group);
    this.#wrote();
  }

  groupRemoved(group: number): void {
    this.#writer.groupRemoved(group);
    this.#wrote();
  }

  /** Replies "overloaded" instead if too much waits behind the full socket. */
  value(id: number, value: Value): void {
    const bytes = value.body.length;
    const isParted = bytes > this.#pieceBytes;
    if (!this.#full && !isParted) return this.#writeValue(id, value);
    const heldBytes = this.#waitingValueBytes + this.#pieces.held.valueBytes;
    if (heldBytes > 0 && heldBytes + bytes > this.#limits.valueBacklogBytes) {
      return this.failure(id, FailureCode.overloaded, "the connection is full");
    }
    if (isParted) {
      const encode = (nowMs: number) => valuePayload(value, nowMs);
      const onFailed = (error: unknown) => this.#valueFailed(id, error);
      this.#pieces.add({ type: MessageType.value, id, bodyBytes: bytes, encode, onFailed });
      return this.#wrote();
    }
    this.#waiting.push({ id, value, bytes });
    this.#waitingValueBytes += bytes;
  }

  /** Makes messages wait for `uncork`. A full batch is still sent. */
  cork(): void {
    this.#corked = true;
  }

  /** @param now sends at once instead of at the end of the tick */
  uncork(now: boolean): void {
    this.#corked = false;
    if (now) this.flush();
    else this.#wrote();
  }

  get isCorked(): boolean {
    return this.#corked;
  }

  /** Withdraws a value that waits for the socket or is sent in pieces. */
  drop(id: number): void {
    const at = this.#waiting.findIndex((one) => "value" in one && one.id === id);
    if (at >= 0) this.#waitingValueBytes -= this.#waiting.splice(at, 1)[0]!.bytes;
    else this.#dropPieces(MessageType.value, id);
  }

  /** Withdraws a push that waits for the socket or is sent in pieces. */
  dropPush(id: number): void {
    const at = this.#waiting.findIndex((one) => !("value" in one) && one.id === id);
    if (at < 0) return this.#dropPieces(MessageType.push, id);
    this.#waitingPushes--;
    this.#waitingPushBytes -= this.#waiting.splice(at, 1)[0]!.bytes;
  }

  /** To be called when the peer has taken a piece. @returns why the connection must close, or nothing */
  pieceTaken(transfer: number): string | void {
    const fault = this.#pieces.taken(transfer);
    if (fault !== undefined) return fault;
    this.#wrote();
    if (this.#pieces.isIdle) this.#onDrained();
  }

  /** Whether encoded messages wait behind a full socket, or pieces wait until the peer takes others. */
  get isStuck(): boolean {
    return this.#full && this.#writer.length > 0 || !this.#pieces.isIdle;
  }

  /** The number of values that wait behind a full socket or are sent in pieces. */
  get backlog(): number {
    return this.#waiting.length - this.#waitingPushes + this.#pieces.held.values;
  }

  /**
   * Sends as soon as the due promises have settled, before the rest of this turn of the event loop. Requests at the
   * peer wait for this reply and must not wait for all requests of this node, too.
   */
  flushSoon(): void {
    if (this.#isFlushingSoon || this.#corked || this.#isEmpty) return;
    this.#isFlushingSoon = true;
    queueMicrotask(this.#flushNow);
  }

  /** Sends the messages so far, unless the socket is full; then as many pieces as allowed. */
  flush(): void {
    if (this.#closed || this.#full) return;
    if (this.#writer.length > 0) this.#send();
    while (this.#pieces.isReady && !this.#full && !this.#closed && this.#pieces.write(this.#writer)) this.#send();
  }

  #send(): void {
    const frame = this.#writer.take();
    this.frames++;
    this.bytes += frame.length;
    if (!this.#socket.send(frame)) return this.#giveUp(CloseCode.stalled, "a frame could not be sent");
    const bufferedBytes = this.#socket.bufferedBytes;
    if (bufferedBytes > this.#limits.socketBytes) this.#becomeFull(bufferedBytes);
  }

  close(): void {
    this.#closed = true;
    this.#pieces.close();
    this.#cancelPoll?.();
    this.#waiting.length = 0;
    this.#waitingPushes = 0;
    this.#waitingPushBytes = 0;
    this.#waitingValueBytes = 0;
  }

  #writeValue(id: number, value: Value): void {
    try {
      this.#writer.value(id, value, this.#clock.nowMs());
    } catch (error) {
      return this.#valueFailed(id, error);
    }
    this.#wrote();
  }

  /** Sends a final failure, as any other peer would fail with this value, too. */
  #valueFailed(id: number, error: unknown): void {
    const code = error instanceof PassThroughError ? FailureCode.passThrough : FailureCode.originFailed;
    this.failure(id, code, error instanceof Error ? error.message : "no value");
  }

  #dropPieces(type: PartedType, id: number): void {
    if (this.#pieces.isIdle) return;
    const transfer = this.#pieces.drop(type, id);
    if (transfer !== undefined) this.bare(MessageType.dropped, transfer);
  }

  get #isEmpty(): boolean {
    return this.#writer.length === 0 && !this.#pieces.isReady;
  }

  #writePush(id: number, group: number, entries: readonly Entry[], isWritten: boolean): void {
    this.#writer.push(id, group, entries, isWritten, this.#clock.nowMs());
    this.#wrote();
  }

  #wrote(): void {
    if (this.#closed) return;
    if (this.#writer.length >= this.#limits.batchBytes) {
      this.flush();
      if (this.#writer.length > this.#limits.backlogBytes) this.#giveUp(CloseCode.stalled, "too much waits to be sent");
    } else if (!this.#scheduled && !this.#corked && !this.#isEmpty) {
      this.#scheduled = true;
      this.#schedule(this.#flushLater);
    }
  }

  #becomeFull(bufferedBytes: number): void {
    this.#full = true;
    this.#fullBytes = bufferedBytes;
    this.#fullSinceMs = this.#clock.nowMs();
    this.#cancelPoll = this.#clock.after(this.#limits.drainPollMs, () => this.#poll());
  }

  #poll(): void {
    const bufferedBytes = this.#socket.bufferedBytes;
    const nowMs = this.#clock.nowMs();
    if (bufferedBytes <= this.#limits.socketBytes / 2) {
      this.#full = false;
      this.#cancelPoll = undefined;
      return this.#drain();
    }
    if (bufferedBytes < this.#fullBytes) {
      this.#fullBytes = bufferedBytes;
      this.#fullSinceMs = nowMs;
    } else if (nowMs - this.#fullSinceMs >= this.#limits.stallMs) {
      return this.#stalled();
    }
    this.#cancelPoll = this.#clock.after(this.#limits.drainPollMs, () => this.#poll());
  }

  #stalled(): void {
    this.#giveUp(CloseCode.stalled, `takes nothing for ${this.#limits.stallMs} ms`);
  }

  #drain(): void {
    if (this.#writer.length > 0) this.#send();
    let written = 0;
    while (written < this.#waiting.length && !this.#full && !this.#closed) {
      const next = this.#waiting[written++]!;
      if ("value" in next) {
        this.#waitingValueBytes -= next.bytes;
        this.#writeValue(next.id, next.value);
      } else {
        this.#waitingPushes--;
        this.#waitingPushBytes -= next.bytes;
        try {
          this.#writePush(next.id, next.group, next.entries, next.isWritten);
        } catch (error) {
          next.reply.onFailed(error);
        }
      }
    }
    this.#waiting.splice(0, written);
    this.flush();
    if (!this.#full) this.#onDrained();
  }
}
