import { Waiter } from "./flights.ts";
import type { Question } from "../ports.ts";
import type { Value } from "../value.ts";

/** A peer that waits for a flight, and with it all who wait there: it hears before those who wait here. */
export class PeerWaiter<T extends { readonly value: Value }> extends Waiter<T> {
  private readonly question: Question;

  constructor(question: Question) {
    super(question.signal);
    this.question = question;
  }

  override get isFirst(): boolean {
    return true;
  }

  landed({ value }: T): void {
    this.question.answered(value);
  }

  failed(error: unknown): void {
    this.question.failed(error);
  }
}
