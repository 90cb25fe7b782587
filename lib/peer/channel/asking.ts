import type { CancelSignal } from "../../core/base/cancel.ts";
import { IntrusiveTable } from "../../core/base/intrusive-table.ts";
import { OverloadedError, PeerError } from "../../core/errors.ts";
import type { Reply } from "../../core/base/reply.ts";
import type { Suspect } from "../../core/liveness/liveness.ts";
import type { Ask, AskOptions, Entry } from "../../core/ports.ts";
import type { Value } from "../../core/value.ts";
import { type Answer, PendingAsk } from "./asks.ts";
import type { ChannelContext } from "./context.ts";
import { errorOf } from "../wire/failures.ts";
import { canTravel } from "../wire/writer.ts";
import { type FailureCode, MessageType, type QuestionType } from "../wire/frames.ts";
import type { Outbox } from "./outbox.ts";
import type { Deadlines } from "../../core/base/deadlines.ts";

/**
 * The share of an ask's time that is kept for the way back: an owner whose origin is slow says so within the asker's
 * time (final), and only a silent owner makes the asker fall back.
 */
const WAY_BACK_SHARE = 0.1;
const MAX_WAY_BACK_MS = 250;
const ONCE = { once: true };
const MISFIT = "malformed answer: of another kind than its question";

/** The questions of this node over one channel. No method throws synchronously. */
export class Asking {
  readonly #remote: string;
  readonly #context: ChannelContext;
  readonly #outbox: Outbox;
  readonly #deadlines: Deadlines;
  readonly #onSettled: () => void;
  readonly #groupIndex: ReadonlyMap<string, number>;
  readonly #asks = new IntrusiveTable<PendingAsk>();
  readonly #abandon = (ask: PendingAsk) => this.#abandoned(ask);
  /** Gets and peeks among them; the others have room of their own, so that a busy peer does not look dead for it. */
  #keyAsks = 0;
  #nextId = 1;
  #closedBecause: string | undefined;
  /** Gets and peeks so far. */
  asked = 0;
  /** Questions so far, of any kind, that had no answer in time. */
  overdue = 0;

  /** @param onSettled called when a question has ended without an answer */
  constructor(remote: string, context: ChannelContext, outbox: Outbox, deadlines: Deadlines, onSettled: () => void) {
    this.#remote = remote;
    this.#context = context;
    this.#outbox = outbox;
    this.#deadlines = deadlines;
    this.#onSettled = onSettled;
    this.#groupIndex = new Map(context.groups.map((group, index) => [group, index]));
  }

  get inFlight(): number {
    return this.#asks.size;
  }

  /** It fails with the owner's final answers, PeerError, OverloadedError, BadKeyError; the signal's reason when it aborts. */
  get(group: string, key: string, ask: Ask): void {
    this.#askFor(MessageType.get, group, key, ask, ask);
  }

  /** @throws PeerError, BadKeyError; the signal's reason when it aborts */
  peek(group: string, key: string, options: AskOptions): Promise<Value | undefined> {
    return promised((reply) => this.#askFor(MessageType.peek, group, key, options, reply));
  }

  /** @throws PeerError; OverloadedError so many are in the air that it was not sent */
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
   * Entries that no frame can hold are left out: those behind them must not suffer for it.
   *
   * @throws PeerError; RangeError more than fits into one message; the signal's reason when it aborts
   */
  push(group: string, given: readonly Entry[], { signal, timeoutMs }: AskOptions): Promise<number> {
    const entries = given.filter(({ value }) => canTravel(value));
    if (entries.length === 0) return Promise.resolve(0);
    const index = this.#groupIndex.get(group);
    if (index === undefined) return Promise.reject(notServed(group));
    const answer = this.#askOf<number>(MessageType.push, timeoutMs, signal, (id) => {
      this.#outbox.push(id, index, entries, (error) => this.#reject(id, error));
    });
    return answer.then((count) => Math.min(count, entries.length));
  }

  /** @returns why the connection must end; an answer that nobody waits for any more is none */
  onValue(
    id: number,
    ageMs: number,
    ttlLeftMs: number,
    contentType: string,
    body: Uint8Array<ArrayBuffer>,
  ): string | void {
    const ask = this.#asks.first(id);
    if (ask === undefined) return;
    if (ask.type !== MessageType.get && ask.type !== MessageType.peek) return MISFIT;
    this.#forget(ask);
    const nowMs = this.#context.clock.nowMs();
    // What was peeked at is on its way into a cache; what was asked for is answered, and seldom kept.
    const own = ask.type === MessageType.peek ? body.slice() : body;
    ask.reply.resolve({ body: own, contentType, bornAtMs: nowMs - ageMs, expiresAtMs: nowMs + ttlLeftMs });
  }

  /** Any answer but a value or a failure; returns as `onValue`. */
  onAnswer(type: QuestionType, id: number, answer: Answer): string | void {
    const ask = this.#asks.first(id);
    if (ask === undefined) return;
    if (ask.type !== type) return MISFIT;
    this.#forget(ask);
    ask.reply.resolve(answer);
  }

  onFailure(id: number, code: FailureCode, detail: string): void {
    const ask = this.#asks.first(id);
    if (ask === undefined) return;
    this.#forget(ask);
    const error = errorOf(code, detail, this.#remote);
    // What is final for a get only means that this peer is no help with anything else.
    const isFinal = ask.type === MessageType.get || error instanceof PeerError;
    ask.reply.reject(isFinal ? error : new PeerError(`${this.#remote}: ${detail}`));
  }

  /** Ends what is overdue. @returns the earliest deadline left, or Infinity */
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
    // Whoever hears of the end of one may abandon others.
    for (const ask of this.#asks.all()) if (this.#forget(ask)) ask.reply.reject(this.#lostError(reason));
  }

  #askFor(
    type: typeof MessageType["get" | "peek"],
    group: string,
    key: string,
    { signal, timeoutMs }: AskOptions,
    reply: Reply<Answer>,
  ): void {
    if (signal.aborted || this.#closedBecause !== undefined || this.#keyAsks >= this.#context.limits.asksInFlight) {
      return reply.reject(this.#refusal(type, signal));
    }
    const index = this.#groupIndex.get(group);
    if (index === undefined) return reply.reject(notServed(group));
    const id = this.#nextId;
    this.#nextId = (id + 1) >>> 0;
    try {
      this.#outbox.ask(type, id, index, timeWithoutWayBack(timeoutMs), key);
    } catch (error) {
      return reply.reject(error);
    }
    this.asked++;
    this.#await(type, id, timeoutMs, signal, reply);
  }

  #askOf<T extends Answer>(
    type: QuestionType,
    timeoutMs: number,
    signal: CancelSignal | undefined,
    write: (id: number) => void,
  ): Promise<T> {
    const others = this.#asks.size - this.#keyAsks;
    if (
      signal?.aborted || this.#closedBecause !== undefined || others >= this.#context.limits.membershipInFlight
    ) return Promise.reject(this.#refusal(type, signal));
    const id = this.#nextId;
    this.#nextId = (id + 1) >>> 0;
    try {
      write(id);
    } catch (error) {
      return Promise.reject(error);
    }
    return promised((reply) => this.#await(type, id, timeoutMs, signal, reply));
  }

  /** Why a question is not sent. */
  #refusal(type: QuestionType, signal: CancelSignal | undefined): unknown {
    if (signal?.aborted) return signal.reason;
    if (this.#closedBecause !== undefined) return this.#lostError(this.#closedBecause);
    const message = `${this.#asks.size} asks of ${this.#remote} are in the air`;
    // That a poll was not sent says nothing about the peer.
    const isOurs = type === MessageType.get || type === MessageType.probe;
    return isOurs ? new OverloadedError(message) : new PeerError(message);
  }

  #await(
    type: QuestionType,
    id: number,
    timeoutMs: number,
    signal: CancelSignal | undefined,
    reply: Reply<Answer>,
  ): void {
    // The write may have found the socket dead.
    if (this.#closedBecause !== undefined) return reply.reject(this.#lostError(this.#closedBecause));
    const deadlineMs = this.#context.clock.nowMs() + timeoutMs;
    const ask = new PendingAsk(type, id, deadlineMs, signal, reply, this.#abandon);
    this.#asks.add(ask);
    if (isForKey(type)) this.#keyAsks++;
    signal?.addEventListener("abort", ask, ONCE);
    this.#deadlines.cover(deadlineMs);
  }

  #reject(id: number, error: unknown): void {
    const ask = this.#asks.first(id);
    if (ask === undefined) return;
    this.#forget(ask);
    ask.reply.reject(error);
  }

  /** @returns whether it was still in the air */
  #forget(ask: PendingAsk): boolean {
    if (!this.#asks.delete(ask)) return false;
    if (isForKey(ask.type)) this.#keyAsks--;
    ask.signal?.removeEventListener("abort", ask);
    return true;
  }

  #abandoned(ask: PendingAsk): void {
    if (!this.#forget(ask)) return;
    this.#cancel(ask);
    ask.reply.reject(ask.signal!.reason);
    this.#onSettled();
  }

  /** Polls and pushes are answered as they are read: there is no work that a cancel could spare the peer. */
  #cancel({ type, number }: PendingAsk): void {
    if (type !== MessageType.probe && type !== MessageType.push) this.#outbox.bare(MessageType.cancel, number);
  }

  #lostError(reason: string): PeerError {
    return new PeerError(`${this.#remote} was lost: ${reason}`);
  }
}

/** By a promise: for all but gets. */
function promised<T extends Answer>(ask: (reply: Reply<Answer>) => void): Promise<T> {
  return new Promise<T>((resolve, reject) => ask({ resolve: resolve as Reply<Answer>["resolve"], reject: reject }));
}

function isForKey(type: QuestionType): boolean {
  return type === MessageType.get || type === MessageType.peek;
}

function timeWithoutWayBack(timeoutMs: number): number {
  return timeoutMs - Math.min(timeoutMs * WAY_BACK_SHARE, MAX_WAY_BACK_MS);
}

function notServed(group: string): TypeError {
  return new TypeError(`Cannot ask for group ${group} as it is not served`);
}
