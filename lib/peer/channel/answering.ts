import { OriginTimeoutError } from "../../core/errors.ts";
import type { Entry } from "../../core/ports.ts";
import type { Value } from "../../core/value.ts";
import { ServedAsk, ServedGet } from "./asks.ts";
import type { ChannelContext } from "./context.ts";
import { codeOf } from "../wire/failures.ts";
import { FailureCode, MessageType, type PushedEntry } from "../wire/frames.ts";
import type { Greeting } from "../wire/greeting.ts";
import type { Outbox } from "./outbox.ts";
import type { Deadlines } from "../../core/base/deadlines.ts";

/** Suspects that are polled for one peer at once, and how long each may take, whatever the peer says. */
const MAX_VOUCHES = 64;
const MAX_VOUCH_MS = 10_000;

type Result = Value | boolean | undefined;

/** A peer's questions over one channel. Each method may return why the connection must end. */
export class Answering {
  readonly #remote: Greeting;
  readonly #context: ChannelContext;
  readonly #outbox: Outbox;
  readonly #deadlines: Deadlines;
  readonly #onSettled: () => void;
  /** The asker's list, `undefined` where this node does not serve the group. */
  readonly #groups: readonly (string | undefined)[];
  readonly #served = new Map<number, ServedAsk>();
  /** Gets and peeks that have not settled, abandoned ones included: the bound is on work, not on ids. */
  #working = 0;
  readonly #abandonedEnded = () => void this.#working--;
  readonly #onGetSettled = (served: ServedGet, value: Value | undefined, error: unknown): void => {
    if (value === undefined) this.#endedBadly(served.number, served, error);
    else this.#ended(served.number, served, value);
  };
  #vouching = 0;
  /** Gets and peeks so far. */
  answered = 0;

  /** @param onSettled called when a question that had to wait has its answer, outside of a frame */
  constructor(remote: Greeting, context: ChannelContext, outbox: Outbox, deadlines: Deadlines, onSettled: () => void) {
    this.#remote = remote;
    this.#context = context;
    this.#outbox = outbox;
    this.#deadlines = deadlines;
    this.#onSettled = onSettled;
    const own = new Set(context.groups);
    this.#groups = remote.groups.map(({ name }) => own.has(name) ? name : undefined);
  }

  /** Questions that have no answer yet. */
  get inFlight(): number {
    return this.#served.size;
  }

  /** Work that has not settled. */
  get working(): number {
    return this.#working + this.#vouching;
  }

  onGet(id: number, groupIndex: number, timeoutMs: number, key: string): string | void {
    return this.#onKey(MessageType.get, id, groupIndex, timeoutMs, key);
  }

  onPeek(id: number, groupIndex: number, timeoutMs: number, key: string): string | void {
    return this.#onKey(MessageType.peek, id, groupIndex, timeoutMs, key);
  }

  onPush(id: number, groupIndex: number, pushed: readonly PushedEntry[]): string | void {
    if (groupIndex >= this.#groups.length) return "malformed push: no such place in the group list";
    const group = this.#groups[groupIndex];
    if (group === undefined) return this.#unknownGroup(id, groupIndex);
    const { clock, service } = this.#context;
    const nowMs = clock.nowMs();
    const entries = pushed.map(({ key, ageMs, ttlLeftMs, contentType, body }): Entry => ({
      key,
      value: { body, contentType, bornAtMs: nowMs - ageMs, expiresAtMs: nowMs + ttlLeftMs },
    }));
    try {
      this.#outbox.taken(id, service.push?.(group, entries, this.#remote.name) ?? 0);
    } catch (error) {
      this.#fail(MessageType.push, id, error);
    }
  }

  onVouch(id: number, timeoutMs: number, name: string, incarnation: string): string | void {
    if (this.#served.has(id)) return "malformed vouch: the id is in the air";
    const { service } = this.#context;
    if (service.probeIndirectly === undefined) return this.#outbox.indirectProbed(id, false);
    if (this.#vouching >= MAX_VOUCHES) {
      return this.#outbox.failure(id, FailureCode.unavailable, `polls ${MAX_VOUCHES} suspects already`);
    }
    const served = this.#newServed(MessageType.indirectProbe, Math.min(timeoutMs, MAX_VOUCH_MS));
    let result: Promise<boolean>;
    try {
      result = service.probeIndirectly({ name, incarnation }, { timeoutMs: served.timeoutMs });
    } catch (error) {
      return this.#fail(MessageType.indirectProbe, id, error);
    }
    this.#vouching++;
    this.#work(id, served, result);
  }

  onCancel(id: number): void {
    const served = this.#served.get(id);
    // Its answer crossed the cancel on the way, unless it waits for the socket.
    if (served === undefined) return this.#outbox.drop(id);
    this.#served.delete(id);
    served.abort(new DOMException("the peer that asked has gone away", "AbortError"));
  }

  /** Answers what is overdue. @returns the earliest deadline left, or Infinity */
  endOverdue(nowMs: number): number {
    let nextMs = Infinity;
    for (const [id, served] of this.#served) {
      if (served.deadlineMs > nowMs) nextMs = Math.min(nextMs, served.deadlineMs);
      else {
        this.#served.delete(id);
        const error = new OriginTimeoutError(`the owner had no answer within ${served.timeoutMs} ms`);
        if (served.type === MessageType.get) this.#outbox.failure(id, FailureCode.originTimeout, error.message);
        else if (served.type === MessageType.peek) this.#outbox.bare(MessageType.nothing, id);
        else this.#outbox.failure(id, FailureCode.unavailable, "cannot tell in time");
        // Last: the end of its work may leave the connection idle, which may close it.
        served.abort(error);
      }
    }
    return nextMs;
  }

  close(): void {
    const gone = new DOMException("the peer that asked was lost", "AbortError");
    const all = [...this.#served.values()];
    // First: who hears of it may say at once that its work has failed.
    this.#served.clear();
    for (const served of all) served.abort(gone);
  }

  #onKey(
    type: typeof MessageType["get" | "peek"],
    id: number,
    groupIndex: number,
    timeoutMs: number,
    key: string,
  ): string | void {
    const isGet = type === MessageType.get;
    if (groupIndex >= this.#groups.length) {
      return `malformed ${isGet ? "get" : "peek"}: no such place in the group list`;
    }
    if (this.#served.has(id)) return `malformed ${isGet ? "get" : "peek"}: the id is in the air`;
    const group = this.#groups[groupIndex];
    if (group === undefined) return this.#unknownGroup(id, groupIndex);
    const { limits, service } = this.#context;
    if (this.#working + this.#outbox.backlog >= limits.servedInFlight) {
      return this.#outbox.failure(id, FailureCode.overloaded, `serves ${limits.servedInFlight} asks already`);
    }
    this.answered++;
    try {
      if (!isGet) return this.#peek(id, group, timeoutMs, key);
      const found = service.lookup?.(group, key);
      if (found === undefined) this.#get(id, group, timeoutMs, key);
      else this.#outbox.value(id, found);
    } catch (error) {
      this.#fail(type, id, error);
    }
  }

  #get(id: number, group: string, timeoutMs: number, key: string): void {
    const { clock, service } = this.#context;
    const served = new ServedGet(id, timeoutMs, clock.nowMs() + timeoutMs, this.#onGetSettled);
    this.#working++;
    this.#await(id, served);
    try {
      service.get(group, key, served);
    } catch (error) {
      served.reject(error);
    }
  }

  #peek(id: number, group: string, timeoutMs: number, key: string): void {
    const served = this.#newServed(MessageType.peek, timeoutMs);
    const result = this.#context.service.peek?.(group, key, served);
    if (!(result instanceof Promise)) return this.#answer(MessageType.peek, id, result);
    this.#working++;
    this.#work(id, served, result);
  }

  #newServed(type: ServedAsk["type"], timeoutMs: number): ServedAsk {
    return new ServedAsk(type, timeoutMs, this.#context.clock.nowMs() + timeoutMs);
  }

  #work(id: number, served: ServedAsk, result: Promise<Result>): void {
    this.#await(id, served);
    result.then((value) => this.#ended(id, served, value), (error) => this.#endedBadly(id, served, error));
  }

  #ended(id: number, served: ServedAsk, result: Result): void {
    if (!this.#settled(id, served)) return;
    this.#answer(served.type, id, result);
    this.#hasAnswered();
  }

  #endedBadly(id: number, served: ServedAsk, error: unknown): void {
    if (!this.#settled(id, served)) return;
    this.#fail(served.type, id, error);
    this.#hasAnswered();
  }

  #await(id: number, served: ServedAsk): void {
    this.#served.set(id, served);
    this.#deadlines.cover(served.deadlineMs);
  }

  /**
   * An answer that was waited for leaves ahead of the rest of the tick: others may wait for it at the peer, and are not to
   * wait until all who wait here have been written to. One that was at hand leaves with the others of its frame.
   */
  #hasAnswered(): void {
    if (this.#outbox.isCorked) return;
    this.#outbox.flushSoon();
    this.#onSettled();
  }

  /** Whether the peer still waits for the answer. */
  #settled(id: number, served: ServedAsk): boolean {
    // The id may be in use again, after a cancel.
    const isAwaited = this.#served.get(id) === served && this.#served.delete(id);
    if (served.type === MessageType.indirectProbe) this.#vouching--;
    else if (isAwaited) this.#working--;
    // Asked and cancelled in one frame, it would count for nothing, and so would all the others in that frame.
    else queueMicrotask(this.#abandonedEnded);
    return isAwaited;
  }

  #answer(type: ServedAsk["type"], id: number, result: Result): void {
    if (type === MessageType.indirectProbe) this.#outbox.indirectProbed(id, result === true);
    else if (result === undefined) this.#outbox.bare(MessageType.nothing, id);
    else this.#outbox.value(id, result as Value);
  }

  #fail(type: ServedAsk["type"], id: number, error: unknown): void {
    const code = codeOf(error);
    if (code !== undefined) return this.#outbox.failure(id, code, (error as Error).message);
    this.#context.log.error(`peer ${this.#remote.name}: its question failed outside the contract: ${error}`);
    this.#outbox.failure(
      id,
      type === MessageType.get ? FailureCode.originFailed : FailureCode.unavailable,
      "the owner failed",
    );
  }

  #unknownGroup(id: number, groupIndex: number): void {
    const { name } = this.#remote.groups[groupIndex]!;
    this.#outbox.failure(id, FailureCode.unknownGroup, `does not serve group ${name}`);
  }
}
