import type { Suspect } from "../../core/liveness/liveness.ts";
import type { Ask, AskOptions, Entry } from "../../core/ports.ts";
import type { Value } from "../../core/value.ts";
import { Answering } from "./answering.ts";
import { Asking } from "./asking.ts";
import type { ChannelContext } from "./context.ts";
import { readFrame } from "../wire/reader.ts";
import { type FailureCode, type FrameVisitor, MessageType, type PushedEntry } from "../wire/frames.ts";
import type { Greeting } from "../wire/greeting.ts";
import { Outbox } from "./outbox.ts";
import { Silence } from "./silence.ts";
import { CloseCode, type SocketHandler, type SocketLike } from "../socket/socket.ts";
import { Deadlines } from "../../core/base/deadlines.ts";

/** Why a connection ended; `isFault`: the peer broke the rules. */
export type OnLost = (reason: string, isFault: boolean) => void;

/** Questions and answers, both ways, over one connection on which both ends have greeted. */
export class Channel implements SocketHandler, FrameVisitor {
  readonly remote: Greeting;
  readonly #socket: SocketLike;
  readonly #context: ChannelContext;
  readonly #onLost: OnLost;
  readonly #outbox: Outbox;
  readonly #asking: Asking;
  readonly #answering: Answering;
  readonly #deadlines: Deadlines;
  readonly #silence: Silence;
  readonly #openedAtMs: number;
  #closedBecause: string | undefined;
  #onIdle: (() => void) | undefined;
  framesIn = 0;

  constructor(socket: SocketLike, remote: Greeting, context: ChannelContext, onLost: OnLost) {
    this.remote = remote;
    this.#socket = socket;
    this.#context = context;
    this.#onLost = onLost;
    this.#openedAtMs = context.clock.nowMs();
    const settled = () => this.#checkIdle();
    const giveUp = (code: number, reason: string) => this.#giveUp(code, reason);
    this.#outbox = new Outbox(socket, context.clock, context.schedule, context.limits, giveUp, settled);
    this.#silence = new Silence(context.limits);
    this.#deadlines = new Deadlines(context.clock, (nowMs) => this.#endOverdue(nowMs));
    this.#asking = new Asking(remote.name, context, this.#outbox, this.#deadlines, settled);
    this.#answering = new Answering(remote, context, this.#outbox, this.#deadlines, settled);
    socket.handler = this;
  }

  /** When it greeted, if the other end had nothing of the group then. */
  emptyAtMs(group: string): number | undefined {
    const told = this.remote.groups.find(({ name }) => name === group);
    return told?.isEmpty === true ? this.#openedAtMs : undefined;
  }

  /**
   * It fails with the owner's final answers, PeerError, OverloadedError, BadKeyError; the signal's reason when it aborts.
   * Never throws, nor do the questions below, synchronously.
   */
  get(group: string, key: string, ask: Ask): void {
    this.#asking.get(group, key, ask);
  }

  /** @throws PeerError, BadKeyError; the signal's reason when it aborts */
  peek(group: string, key: string, options: AskOptions): Promise<Value | undefined> {
    return this.#asking.peek(group, key, options);
  }

  /** @throws PeerError; RangeError more than fits into one message; the signal's reason when it aborts */
  push(group: string, entries: readonly Entry[], options: AskOptions): Promise<number> {
    return this.#asking.push(group, entries, options);
  }

  /**
   * Answered by the other end without any work. A poll takes its place behind what is written already: behind a full
   * socket it counts as unanswered, as would the gets of those who wait there.
   *
   * @throws PeerError; OverloadedError so many are in the air that it was not sent
   */
  probe(timeoutMs: number): Promise<void> {
    return this.#asking.probe(timeoutMs);
  }

  /** @throws PeerError */
  probeIndirectly(suspect: Suspect, timeoutMs: number): Promise<boolean> {
    return this.#asking.probeIndirectly(suspect, timeoutMs);
  }

  /** Questions without an answer, this node's and the peer's. */
  get inFlight(): { asks: number; served: number } {
    return { asks: this.#asking.inFlight, served: this.#answering.inFlight + this.#outbox.backlog };
  }

  get asked(): number {
    return this.#asking.asked;
  }

  get answered(): number {
    return this.#answering.answered;
  }

  get framesOut(): number {
    return this.#outbox.frames;
  }

  get bytesOut(): number {
    return this.#outbox.bytes;
  }

  /** Fails what is in flight at once; `onLost` is not called. Idempotent. */
  close(code: number, reason: string): void {
    if (this.#closedBecause !== undefined) return;
    this.#end(reason);
    this.#socket.close(code, reason);
  }

  /** Calls back, once, when nothing is in flight or the connection has ended; at once if so now. */
  whenIdle(action: () => void): void {
    this.#onIdle = action;
    this.#checkIdle();
  }

  opened(): void {}

  received(frame: Uint8Array<ArrayBuffer> | undefined): void {
    this.framesIn++;
    let reason: string | undefined;
    const workingBefore = this.#answering.working;
    this.#outbox.cork();
    try {
      reason = frame === undefined ? "malformed frame: not binary, or too long" : readFrame(frame, this);
    } catch (error) {
      this.#context.log.error(`peer ${this.remote.name}: a frame broke its reader: ${error}`);
      reason = "internal error";
    }
    if (this.#closedBecause !== undefined) return;
    if (reason !== undefined) {
      this.close(CloseCode.malformed, reason);
      this.#onLost(reason, true);
      return;
    }
    // Answers that were at hand leave at once, unless others asked in this frame may still join them in this tick.
    this.#outbox.uncork(this.#answering.working <= workingBefore);
    this.#checkIdle();
  }

  closed(reason: string): void {
    if (this.#closedBecause !== undefined) return;
    this.#end(reason);
    this.#onLost(reason, false);
  }

  onGreeting(): string {
    return "malformed frame: a second greeting";
  }

  // The rest of a frame in whose middle the connection was closed is not worked on.

  onGet(id: number, groupIndex: number, timeoutMs: number, key: string): string | void {
    return this.#closedBecause ?? this.#answering.onGet(id, groupIndex, timeoutMs, key);
  }

  onPeek(id: number, groupIndex: number, timeoutMs: number, key: string): string | void {
    return this.#closedBecause ?? this.#answering.onPeek(id, groupIndex, timeoutMs, key);
  }

  onPush(id: number, groupIndex: number, entries: readonly PushedEntry[]): string | void {
    return this.#closedBecause ?? this.#answering.onPush(id, groupIndex, entries);
  }

  onProbe(id: number): string | void {
    if (this.#closedBecause !== undefined) return this.#closedBecause;
    this.#outbox.bare(MessageType.probed, id);
    this.#context.onProbed();
  }

  onIndirectProbe(id: number, timeoutMs: number, name: string, incarnation: string): string | void {
    return this.#closedBecause ?? this.#answering.onVouch(id, timeoutMs, name, incarnation);
  }

  onCancel(id: number): void {
    this.#answering.onCancel(id);
  }

  onValue(
    id: number,
    ageMs: number,
    ttlLeftMs: number,
    contentType: string,
    body: Uint8Array<ArrayBuffer>,
  ): string | void {
    return this.#asking.onValue(id, ageMs, ttlLeftMs, contentType, body);
  }

  onFailure(id: number, code: FailureCode, detail: string): void {
    this.#asking.onFailure(id, code, detail);
  }

  onNothing(id: number): string | void {
    return this.#asking.onAnswer(MessageType.peek, id, undefined);
  }

  onProbed(id: number): string | void {
    return this.#asking.onAnswer(MessageType.probe, id, undefined);
  }

  onIndirectProbed(id: number, isAlive: boolean): string | void {
    return this.#asking.onAnswer(MessageType.indirectProbe, id, isAlive);
  }

  onTaken(id: number, count: number): string | void {
    return this.#asking.onAnswer(MessageType.push, id, count);
  }

  #endOverdue(nowMs: number): number {
    const overdueBefore = this.#asking.overdue;
    const nextMs = Math.min(this.#asking.endOverdue(nowMs), this.#answering.endOverdue(nowMs));
    if (this.#asking.overdue > overdueBefore) this.#missed(nowMs);
    this.#checkIdle();
    return this.#closedBecause === undefined ? nextMs : Infinity;
  }

  #missed(nowMs: number): void {
    const { framesIn, bytesOut } = this;
    const isDead = this.#silence.missed(nowMs, { framesIn, bytesOut, unsentBytes: this.#socket.bufferedBytes });
    if (isDead) this.#giveUp(CloseCode.silent, "nothing comes from it, and it answers nothing");
  }

  #giveUp(code: number, reason: string): void {
    if (this.#closedBecause !== undefined) return;
    this.close(code, reason);
    this.#onLost(reason, false);
  }

  #end(reason: string): void {
    this.#closedBecause = reason;
    this.#deadlines.stop();
    this.#outbox.close();
    this.#asking.close(reason);
    this.#answering.close();
    this.#checkIdle();
  }

  #checkIdle(): void {
    if (this.#onIdle === undefined) return;
    const { asks, served } = this.inFlight;
    if (this.#closedBecause === undefined && (asks + served > 0 || this.#outbox.isStuck)) return;
    const action = this.#onIdle;
    this.#onIdle = undefined;
    this.#outbox.flush();
    action();
  }
}
