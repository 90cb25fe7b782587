import { Cancel, type CancelSignal } from "../core/cancel.ts";
import type { Chained } from "../core/chained-table.ts";
import type { AskOptions } from "../core/ports.ts";
import type { Value } from "../core/value.ts";
import type { QuestionType } from "./frames.ts";

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
