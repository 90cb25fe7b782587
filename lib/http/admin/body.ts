/**
 * Reads whole request bodies within three limits: the length of one, its time, and the bytes of all bodies together.
 */
import type { Clock } from "../../core/base/clock.ts";
import { Refusal } from "./refusal.ts";

/** Chosen: a line of 5 Mbit/s carries the longest value in less. */
const BODY_TIMEOUT_MS = 30_000;
/** The limit for all bodies that are being read at one time. Chosen: sixteen of the longest values. */
const MAX_READING_BYTES = 256 * 1024 * 1024;

/** Reads the bodies of one app. */
export class Bodies {
  readonly #clock: Clock;
  #readingBytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws Refusal the body is longer than `maxBytes`, too slow or cut, or too many bodies are being read */
  async read({ body, headers }: Request, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const tooLong = new Refusal(413, `the body must have at most ${maxBytes} bytes`);
    if (Number(headers.get("content-length") ?? 0) > maxBytes) throw tooLong;
    const chunks: Uint8Array[] = [];
    if (body === null) return joined(chunks, 0);
    const reader = body.getReader();
    const late = Promise.withResolvers<never>();
    const cancelTimer = this.#clock.after(BODY_TIMEOUT_MS, () => {
      late.reject(new Refusal(408, `the body did not come within ${BODY_TIMEOUT_MS} ms`));
    });
    let bytes = 0;
    try {
      for (;;) {
        const { done, value } = await Promise.race([reader.read(), late.promise]);
        if (done) return joined(chunks, bytes);
        chunks.push(value);
        bytes += value.byteLength;
        this.#readingBytes += value.byteLength;
        if (bytes > maxBytes) throw tooLong;
        if (this.#readingBytes > MAX_READING_BYTES) {
          throw new Refusal(503, "too many bodies are being read: come again");
        }
      }
    } catch (error) {
      reader.cancel().catch(() => {});
      throw error instanceof Refusal ? error : new Refusal(400, "the body broke off");
    } finally {
      this.#readingBytes -= bytes;
      cancelTimer();
    }
  }
}

function joined(chunks: readonly Uint8Array[], bytes: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}
