/** Keeps the page live: sends its changed parts as server-sent events. */
import type { Clock } from "../../../core/base/clock.ts";
import type { CancelSignal } from "../../../core/base/cancel.ts";
import { problemResponse } from "../../problem.ts";
import { OF_OPERATORS } from "../../security.ts";

/** The HTML of each part of a page, by the id of its element. */
export type Parts = Readonly<Record<string, string>>;

/** Chosen: a few operators with a few tabs each. */
export const MAX_LISTENERS = 32;
/** The time between two messages, which is also the heartbeat. */
const SEND_MS = 1_000;
/** How many bytes a listener may leave unread before its stream ends. Chosen: ten whole pages of a fleet. */
const MAX_UNREAD_BYTES = 1024 * 1024;

export interface LiveFeedOptions {
  readonly clock: Clock;
  /** Renders the page now. Called only while somebody listens. If it fails, one message is left out. */
  readonly render: () => Promise<Parts>;
  /** Aborted when the node stops: then all streams end. */
  readonly ended: CancelSignal | undefined;
}

interface Listener {
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
  /** Whether it has got no message yet, so that it needs all parts. */
  isNew: boolean;
}

const encoder = new TextEncoder();

/** The listeners of one page. Without listeners nothing is rendered and no timer runs. */
export class LiveFeed {
  readonly #options: LiveFeedOptions;
  readonly #listeners = new Set<Listener>();
  #sent: Parts = {};
  #cancelTick: (() => void) | undefined;

  constructor(options: LiveFeedOptions) {
    this.#options = options;
    options.ended?.addEventListener("abort", () => this.#close(), { once: true });
  }

  /** How many listen now. */
  get size(): number {
    return this.#listeners.size;
  }

  /** An endless stream of messages, or a 503 if too many listen or the node stops. */
  answer({ method, signal }: Pick<Request, "method" | "signal">): Response {
    const headers = { "content-type": "text/event-stream", "cache-control": "no-store", ...OF_OPERATORS };
    if (method === "HEAD") return new Response(null, { headers });
    if (this.#listeners.size >= MAX_LISTENERS || this.#options.ended?.aborted === true) {
      return problemResponse({ status: 503, detail: `at most ${MAX_LISTENERS} may listen, while the node runs` }, {
        "retry-after": "5",
      });
    }
    let listener: Listener | undefined;
    const leave = () => void (listener && this.#leave(listener));
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        listener = { controller, isNew: true };
        this.#listeners.add(listener);
        // Sends the head of the answer at once.
        controller.enqueue(encoder.encode(": muster\n\n"));
      },
      cancel: leave,
    }, { highWaterMark: MAX_UNREAD_BYTES, size: (chunk) => chunk!.byteLength });
    signal.addEventListener("abort", leave, { once: true });
    this.#tickSoon();
    return new Response(body, { headers });
  }

  #tickSoon(): void {
    this.#cancelTick ??= this.#options.clock.after(SEND_MS, () => void this.#tick());
  }

  async #tick(): Promise<void> {
    const parts = await this.#options.render().catch(() => ({}));
    this.#cancelTick = undefined;
    if (this.#listeners.size === 0) {
      this.#sent = {};
      return;
    }
    const changed = Object.fromEntries(Object.entries(parts).filter(([id, html]) => this.#sent[id] !== html));
    const [news, all] = [messageOf(changed), messageOf(parts)];
    this.#sent = { ...this.#sent, ...parts };
    for (const listener of this.#listeners) {
      this.#send(listener, listener.isNew ? all : news);
      listener.isNew = false;
    }
    if (this.#listeners.size > 0) this.#tickSoon();
  }

  #send(listener: Listener, message: Uint8Array): void {
    const { controller } = listener;
    // A listener that does not read must not fill the memory. Its page opens another stream when it wakes.
    if ((controller.desiredSize ?? 0) <= 0) return this.#leave(listener);
    controller.enqueue(message);
  }

  #leave(listener: Listener): void {
    if (!this.#listeners.delete(listener)) return;
    try {
      listener.controller.close();
    } catch {
      // The client has gone, and its stream has ended.
    }
  }

  #close(): void {
    this.#cancelTick?.();
    for (const listener of this.#listeners) this.#leave(listener);
  }
}

/** JSON has no line feeds, so the message is one line of data. */
function messageOf(parts: Parts): Uint8Array {
  return encoder.encode(`data: ${JSON.stringify(parts)}\n\n`);
}
