/** Requests streamed through to an origin, both ways. An origin that stalls ends them; a slow client does not. */
import type { Clock } from "../../core/base/clock.ts";
import { OriginError, OriginTimeoutError, RequestBodyError } from "../../core/errors.ts";
import { bodyFault, type Exchanged, type HttpClient, type RequestHead, streamOf } from "./client.ts";

type Bytes = ReadableStream<Uint8Array>;

/** How long an origin may send and take nothing. Chosen: as nginx (proxy_read_timeout, proxy_send_timeout). */
export const ORIGIN_IDLE_MS = 60_000;

export interface Through {
  readonly client: HttpClient;
  readonly clock: Clock;
  /** @default ORIGIN_IDLE_MS */
  readonly idleMs?: number | undefined;
  /** The origin, for messages. */
  readonly name: string;
}

/**
 * Sends a request, and streams the answer. Each piece starts the idle time again. The time counts only while this node
 * waits for the origin, not while the client sends its body or reads.
 *
 * @returns the head of the answer, and its body: that breaks with an OriginTimeoutError, an OriginError, a RequestBodyError, or
 * the signal's reason
 * @throws OriginTimeoutError the origin was idle for too long; else as `exchange`
 */
export async function passThrough(
  head: RequestHead,
  body: Bytes | null,
  signal: AbortSignal,
  { client, clock, idleMs = ORIGIN_IDLE_MS, name }: Through,
): Promise<{ readonly answer: Exchanged; readonly body: Bytes }> {
  const late = new AbortController();
  const patience = new Patience(clock, idleMs, () => {
    late.abort(new OriginTimeoutError(`${name} was idle for ${idleMs} ms`));
  });
  const sent = body === null ? undefined : new SentBody(body, patience);
  patience.originIsDue(true);
  try {
    const answer = await client.exchange(head, sent?.stream ?? null, AbortSignal.any([signal, late.signal]));
    return { answer, body: answerBody(answer, { patience, late: late.signal, signal, sent, name }) };
  } catch (error) {
    sent?.breakOff();
    throw error;
  } finally {
    patience.originIsDue(false);
  }
}

/** Counts the time in which this node waits for the origin, and not for the client. */
class Patience {
  readonly #clock: Clock;
  readonly #idleMs: number;
  readonly #onIdle: () => void;
  #isOriginDue = false;
  #isClientDue = false;
  #cancelTimer = () => {};

  constructor(clock: Clock, idleMs: number, onIdle: () => void) {
    this.#clock = clock;
    this.#idleMs = idleMs;
    this.#onIdle = onIdle;
  }

  originIsDue(isDue: boolean): void {
    this.#isOriginDue = isDue;
    this.#beginAnew();
  }

  clientIsDue(isDue: boolean): void {
    this.#isClientDue = isDue;
    this.#beginAnew();
  }

  #beginAnew(): void {
    this.#cancelTimer();
    const isCounting = this.#isOriginDue && !this.#isClientDue;
    this.#cancelTimer = isCounting ? this.#clock.after(this.#idleMs, this.#onIdle) : () => {};
  }
}

/** The body of the request, on its way to the origin. */
class SentBody {
  readonly stream: Bytes;
  /** Why the client's body broke off; `undefined`: it has not. */
  fault: RequestBodyError | undefined;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #isOver = false;

  constructor(body: Bytes, patience: Patience) {
    const reader = this.#reader = body.getReader();
    this.stream = new ReadableStream<Uint8Array>({
      start: (controller) => void (this.#controller = controller),
      pull: async (controller) => {
        patience.clientIsDue(true);
        try {
          const { value, done } = await reader.read();
          if (this.#isOver) return;
          if (!done) return controller.enqueue(value);
          this.#isOver = true;
          controller.close();
        } catch (error) {
          throw this.fault = bodyFault(error);
        } finally {
          patience.clientIsDue(false);
        }
      },
      cancel: (reason) => {
        this.#isOver = true;
        return reader.cancel(reason);
      },
    }, { highWaterMark: 0 });
  }

  /** The origin reads no more of the body. An error ends it, so that it does not look complete. */
  breakOff(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const error = new RequestBodyError("the origin has answered before the end of the request");
    this.#controller.error(error);
    this.#reader.cancel(error).catch(() => {});
  }
}

interface Answering {
  readonly patience: Patience;
  /** Aborts when the origin is idle for too long. */
  readonly late: AbortSignal;
  /** The caller's signal. */
  readonly signal: AbortSignal;
  readonly sent: SentBody | undefined;
  readonly name: string;
}

function answerBody({ body }: Exchanged, { patience, late, signal, sent, name }: Answering): Bytes {
  const reader = streamOf(body).getReader();
  return new ReadableStream<Uint8Array>({
    start(controller) {
      late.addEventListener("abort", () => {
        controller.error(late.reason);
        sent?.breakOff();
        body.destroy();
      }, { once: true });
    },
    async pull(controller) {
      patience.originIsDue(true);
      try {
        const { value, done } = await reader.read();
        if (late.aborted) return;
        if (!done) return controller.enqueue(value);
        sent?.breakOff();
        controller.close();
      } catch (error) {
        sent?.breakOff();
        if (late.aborted || signal.aborted) throw late.aborted ? late.reason : signal.reason;
        // The broken request ends the connection, and so the answer: that is not the origin's fault.
        if (sent?.fault !== undefined) throw sent.fault;
        throw new OriginError(`${name} broke off: ${(error as Error).message}`);
      } finally {
        patience.originIsDue(false);
      }
    },
    cancel(reason) {
      sent?.breakOff();
      return reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
}
