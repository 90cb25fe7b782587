/** Going away, at the price of an object: an AbortController and its listeners cost a tenth of a fetch from a peer. */

/** What hears of it; one object may be added once to each signal. */
export type CancelListener = (() => void) | { handleEvent(): void };

/** As much of an AbortSignal as questions need; an AbortSignal is one. */
export interface CancelSignal {
  readonly aborted: boolean;
  readonly reason: unknown;
  throwIfAborted(): void;
  addEventListener(type: "abort", listener: CancelListener, options?: { once?: boolean }): void;
  removeEventListener(type: "abort", listener: CancelListener): void;
}

/** Signal and controller in one. */
export class Cancel implements CancelSignal {
  // Not `#`: one is made for each flight, and engines are slow to give an object such fields.
  private isAborted = false;
  private why: unknown = undefined;
  private listeners: CancelListener[] | undefined = undefined;
  private platform: AbortController | undefined = undefined;

  get aborted(): boolean {
    return this.isAborted;
  }

  get reason(): unknown {
    return this.why;
  }

  get hasListeners(): boolean {
    return this.listeners !== undefined && this.listeners.length > 0;
  }

  throwIfAborted(): void {
    if (this.isAborted) throw this.why;
  }

  addEventListener(_type: "abort", listener: CancelListener): void {
    if (this.isAborted) return;
    if (this.listeners === undefined) this.listeners = [listener];
    else this.listeners.push(listener);
  }

  removeEventListener(_type: "abort", listener: CancelListener): void {
    const at = this.listeners?.indexOf(listener) ?? -1;
    if (at >= 0) this.listeners!.splice(at, 1);
  }

  /** Counts once. */
  abort(reason: unknown): void {
    if (this.isAborted) return;
    this.isAborted = true;
    this.why = reason;
    const listeners = this.listeners ?? [];
    this.listeners = undefined;
    for (const listener of listeners) {
      if (typeof listener === "function") listener();
      else listener.handleEvent();
    }
    this.platform?.abort(reason);
  }

  /** The same for what takes nothing less, such as `fetch`; made when it is first asked for. */
  abortSignal(): AbortSignal {
    if (this.platform === undefined) {
      this.platform = new AbortController();
      if (this.isAborted) this.platform.abort(this.why);
    }
    return this.platform.signal;
  }
}
