import type { CancelSignal } from "../../core/base/cancel.ts";
import type { Deadlines } from "../../core/base/time/deadlines.ts";
import { IntrusiveTable, type TableNode } from "../../core/base/tables/intrusive-table.ts";
import type { Reply } from "../../core/base/reply.ts";
import { OverloadedError, PeerError } from "../../core/errors.ts";
import { BLIND, type Label } from "../../core/invalidation/label.ts";
import type { Suspect } from "../../core/liveness/probed-peer.ts";
import type { Ask, AskOptions, Entry, PushOptions } from "../../core/ports.ts";
import type { Value } from "../../core/value.ts";
import type { ChannelContext } from "../service.ts";
import { errorOf } from "../wire/failures.ts";
import { type AskType, type FailureCode, MessageType, type ReplyVisitor } from "../wire/frames.ts";
import { canTravel } from "../wire/writer.ts";
import type { OwnGroupIds } from "./groups.ts";
import type { Outbox } from "./outbox.ts";
import type { ToldLabel } from "./told-label.ts";

/**
 * The share of an ask's time for the way back. So an owner with a slow origin can say so in time, which is final; the
 * asking node falls back only if the owner is silent. Chosen, like its bound: a hop takes well under 250 ms.
 */
const WAY_BACK_SHARE = 0.1;
const MAX_WAY_BACK_MS = 250;
const ONCE = { once: true };
const MISFIT = "malformed reply: of another kind than its ask";

/** The content of a reply: a value or nothing, yes or no, a count, a label. */
type Result = Value | Label | boolean | number | undefined | void;

/** The receiver of an ask's result and of the news that a value is arriving. */
type ResultReply = Reply<Result> & Pick<Ask, "arriving">;

/** An ask in flight. It is its own abort listener, as a closure per ask would cost more than the ask. */
class OutgoingAsk implements TableNode<OutgoingAsk> {
  readonly type: AskType;
  /** Its id in frames. */
  readonly number: number;
  follower: OutgoingAsk | undefined = undefined;
  deadlineMs: number;
  readonly signal: CancelSignal | undefined;
  readonly reply: ResultReply;
  private readonly abandon: (ask: OutgoingAsk) => void;

  constructor(
    type: AskType,
    id: number,
    deadlineMs: number,
    signal: CancelSignal | undefined,
    reply: ResultReply,
    abandon: (ask: OutgoingAsk) => void,
  ) {
    this.type = type;
    this.number = id;
    this.deadlineMs = deadlineMs;
    this.signal = signal;
    this.reply = reply;
    this.abandon = abandon;
  }

  handleEvent(): void {
    this.abandon(this);
  }
}

/** This node's asks over one channel, and the peer's replies to them. No method throws synchronously. */
export class OutgoingAsks implements ReplyVisitor {
  readonly #remote: string;
  readonly #context: ChannelContext;
  readonly #outbox: Outbox;
  readonly #deadlines: Deadlines;
  readonly #told: ToldLabel;
  readonly #isTraced: boolean;
  readonly #onSettled: () => void;
  readonly #groupIds: OwnGroupIds;
  readonly #asks = new IntrusiveTable<OutgoingAsk>();
  readonly #abandon = (ask: OutgoingAsk) => this.#abandoned(ask);
  /**
   * Asks that clients cause: gets, peeks and catch-ups. Other asks have a separate bound, so that a busy peer does not
   * look dead.
   */
  #clientAsks = 0;
  #nextId = 1;
  #closedBecause: string | undefined;
  /** Gets and peeks so far. */
  asked = 0;
  /** Asks of any kind so far that had no reply in time. */
  overdue = 0;

  /**
   * @param isTraced whether the peer knows `traced`
   * @param onSettled called when an ask was abandoned
   */
  constructor(
    remote: string,
    groupIds: OwnGroupIds,
    context: ChannelContext,
    outbox: Outbox,
    deadlines: Deadlines,
    told: ToldLabel,
    isTraced: boolean,
    onSettled: () => void,
  ) {
    this.#isTraced = isTraced;
    this.#remote = remote;
    this.#context = context;
    this.#outbox = outbox;
    this.#deadlines = deadlines;
    this.#told = told;
    this.#onSettled = onSettled;
    this.#groupIds = groupIds;
  }

  get inFlight(): number {
    return this.#asks.size;
  }

  /**
   * Rejected with the owner's final answers, BehindError, PeerError, OverloadedError, BadKeyError; with
   * PassThroughError if the request's fields cannot be sent; with the signal's reason when it aborts.
   */
  get(group: string, key: string, ask: Ask): void {
    this.#askFor(MessageType.get, group, key, ask.after, ask, ask, ask);
  }

  /** @throws PeerError, BadKeyError; the signal's reason when it aborts */
  peek(group: string, key: string, options: AskOptions): Promise<Value | undefined> {
    return promised(({ resolve, reject }) => {
      const reply = { resolve, reject, arriving: (untilMs: number) => options.arriving?.(untilMs) };
      this.#askFor(MessageType.peek, group, key, BLIND, {}, options, reply);
    });
  }

  /** @throws PeerError; OverloadedError it was not sent, as too many asks are in flight */
  probe(timeoutMs: number): Promise<void> {
    return this.#askOf(MessageType.probe, timeoutMs, undefined, (id) => this.#outbox.bare(MessageType.probe, id));
  }

  /** @throws PeerError */
  probeIndirectly({ name, incarnation }: Suspect, timeoutMs: number): Promise<boolean> {
    return this.#askOf(MessageType.indirectProbe, timeoutMs, undefined, (id) => {
      this.#outbox.indirectProbe(id, timeWithoutWayBack(timeoutMs), name, incarnation);
    });
  }

  /**
   * Leaves out entries that no frame can hold, so that the others arrive.
   *
   * @throws PeerError; RangeError more than fits into one message; the signal's reason when it aborts
   */
  push(group: string, given: readonly Entry[], options: PushOptions): Promise<number> {
    const { signal, timeoutMs, isWritten = false } = options;
    const entries = given.filter(({ value }) => canTravel(value));
    if (entries.length === 0) return Promise.resolve(0);
    const groupId = this.#groupIds.idOf(group);
    if (groupId === undefined) return Promise.reject(noSuchGroup(group));
    const taken = this.#askOf<number>(MessageType.push, timeoutMs, signal, (id) => {
      this.#outbox.push(id, groupId, entries, isWritten, {
        onFailed: (error) => this.#reject(id, error),
        onMoved: (nowMs, beganMs) => void this.#goesOn(this.#asks.first(id), nowMs, beganMs),
      });
    });
    return taken.then((count) => Math.min(count, entries.length));
  }

  /** @throws PeerError; the signal's reason when it aborts */
  catchUp(label: Label, { signal, timeoutMs }: AskOptions): Promise<Label> {
    return this.#askOf(MessageType.catchUp, timeoutMs, signal, (id) => {
      this.#outbox.catchUp(id, timeWithoutWayBack(timeoutMs), label);
    });
  }

  // Replies to abandoned asks are ignored.

  onValue(id: number, value: Value): string | void {
    const ask = this.#asks.first(id);
    if (ask === undefined) return;
    if (ask.type !== MessageType.get && ask.type !== MessageType.peek) return MISFIT;
    this.#forget(ask);
    // A peeked value goes into a cache, so copy its body out of the frame. A value from a get is rarely kept.
    ask.reply.resolve(ask.type === MessageType.peek ? { ...value, body: value.body.slice() } : value);
  }

  onNothing(id: number): string | void {
    return this.#onReply(MessageType.peek, id, undefined);
  }

  onProbed(id: number): string | void {
    return this.#onReply(MessageType.probe, id, undefined);
  }

  onIndirectProbed(id: number, isAlive: boolean): string | void {
    return this.#onReply(MessageType.indirectProbe, id, isAlive);
  }

  onTaken(id: number, count: number): string | void {
    return this.#onReply(MessageType.push, id, count);
  }

  onCaughtUp(id: number, label: Label): string | void {
    // The label tells the peer's position even if its ask no longer waits.
    this.#told.replied(label);
    return this.#onReply(MessageType.catchUp, id, label);
  }

  /**
   * To be called for each piece of a value: its ask continues even beyond its own time.
   *
   * @param beganMs when the first piece came
   * @returns whether the value is still wanted; or why the connection must close
   */
  arrives(id: number, nowMs: number, beganMs: number): boolean | string {
    const ask = this.#asks.first(id);
    if (ask === undefined) return false;
    if (ask.type !== MessageType.get && ask.type !== MessageType.peek) return MISFIT;
    const untilMs = this.#goesOn(ask, nowMs, beganMs);
    ask.reply.arriving?.(untilMs);
    return true;
  }

  /**
   * To be called when bytes of a long message move, in or out. This proves that the peer lives; its reply waits behind
   * them.
   */
  heard(): void {
    if (this.#asks.size === this.#clientAsks) return;
    for (const ask of this.#asks.all()) {
      if (ask.type === MessageType.probe && this.#forget(ask)) ask.reply.resolve(undefined);
    }
  }

  onFailure(id: number, code: FailureCode, detail: string): void {
    const ask = this.#asks.first(id);
    if (ask === undefined) return;
    this.#forget(ask);
    const error = errorOf(code, detail, this.#remote);
    // Only a get has final answers. For other asks each failure means that this peer cannot help.
    const isFinal = ask.type === MessageType.get || error instanceof PeerError;
    ask.reply.reject(isFinal ? error : new PeerError(`${this.#remote}: ${detail}`));
  }

  /** Rejects overdue asks. @returns the earliest remaining deadline, or Infinity */
  endOverdue(nowMs: number): number {
    let nextMs = Infinity;
    for (const ask of this.#asks.all()) {
      if (ask.deadlineMs > nowMs) nextMs = Math.min(nextMs, ask.deadlineMs);
      else if (this.#forget(ask)) {
        this.overdue++;
        this.#cancel(ask);
        ask.reply.reject(new PeerError(`${this.#remote} did not answer in time`));
      }
    }
    return nextMs;
  }

  close(reason: string): void {
    this.#closedBecause = reason;
    // A rejected ask may abandon others, so check that each is still there.
    for (const ask of this.#asks.all()) if (this.#forget(ask)) ask.reply.reject(this.#lostError(reason));
  }

  #askFor(
    type: typeof MessageType["get" | "peek"],
    group: string,
    key: string,
    after: Label,
    { request, trace }: Pick<Ask, "request" | "trace">,
    { signal, timeoutMs }: AskOptions,
    reply: ResultReply,
  ): void {
    if (signal.aborted || this.#closedBecause !== undefined || this.#clientAsks >= this.#context.limits.asksInFlight) {
      return reply.reject(this.#refusal(type, signal));
    }
    const groupId = this.#groupIds.idOf(group);
    if (groupId === undefined) return reply.reject(noSuchGroup(group));
    const id = this.#nextId;
    this.#nextId = (id + 1) >>> 0;
    try {
      const timeMs = timeWithoutWayBack(timeoutMs);
      if (trace !== undefined && this.#isTraced) this.#outbox.traced(id, trace);
      if (type === MessageType.peek) this.#outbox.peek(id, groupId, timeMs, key);
      else if (request === undefined) this.#outbox.get(id, groupId, timeMs, after, key);
      else this.#outbox.getFor(id, groupId, timeMs, after, key, request);
    } catch (error) {
      return reply.reject(error);
    }
    this.asked++;
    this.#await(type, id, timeoutMs, signal, reply);
  }

  #askOf<T extends Result>(
    type: AskType,
    timeoutMs: number,
    signal: CancelSignal | undefined,
    write: (id: number) => void,
  ): Promise<T> {
    const { asksInFlight, membershipInFlight } = this.#context.limits;
    const isFull = isForClient(type)
      ? this.#clientAsks >= asksInFlight
      : this.#asks.size - this.#clientAsks >= membershipInFlight;
    if (signal?.aborted || this.#closedBecause !== undefined || isFull) {
      return Promise.reject(this.#refusal(type, signal));
    }
    const id = this.#nextId;
    this.#nextId = (id + 1) >>> 0;
    try {
      write(id);
    } catch (error) {
      return Promise.reject(error);
    }
    return promised((reply) => this.#await(type, id, timeoutMs, signal, reply));
  }

  /** Why an ask is not sent. */
  #refusal(type: AskType, signal: CancelSignal | undefined): unknown {
    if (signal?.aborted) return signal.reason;
    if (this.#closedBecause !== undefined) return this.#lostError(this.#closedBecause);
    const message = `${this.#asks.size} asks of ${this.#remote} are in flight`;
    // A probe that was not sent says nothing about the peer.
    const isOurs = type === MessageType.get || type === MessageType.probe;
    return isOurs ? new OverloadedError(message) : new PeerError(message);
  }

  #await(
    type: AskType,
    id: number,
    timeoutMs: number,
    signal: CancelSignal | undefined,
    reply: ResultReply,
  ): void {
    // The write may have found a dead socket.
    if (this.#closedBecause !== undefined) return reply.reject(this.#lostError(this.#closedBecause));
    const deadlineMs = this.#context.clock.nowMs() + timeoutMs;
    const ask = new OutgoingAsk(type, id, deadlineMs, signal, reply, this.#abandon);
    this.#asks.add(ask);
    if (isForClient(type)) this.#clientAsks++;
    signal?.addEventListener("abort", ask, ONCE);
    this.#deadlines.cover(deadlineMs);
  }

  /** Extends the deadline, within the bound for a transfer that began at `beganMs`. @returns the deadline */
  #goesOn(ask: OutgoingAsk | undefined, nowMs: number, beganMs: number): number {
    if (ask === undefined) return nowMs;
    const { pieceStallMs, transferMs } = this.#context.limits;
    return ask.deadlineMs = Math.max(ask.deadlineMs, Math.min(nowMs + pieceStallMs, beganMs + transferMs));
  }

  /** Handles any reply except a value or a failure. */
  #onReply(type: AskType, id: number, result: Result): string | void {
    const ask = this.#asks.first(id);
    if (ask === undefined) return;
    if (ask.type !== type) return MISFIT;
    this.#forget(ask);
    ask.reply.resolve(result);
  }

  #reject(id: number, error: unknown): void {
    const ask = this.#asks.first(id);
    if (ask === undefined) return;
    this.#forget(ask);
    ask.reply.reject(error);
  }

  /** @returns whether it was still in flight */
  #forget(ask: OutgoingAsk): boolean {
    if (!this.#asks.delete(ask)) return false;
    if (isForClient(ask.type)) this.#clientAsks--;
    ask.signal?.removeEventListener("abort", ask);
    return true;
  }

  #abandoned(ask: OutgoingAsk): void {
    if (!this.#forget(ask)) return;
    this.#cancel(ask);
    ask.reply.reject(ask.signal!.reason);
    this.#onSettled();
  }

  /** Sends no cancel for probes and pushes: the peer replies when it reads them, so a cancel would save no work. */
  #cancel({ type, number }: OutgoingAsk): void {
    if (type === MessageType.push) this.#outbox.dropPush(number);
    else if (type !== MessageType.probe) this.#outbox.bare(MessageType.cancel, number);
  }

  #lostError(reason: string): PeerError {
    return new PeerError(`${this.#remote} was lost: ${reason}`);
  }
}

/** Asks and returns a promise; for all asks except gets. */
function promised<T extends Result>(ask: (reply: Reply<Result>) => void): Promise<T> {
  return new Promise<T>((resolve, reject) => ask({ resolve: resolve as Reply<Result>["resolve"], reject: reject }));
}

function isForClient(type: AskType): boolean {
  return type === MessageType.get || type === MessageType.peek || type === MessageType.catchUp;
}

function timeWithoutWayBack(timeoutMs: number): number {
  return timeoutMs - Math.min(timeoutMs * WAY_BACK_SHARE, MAX_WAY_BACK_MS);
}

/** The group may have been removed while an ask waited for the connection. */
function noSuchGroup(group: string): PeerError {
  return new PeerError(`Cannot ask for group ${group} as this node does not have it`);
}
