import { Cancel, type CancelSignal } from "../../core/base/cancel.ts";
import type { Deadlines } from "../../core/base/time/deadlines.ts";
import type { Trace } from "../../core/base/trace.ts";
import { OriginTimeoutError } from "../../core/errors.ts";
import { BLIND, type Label } from "../../core/invalidation/label.ts";
import type { Ask, AskOptions, Entry, RequestHead } from "../../core/ports.ts";
import type { Value } from "../../core/value.ts";
import type { ChannelContext } from "../service.ts";
import { codeOf } from "../wire/failures.ts";
import { type AskType, type AskVisitor, FailureCode, type GroupNews, MessageType } from "../wire/frames.ts";
import type { RemoteGroups } from "./groups.ts";
import type { Outbox } from "./outbox.ts";
import type { ToldLabel } from "./told-label.ts";

/** The most suspects to probe for one peer at a time, and the longest time for each, even if the peer allows more. Chosen. */
const MAX_INDIRECT_PROBES = 64;
const MAX_INDIRECT_PROBE_MS = 10_000;
/** The most catch-ups for one peer at a time, and the longest time for each, even if the peer allows more. Chosen. */
const MAX_CATCH_UPS = 64;
const MAX_CATCH_UP_MS = 10_000;
/**
 * The service replies to a catch-up within its time. If a defect makes it late, the channel replies in its place after
 * this further share of the time. Chosen: half of the share that asking nodes keep for the way back.
 */
const LATE_SHARE = 0.05;

/** An ask of the peer that this node works on. It is also the options object for the service. */
class IncomingAsk implements AskOptions {
  readonly type: AskType;
  readonly timeoutMs: number;
  readonly deadlineMs: number;
  // Not `#`: each ask makes one of these, and engines add private fields slowly.
  private cancel: Cancel | undefined = undefined;

  constructor(type: AskType, timeoutMs: number, deadlineMs: number) {
    this.type = type;
    this.timeoutMs = timeoutMs;
    this.deadlineMs = deadlineMs;
  }

  get signal(): CancelSignal {
    return this.cancel ??= new Cancel();
  }

  abort(reason: Error): void {
    this.cancel ??= new Cancel();
    this.cancel.abort(reason);
  }
}

type OnGetSettled = (ask: IncomingGet, value: Value | undefined, error: unknown) => void;

/** A get that this node works on. The first reply counts. */
class IncomingGet extends IncomingAsk implements Ask {
  /** Its id in frames. */
  readonly number: number;
  readonly after: Label;
  readonly request: RequestHead | undefined;
  readonly trace: Trace | undefined;
  private readonly onSettled: OnGetSettled;
  private isOver = false;

  constructor(
    id: number,
    timeoutMs: number,
    deadlineMs: number,
    after: Label,
    request: RequestHead | undefined,
    trace: Trace | undefined,
    onSettled: OnGetSettled,
  ) {
    super(MessageType.get, timeoutMs, deadlineMs);
    this.number = id;
    this.after = after;
    this.request = request;
    this.trace = trace;
    this.onSettled = onSettled;
  }

  resolve(value: Value): void {
    if (this.isOver) return;
    this.isOver = true;
    this.onSettled(this, value, undefined);
  }

  reject(error: unknown): void {
    if (this.isOver) return;
    this.isOver = true;
    this.onSettled(this, undefined, error);
  }
}

type Result = Value | Label | boolean | undefined;

/** The peer's asks over one channel, and this node's replies to them. */
export class IncomingAsks implements AskVisitor {
  readonly #remote: string;
  readonly #groups: RemoteGroups;
  readonly #context: ChannelContext;
  readonly #outbox: Outbox;
  readonly #deadlines: Deadlines;
  readonly #told: ToldLabel;
  readonly #onSettled: () => void;
  /** The asks in flight, by their ids. */
  readonly #asks = new Map<number, IncomingAsk>();
  #closedBecause: string | undefined;
  /** Unsettled gets and peeks, abandoned ones included, as the bound is on work, not on ids. */
  #working = 0;
  readonly #abandonedEnded = () => void this.#working--;
  readonly #onGetSettled: OnGetSettled = (ask, value, error) => {
    if (value === undefined) this.#failed(ask.number, ask, error);
    else this.#succeeded(ask.number, ask, value);
  };
  /** The trace of the get that comes next. */
  #traced: { readonly id: number; readonly trace: Trace | undefined } | undefined;
  #indirectProbes = 0;
  #catchUps = 0;
  /** Gets and peeks so far. */
  answered = 0;

  /** @param onSettled called when an ask got its reply after the end of its frame */
  constructor(
    remote: string,
    groups: RemoteGroups,
    context: ChannelContext,
    outbox: Outbox,
    deadlines: Deadlines,
    told: ToldLabel,
    onSettled: () => void,
  ) {
    this.#remote = remote;
    this.#groups = groups;
    this.#context = context;
    this.#outbox = outbox;
    this.#deadlines = deadlines;
    this.#told = told;
    this.#onSettled = onSettled;
  }

  /** The number of asks without a reply. */
  get inFlight(): number {
    return this.#asks.size;
  }

  /** The number of unsettled gets and peeks. */
  get working(): number {
    return this.#working + this.#indirectProbes + this.#catchUps;
  }

  // An ask after a message that ends the connection, in the same frame, is ignored.

  onTraced(id: number, trace: Trace | undefined): string | void {
    if (this.#closedBecause !== undefined) return this.#closedBecause;
    this.#traced = { id, trace };
  }

  onGet(
    id: number,
    groupId: number,
    timeoutMs: number,
    after: Label,
    key: string,
    request?: RequestHead,
  ): string | void {
    return this.#onKey(MessageType.get, id, groupId, timeoutMs, after, key, request);
  }

  onPeek(id: number, groupId: number, timeoutMs: number, key: string): string | void {
    return this.#onKey(MessageType.peek, id, groupId, timeoutMs, BLIND, key, undefined);
  }

  onPush(id: number, groupId: number, entries: readonly Entry[], isWritten: boolean): string | void {
    if (this.#closedBecause !== undefined) return this.#closedBecause;
    const group = this.#groups.get(groupId);
    if (group === undefined || !group.isServed) return this.#unknownGroup("push", id, groupId);
    const { service } = this.#context;
    try {
      if (service.isStranger?.(group.name, this.#remote)) return this.#outbox.taken(id, 0);
      this.#outbox.taken(id, service.push?.(group.name, entries, this.#remote, isWritten) ?? 0);
    } catch (error) {
      this.#replyFailure(MessageType.push, id, error);
    }
  }

  onCatchUp(id: number, timeoutMs: number, label: Label): string | void {
    if (this.#closedBecause !== undefined) return this.#closedBecause;
    if (this.#asks.has(id)) return "malformed catchUp: the id is in flight";
    const { service } = this.#context;
    if (service.catchUp === undefined) return this.#outbox.caughtUp(id, BLIND);
    if (this.#catchUps >= MAX_CATCH_UPS) {
      return this.#outbox.failure(id, FailureCode.unavailable, `catches up for ${MAX_CATCH_UPS} asks already`);
    }
    const allowedMs = Math.min(timeoutMs, MAX_CATCH_UP_MS);
    const ask = this.#newAsk(MessageType.catchUp, allowedMs, allowedMs * (1 + LATE_SHARE));
    let result: Promise<Label>;
    try {
      result = service.catchUp(label, ask);
    } catch (error) {
      return this.#replyFailure(MessageType.catchUp, id, error);
    }
    this.#catchUps++;
    this.#work(id, ask, result);
  }

  onProbe(id: number): string | void {
    if (this.#closedBecause !== undefined) return this.#closedBecause;
    this.#outbox.bare(MessageType.probed, id);
    this.#context.onProbed();
  }

  onIndirectProbe(id: number, timeoutMs: number, name: string, incarnation: string): string | void {
    if (this.#closedBecause !== undefined) return this.#closedBecause;
    if (this.#asks.has(id)) return "malformed indirectProbe: the id is in flight";
    const { service } = this.#context;
    if (service.probeIndirectly === undefined) return this.#outbox.indirectProbed(id, false);
    if (this.#indirectProbes >= MAX_INDIRECT_PROBES) {
      return this.#outbox.failure(id, FailureCode.unavailable, `probes ${MAX_INDIRECT_PROBES} suspects already`);
    }
    const ask = this.#newAsk(MessageType.indirectProbe, Math.min(timeoutMs, MAX_INDIRECT_PROBE_MS));
    let result: Promise<boolean>;
    try {
      result = service.probeIndirectly({ name, incarnation }, { timeoutMs: ask.timeoutMs });
    } catch (error) {
      return this.#replyFailure(MessageType.indirectProbe, id, error);
    }
    this.#indirectProbes++;
    this.#work(id, ask, result);
  }

  onGroupAdded(group: GroupNews): string | void {
    return this.#closedBecause ?? this.#groups.add(group, this.#context.clock.nowMs());
  }

  onGroupRemoved(groupId: number): string | void {
    return this.#closedBecause ?? this.#groups.remove(groupId);
  }

  onApplied(label: Label): string | void {
    if (this.#closedBecause !== undefined) return this.#closedBecause;
    this.#told.announced(label);
  }

  onCancel(id: number): void {
    const ask = this.#asks.get(id);
    // The reply may still wait for the socket; else it crossed the cancel on the way.
    if (ask === undefined) return this.#outbox.drop(id);
    this.#asks.delete(id);
    ask.abort(new DOMException("the peer that asked has gone away", "AbortError"));
  }

  /** Replies to overdue asks. @returns the earliest remaining deadline, or Infinity */
  endOverdue(nowMs: number): number {
    let nextMs = Infinity;
    for (const [id, ask] of this.#asks) {
      if (ask.deadlineMs > nowMs) nextMs = Math.min(nextMs, ask.deadlineMs);
      else {
        this.#asks.delete(id);
        const error = new OriginTimeoutError(`the owner had no answer within ${ask.timeoutMs} ms`);
        if (ask.type === MessageType.get) this.#outbox.failure(id, FailureCode.originTimeout, error.message);
        else if (ask.type === MessageType.peek) this.#outbox.bare(MessageType.nothing, id);
        else this.#outbox.failure(id, FailureCode.unavailable, "cannot tell in time");
        // Abort last: the end of this work may make the connection idle and close it.
        ask.abort(error);
      }
    }
    return nextMs;
  }

  close(reason: string): void {
    this.#closedBecause = reason;
    const gone = new DOMException("the peer that asked was lost", "AbortError");
    const all = [...this.#asks.values()];
    // Clear first: aborted work may reject its ask at once, and then there must be no reply.
    this.#asks.clear();
    for (const ask of all) ask.abort(gone);
  }

  #onKey(
    type: typeof MessageType["get" | "peek"],
    id: number,
    groupId: number,
    timeoutMs: number,
    after: Label,
    key: string,
    request: RequestHead | undefined,
  ): string | void {
    if (this.#closedBecause !== undefined) return this.#closedBecause;
    const isGet = type === MessageType.get;
    if (this.#asks.has(id)) return `malformed ${isGet ? "get" : "peek"}: the id is in flight`;
    const group = this.#groups.get(groupId);
    if (group === undefined || !group.isServed) return this.#unknownGroup(isGet ? "get" : "peek", id, groupId);
    const { name } = group;
    const { limits, service } = this.#context;
    if (this.#working + this.#outbox.backlog >= limits.incomingInFlight) {
      return this.#outbox.failure(id, FailureCode.overloaded, `works on ${limits.incomingInFlight} asks already`);
    }
    if (service.isStranger?.(name, this.#remote)) {
      return this.#outbox.failure(id, FailureCode.unavailable, `shares no values of ${name} with this peer`);
    }
    this.answered++;
    try {
      if (!isGet) return this.#peek(id, name, timeoutMs, key);
      const trace = this.#traceOf(id);
      const found = service.lookup?.(name, key, request, after, trace);
      if (found === undefined) this.#get(id, name, timeoutMs, after, key, request, trace);
      else this.#outbox.value(id, found);
    } catch (error) {
      this.#replyFailure(type, id, error);
    }
  }

  #get(
    id: number,
    group: string,
    timeoutMs: number,
    after: Label,
    key: string,
    request: RequestHead | undefined,
    trace: Trace | undefined,
  ): void {
    const { clock, service } = this.#context;
    const ask = new IncomingGet(id, timeoutMs, clock.nowMs() + timeoutMs, after, request, trace, this.#onGetSettled);
    this.#working++;
    this.#await(id, ask);
    try {
      service.get(group, key, ask);
    } catch (error) {
      ask.reject(error);
    }
  }

  /** Only valid once, as after a cancel the next ask may have the same id. */
  #traceOf(id: number): Trace | undefined {
    const traced = this.#traced;
    if (traced === undefined) return undefined;
    this.#traced = undefined;
    return traced.id === id ? traced.trace : undefined;
  }

  #peek(id: number, group: string, timeoutMs: number, key: string): void {
    const ask = this.#newAsk(MessageType.peek, timeoutMs);
    const result = this.#context.service.peek?.(group, key, ask);
    if (!(result instanceof Promise)) return this.#reply(MessageType.peek, id, result);
    this.#working++;
    this.#work(id, ask, result);
  }

  /** @param lastsMs how long the channel waits for the service; the service itself gets `timeoutMs` */
  #newAsk(type: AskType, timeoutMs: number, lastsMs = timeoutMs): IncomingAsk {
    return new IncomingAsk(type, timeoutMs, this.#context.clock.nowMs() + lastsMs);
  }

  #work(id: number, ask: IncomingAsk, result: Promise<Result>): void {
    this.#await(id, ask);
    result.then((value) => this.#succeeded(id, ask, value), (error) => this.#failed(id, ask, error));
  }

  #await(id: number, ask: IncomingAsk): void {
    this.#asks.set(id, ask);
    this.#deadlines.cover(ask.deadlineMs);
  }

  #succeeded(id: number, ask: IncomingAsk, result: Result): void {
    if (!this.#settle(id, ask)) return;
    try {
      this.#reply(ask.type, id, result);
    } catch (error) {
      this.#replyFailure(ask.type, id, error);
    }
    this.#replied();
  }

  #failed(id: number, ask: IncomingAsk, error: unknown): void {
    if (!this.#settle(id, ask)) return;
    this.#replyFailure(ask.type, id, error);
    this.#replied();
  }

  /** @returns whether the peer still waits for the reply */
  #settle(id: number, ask: IncomingAsk): boolean {
    // After a cancel the id may be in use again.
    const isAwaited = this.#asks.get(id) === ask && this.#asks.delete(id);
    if (ask.type === MessageType.indirectProbe) this.#indirectProbes--;
    else if (ask.type === MessageType.catchUp) this.#catchUps--;
    else if (isAwaited) this.#working--;
    // Count it until the frame is read. Otherwise a frame full of gets and their cancels would bypass the bound.
    else queueMicrotask(this.#abandonedEnded);
    return isAwaited;
  }

  /**
   * A late reply is sent before the rest of the tick, as callers at the peer may wait for it. An immediate reply is
   * sent with the others of its frame.
   */
  #replied(): void {
    if (this.#outbox.isCorked) return;
    this.#outbox.flushSoon();
    this.#onSettled();
  }

  #reply(type: AskType, id: number, result: Result): void {
    if (type === MessageType.indirectProbe) this.#outbox.indirectProbed(id, result === true);
    else if (type === MessageType.catchUp) this.#outbox.caughtUp(id, result as Label);
    else if (result === undefined) this.#outbox.bare(MessageType.nothing, id);
    else this.#outbox.value(id, result as Value);
  }

  #replyFailure(type: AskType, id: number, error: unknown): void {
    const code = codeOf(error);
    if (code !== undefined) return this.#outbox.failure(id, code, (error as Error).message);
    this.#context.log.error(`peer ${this.#remote}: its ask failed outside the contract: ${error}`, {}, {
      peer: this.#remote,
      error,
    });
    this.#outbox.failure(
      id,
      type === MessageType.get ? FailureCode.originFailed : FailureCode.unavailable,
      "the owner failed",
    );
  }

  /** One of the ends removed the group, or this node never had it. An id that was never announced is malformed. */
  #unknownGroup(kind: string, id: number, groupId: number): string | void {
    if (!this.#groups.wasAnnounced(groupId)) return `malformed ${kind}: group ${groupId} was never announced`;
    const group = this.#groups.get(groupId);
    this.#outbox.failure(
      id,
      FailureCode.unknownGroup,
      group === undefined ? "the asker has removed this group" : `does not serve group ${group.name}`,
    );
  }
}
