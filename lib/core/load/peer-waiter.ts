import { Waiter } from "./flights.ts";
import type { Ask } from "../ports.ts";
import type { Value } from "../value.ts";

/** A peer that waits for a flight, and with it all who wait there: it hears before those who wait here. */
export class PeerWaiter<T extends { readonly value: Value }> extends Waiter<T> {
  private readonly ask: Ask;

  constructor(ask: Ask) {
    super(ask.signal);
    this.ask = ask;
  }

  override get isFirst(): boolean {
    return true;
  }

  resolve({ value }: T): void {
    this.ask.resolve(value);
  }

  reject(error: unknown): void {
    this.ask.reject(error);
  }
}
