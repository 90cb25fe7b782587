import type { CancelSignal } from "../base/cancel.ts";
import { type Attributes, keyShown, type Span, type Trace, type Tracing } from "../base/trace.ts";
import type { Label } from "../invalidation/label.ts";
import type { Ask, RequestHead } from "../ports.ts";
import type { Value } from "../value.ts";

/** An ask with its own span, which ends with the reply. Only made while spans are recorded. */
export class RecordedAsk implements Ask {
  readonly signal: CancelSignal;
  readonly timeoutMs: number;
  readonly request: RequestHead | undefined;
  readonly after: Label;
  readonly trace: Trace;
  readonly #ask: Ask;
  readonly #span: Span;

  /** @param kind `hop` at the asking node, `serve` at the asked node */
  constructor(
    ask: Ask,
    tracing: Tracing,
    group: string,
    key: string,
    attributes: Attributes,
    kind: "hop" | "serve" = "hop",
  ) {
    this.signal = ask.signal;
    this.timeoutMs = ask.timeoutMs;
    this.request = ask.request;
    this.after = ask.after;
    this.#ask = ask;
    const about = { "muster.group": group, "muster.key": keyShown(key), ...attributes };
    this.#span = tracing.begin(kind, kind === "hop" ? "hop" : "get", ask.trace, about);
    this.trace = this.#span.trace;
  }

  resolve(value: Value): void {
    this.#span.end({ "muster.bytes": value.body.length });
    this.#ask.resolve(value);
  }

  reject(error: unknown): void {
    this.#span.end({}, error);
    this.#ask.reject(error);
  }

  arriving(untilMs: number): void {
    this.#ask.arriving?.(untilMs);
  }
}
