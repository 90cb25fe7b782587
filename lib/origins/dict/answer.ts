/**
 * Reads a DICT server's answer to one DEFINE, line by line (RFC 2229, 3.2): `150`, then per definition `151`, its text
 * and a dot, then `250`; or one line with the reason for a refusal.
 */
import { GrowingBytes } from "../../core/base/growing-bytes.ts";
import { NotFoundError, OriginError } from "../../core/errors.ts";

/** The limit for all definitions of one word together. Chosen: the size of the largest value. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

const DOT = 0x2e;
const LF = 0x0a;

/**
 * The server knows no such database or strategy. This is the operator's mistake, and a check at start-up can find it.
 */
export class UnknownDatabaseError extends OriginError {}

/** The server's answer makes no sense, so the start of the next answer is unknown: the connection must be closed. */
export class BrokenStreamError extends OriginError {}

/** Instead of answering, the server says that it closes the connection: another connection may ask again. */
export class ServerLeavesError extends BrokenStreamError {}

export type Outcome = { definition: Uint8Array<ArrayBuffer> } | { error: Error };

/** Reads one answer. `take` returns the outcome at the answer's last line, and `undefined` before. */
export class DefineAnswer {
  readonly #word: string;
  #state: "start" | "between" | "first text" | "later text" = "start";
  readonly #text = new GrowingBytes();
  #definition: Uint8Array<ArrayBuffer> | undefined;
  #bytes = 0;

  constructor(word: string) {
    this.#word = word;
  }

  /**
   * Takes the line from `start` to `end` of `bytes`, which may be the runtime's own buffer.
   *
   * @throws ServerLeavesError the server says that it closes the connection
   * @throws BrokenStreamError the answer makes no sense, or is too big
   */
  take(bytes: Uint8Array, start: number, end: number): Outcome | undefined {
    this.#bytes += end - start + 1;
    if (this.#bytes > MAX_ANSWER_BYTES) {
      throw new BrokenStreamError(`the DICT server's answer has more than ${MAX_ANSWER_BYTES} bytes`);
    }
    if (this.#state === "first text" || this.#state === "later text") return this.#takeText(bytes, start, end);
    return this.#takeStatus(statusOf(bytes.subarray(start, end)));
  }

  #takeText(bytes: Uint8Array, start: number, end: number): undefined {
    if (end - start === 1 && bytes[start] === DOT) {
      if (this.#state === "first text") this.#definition = this.#text.take();
      this.#state = "between";
    } else if (this.#state === "first text") {
      // dictd does not double a leading dot, other servers do: so two leading dots become one.
      this.#text.append(
        bytes,
        bytes[start] === DOT && bytes[start + 1] === DOT && end - start > 1 ? start + 1 : start,
        end,
      );
      this.#text.appendByte(LF);
    }
  }

  #takeStatus({ code, text }: Status): Outcome | undefined {
    if (this.#state === "start") {
      if (code === 150) {
        this.#state = "between";
        return undefined;
      }
      if (code === 552) return { error: new NotFoundError(`no definition of ${JSON.stringify(this.#word)}`) };
      if (code === 550 || code === 551) return { error: new UnknownDatabaseError(`the DICT server said: ${text}`) };
      if (code >= 500) return { error: new OriginError(`the DICT server said: ${text}`) };
    } else {
      if (code === 151) {
        this.#state = this.#definition === undefined ? "first text" : "later text";
        return undefined;
      }
      if (code === 250 && this.#definition !== undefined) return { definition: this.#definition };
    }
    throw unexpected({ code, text });
  }
}

export interface Status {
  /** The three digits; 0 if the line does not begin with three digits. */
  readonly code: number;
  /** The whole line, for people: cut after 200 characters. */
  readonly text: string;
}

/** Reads a status line (RFC 2229, 2.4.1): three digits and a text. */
export function statusOf(line: Uint8Array): Status {
  const text = new TextDecoder().decode(line.subarray(0, 200));
  return { code: /^[1-5]\d\d(?: |$)/.test(text) ? Number(text.slice(0, 3)) : 0, text };
}

/**
 * The error for a status that ends a connection: 420 and 421 at any time, 530 to 532 as a greeting, or an invalid
 * status.
 */
export function unexpected({ code, text }: Status): BrokenStreamError {
  if (code === 420 || code === 421) return new ServerLeavesError(`the DICT server is not available: ${text}`);
  if (code >= 530 && code <= 532) return new BrokenStreamError(`the DICT server refuses this node: ${text}`);
  return new BrokenStreamError(`the DICT server answered nonsense: ${JSON.stringify(text)}`);
}
