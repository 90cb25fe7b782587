/** Cancellation with one object. An AbortController with listeners costs a tenth of a fetch from a peer (measured). */

/** A listener. An object may be added to a signal once. */
export type CancelListener = (() => void) | { handleEvent(): void };

/** The part of AbortSignal that asks and flights use. An AbortSignal is one. */
export interface CancelSignal {
  readonly aborted: boolean;
  readonly reason: unknown;
  throwIfAborted(): void;
  addEventListener(type: "abort", listener: CancelListener, options?: { once?: boolean }): void;
  removeEventListener(type: "abort", listener: CancelListener): void;
}

/** Signal and controller in one. */
export class Cancel implements CancelSignal {
  // Not `#`: each flight makes one of these, and engines add private fields slowly.
  private isAborted = false;
  private why: unknown = undefined;
  /** One listener, as most signals have no more; an array would cost as much as the signal. */
  private listener: CancelListener | undefined = undefined;
  private others: CancelListener[] | undefined = undefined;
  private platform: AbortController | undefined = undefined;

  get aborted(): boolean {
    return this.isAborted;
  }

  get reason(): unknown {
    return this.why;
  }

  get hasListeners(): boolean {
    return this.listener !== undefined || (this.others !== undefined && this.others.length > 0);
  }

  throwIfAborted(): void {
    if (this.isAborted) throw this.why;
  }

  addEventListener(_type: "abort", listener: CancelListener): void {
    if (this.isAborted) return;
    if (this.listener === undefined) this.listener = listener;
    else if (this.others === undefined) this.others = [listener];
    else this.others.push(listener);
  }

  removeEventListener(_type: "abort", listener: CancelListener): void {
    if (this.listener === listener) {
      this.listener = undefined;
      return;
    }
    const at = this.others?.indexOf(listener) ?? -1;
    if (at >= 0) this.others!.splice(at, 1);
  }

  /** Tells the listeners. Only the first call counts. */
  abort(reason: unknown): void {
    if (this.isAborted) return;
    this.isAborted = true;
    this.why = reason;
    const { listener, others } = this;
    this.listener = this.others = undefined;
    if (listener !== undefined) tell(listener);
    if (others !== undefined) { for (const other of others) tell(other); }
    this.platform?.abort(reason);
  }

  /** The same signal for an API that needs a real AbortSignal, such as `fetch`. Made at the first call. */
  abortSignal(): AbortSignal {
    if (this.platform === undefined) {
      this.platform = new AbortController();
      if (this.isAborted) this.platform.abort(this.why);
    }
    return this.platform.signal;
  }
}

function tell(listener: CancelListener): void {
  if (typeof listener === "function") listener();
  else listener.handleEvent();
}
