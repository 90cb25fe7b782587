import { Cancel, type CancelSignal } from "../../core/base/cancel.ts";
import type { TableNode } from "../../core/base/intrusive-table.ts";
import type { Reply } from "../../core/base/reply.ts";
import type { Ask, AskOptions } from "../../core/ports.ts";
import type { Value } from "../../core/value.ts";
import { MessageType, type QuestionType } from "../wire/frames.ts";

/** What a question may be answered with: a value or nothing, a yes or no, a count. */
export type Answer = Value | boolean | number | undefined | void;

/** A question in the air. It is its own abort listener: a closure per ask would cost more than the ask. */
export class PendingAsk implements TableNode<PendingAsk> {
  readonly type: QuestionType;
  /** Its id in frames. */
  readonly number: number;
  follower: PendingAsk | undefined = undefined;
  readonly deadlineMs: number;
  readonly signal: CancelSignal | undefined;
  readonly reply: Reply<Answer>;
  private readonly abandon: (ask: PendingAsk) => void;

  constructor(
    type: QuestionType,
    id: number,
    deadlineMs: number,
    signal: CancelSignal | undefined,
    reply: Reply<Answer>,
    abandon: (ask: PendingAsk) => void,
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

/** A peer's question that is being worked on; also the options that the service sees. */
export class ServedAsk implements AskOptions {
  readonly type: QuestionType;
  readonly timeoutMs: number;
  readonly deadlineMs: number;
  // Not `#`: one is made for each question, and engines are slow to give an object such fields.
  private cancel: Cancel | undefined = undefined;

  constructor(type: QuestionType, timeoutMs: number, deadlineMs: number) {
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

/** A peer's get that is being worked on. The first of its answers counts. */
export class ServedGet extends ServedAsk implements Ask {
  /** Its id in frames. */
  readonly number: number;
  private readonly onSettled: (served: ServedGet, value: Value | undefined, error: unknown) => void;
  private isOver = false;

  constructor(
    id: number,
    timeoutMs: number,
    deadlineMs: number,
    onSettled: (served: ServedGet, value: Value | undefined, error: unknown) => void,
  ) {
    super(MessageType.get, timeoutMs, deadlineMs);
    this.number = id;
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
