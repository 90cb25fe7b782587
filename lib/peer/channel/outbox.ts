import type { Clock } from "../../core/base/clock.ts";
import { PassThroughError, PeerError } from "../../core/errors.ts";
import type { Label } from "../../core/invalidation/label.ts";
import type { Entry, RequestHead } from "../../core/ports.ts";
import type { Value } from "../../core/value.ts";
import { FrameWriter } from "../wire/writer.ts";
import { type BareType, FailureCode, type GroupNews } from "../wire/frames.ts";
import type { PeerLimits } from "../limits.ts";
import type { Schedule } from "../service.ts";
import { CloseCode, type SocketLike } from "../socket/socket.ts";

/** A value or a push that waits, not yet encoded, for the socket to have room. */
type Waiting =
  | { readonly id: number; readonly value: Value; readonly bytes: number }
  | {
    readonly id: number;
    readonly group: number;
    readonly entries: readonly Entry[];
    readonly isWritten: boolean;
    readonly bytes: number;
    readonly onFailed: (error: unknown) => void;
  };

/**
 * The messages that leave over one socket. Messages of one tick gather in one frame. While the socket is full, values
 * and pushes wait as references, so that a slow reader costs no copies; other messages wait encoded. A reader that takes
 * nothing for `stallMs` is given up.
 */
export class Outbox {
  readonly #socket: SocketLike;
  readonly #clock: Clock;
  readonly #schedule: Schedule;
  readonly #limits: PeerLimits;
  readonly #giveUp: (code: number, reason: string) => void;
  readonly #onDrained: () => void;
  readonly #writer = new FrameWriter();
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

  /** @param onDrained called when no message waits behind the socket any more */
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
  }

  /** @throws BadKeyError, RangeError the key, or the label, cannot travel; nothing was written then */
  get(id: number, group: number, timeoutMs: number, after: Label, key: string): void {
    this.#writer.get(id, group, timeoutMs, after, key);
    this.#wrote();
  }

  /** @throws BadKeyError the key cannot travel; nothing was written then */
  peek(id: number, group: number, timeoutMs: number, key: string): void {
    this.#writer.peek(id, group, timeoutMs, key);
    this.#wrote();
  }

  /**
   * A get with what the client's request says beside the key.
   *
   * @throws BadKeyError, RangeError as `get`; PassThroughError the fields cannot travel. Nothing was written then
   */
  getFor(id: number, group: number, timeoutMs: number, after: Label, key: string, request: RequestHead): void {
    this.#writer.getFor(id, group, timeoutMs, after, key, request);
    this.#wrote();
  }

  bare(type: BareType, id: number): void {
    this.#writer.bare(type, id);
    this.#wrote();
  }

  /** @throws RangeError the suspect's name or incarnation cannot travel; nothing was written then */
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
   * @throws RangeError more than one message holds; BadKeyError a key that cannot travel; PeerError too much waits behind
   * the full socket. Nothing was written then
   * @param onFailed takes the first two errors of a push that had to wait
   */
  push(
    id: number,
    group: number,
    entries: readonly Entry[],
    isWritten: boolean,
    onFailed: (error: unknown) => void,
  ): void {
    if (!this.#full) return this.#writePush(id, group, entries, isWritten);
    const bytes = entries.reduce((sum, { value }) => sum + value.body.length, 0);
    if (this.#waitingPushes > 0 && this.#waitingPushBytes + bytes > this.#limits.pushBacklogBytes) {
      throw new PeerError("the connection is full");
    }
    this.#waiting.push({ id, group, entries, isWritten, bytes, onFailed });
    this.#waitingPushes++;
    this.#waitingPushBytes += bytes;
  }

  /** @throws RangeError the label cannot travel; nothing was written then */
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

  /** Replies "overloaded" in its place when too much waits behind the full socket. */
  value(id: number, value: Value): void {
    if (!this.#full) return this.#writeValue(id, value);
    const bytes = value.body.length;
    if (this.#waitingValueBytes > 0 && this.#waitingValueBytes + bytes > this.#limits.valueBacklogBytes) {
      return this.failure(id, FailureCode.overloaded, "the connection is full");
    }
    this.#waiting.push({ id, value, bytes });
    this.#waitingValueBytes += bytes;
  }

  /** Messages wait for `uncork`. A full batch leaves all the same. */
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

  /** Takes back a value that waits for the socket. */
  drop(id: number): void {
    const at = this.#waiting.findIndex((one) => "value" in one && one.id === id);
    if (at >= 0) this.#waitingValueBytes -= this.#waiting.splice(at, 1)[0]!.bytes;
  }

  /** Whether encoded messages wait behind a full socket. */
  get isStuck(): boolean {
    return this.#full && this.#writer.length > 0;
  }

  /** Values that wait behind a full socket. */
  get backlog(): number {
    return this.#waiting.length - this.#waitingPushes;
  }

  /**
   * Sends as soon as the promises that are due have settled, ahead of the rest of this turn of the event loop: requests at
   * the peer wait for this reply, and must not wait for all the requests of this node as well.
   */
  flushSoon(): void {
    if (this.#isFlushingSoon || this.#corked || this.#writer.length === 0) return;
    this.#isFlushingSoon = true;
    queueMicrotask(this.#flushNow);
  }

  /** Sends the messages so far, unless the socket is full. */
  flush(): void {
    if (this.#closed || this.#full || this.#writer.length === 0) return;
    const frame = this.#writer.take();
    this.frames++;
    this.bytes += frame.length;
    if (!this.#socket.send(frame)) return this.#giveUp(CloseCode.stalled, "a frame could not be sent");
    const bufferedBytes = this.#socket.bufferedBytes;
    if (bufferedBytes > this.#limits.socketBytes) this.#becomeFull(bufferedBytes);
  }

  close(): void {
    this.#closed = true;
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
      // Final: the value would be the same at any other peer.
      const code = error instanceof PassThroughError ? FailureCode.passThrough : FailureCode.originFailed;
      this.#writer.failure(id, code, error instanceof Error ? error.message : "no value");
    }
    this.#wrote();
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
    } else if (!this.#scheduled && !this.#corked && this.#writer.length > 0) {
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
      return this.#giveUp(CloseCode.stalled, `takes nothing for ${this.#limits.stallMs} ms`);
    }
    this.#cancelPoll = this.#clock.after(this.#limits.drainPollMs, () => this.#poll());
  }

  #drain(): void {
    this.flush();
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
          next.onFailed(error);
        }
      }
    }
    this.#waiting.splice(0, written);
    if (!this.#full) this.#onDrained();
  }
}
