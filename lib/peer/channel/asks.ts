import { Cancel, type CancelSignal } from "../../core/base/cancel.ts";
import type { Chained } from "../../core/base/intrusive-table.ts";
import type { AskOptions, Question } from "../../core/ports.ts";
import type { Value } from "../../core/value.ts";
import { MessageType, type QuestionType } from "../wire/frames.ts";

/** What a question may be answered with: a value or nothing, a yes or no, a count. */
export type Answer = Value | boolean | number | undefined | void;

/** Who hears what became of a question: one of both is called, once. */
export interface Hearer {
  answered(answer: Answer): void;
  failed(error: unknown): void;
}

/** A question in the air. It is its own abort listener: a closure per ask would cost more than the ask. */
export class Ask implements Chained<Ask> {
  readonly type: QuestionType;
  /** Its id in frames. */
  readonly number: number;
  follower: Ask | undefined = undefined;
  readonly deadlineMs: number;
  readonly signal: CancelSignal | undefined;
  readonly hearer: Hearer;
  private readonly abandon: (ask: Ask) => void;

  constructor(
    type: QuestionType,
    id: number,
    deadlineMs: number,
    signal: CancelSignal | undefined,
    hearer: Hearer,
    abandon: (ask: Ask) => void,
  ) {
    this.type = type;
    this.number = id;
    this.deadlineMs = deadlineMs;
    this.signal = signal;
    this.hearer = hearer;
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

/** Who answers the peer. */
export interface Answerer {
  answerGet(served: ServedGet, value: Value): void;
  failGet(served: ServedGet, error: unknown): void;
}

/** A peer's get that is being worked on. The first that it hears counts. */
export class ServedGet extends ServedAsk implements Question {
  /** Its id in frames. */
  readonly number: number;
  private readonly answerer: Answerer;
  private isOver = false;

  constructor(id: number, timeoutMs: number, deadlineMs: number, answerer: Answerer) {
    super(MessageType.get, timeoutMs, deadlineMs);
    this.number = id;
    this.answerer = answerer;
  }

  answered(value: Value): void {
    if (this.isOver) return;
    this.isOver = true;
    this.answerer.answerGet(this, value);
  }

  failed(error: unknown): void {
    if (this.isOver) return;
    this.isOver = true;
    this.answerer.failGet(this, error);
  }
}
