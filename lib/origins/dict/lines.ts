/** Splits a socket's chunks into lines of bytes, not of text, since a dictionary may hold invalid UTF-8. */
import { GrowingBytes } from "../../core/base/growing-bytes.ts";
import { OriginError } from "../../core/errors.ts";

/** RFC 2229, 2.3 allows 1,024 octets, but some dictionaries have longer lines. Chosen far above those. */
const MAX_LINE_BYTES = 1024 * 1024;

const LF = 0x0a;
const CR = 0x0d;

/**
 * Takes the line from `start` to `end` of `bytes`, which are valid during the call only.
 *
 * @returns whether it takes more lines
 */
export type TakeLine = (bytes: Uint8Array, start: number, end: number) => boolean;

/** Splits at LF and drops a CR before it. It keeps an unfinished line for the next chunk, and makes no object for a line. */
export class LineReader {
  readonly #rest = new GrowingBytes();

  /**
   * Gives the lines that `chunk` ends to `take`, in order.
   *
   * @throws OriginError a line is over 1 MiB
   */
  push(chunk: Uint8Array, take: TakeLine): void {
    let start = 0;
    let end = chunk.indexOf(LF);
    if (this.#rest.length > 0 && end >= 0) {
      this.#keep(chunk, 0, end);
      const line = this.#rest.view();
      this.#rest.clear();
      if (!take(line, 0, stopOf(line, 0, line.length))) return;
      start = end + 1;
      end = chunk.indexOf(LF, start);
    }
    for (; end >= 0; end = chunk.indexOf(LF, start)) {
      if (!take(chunk, start, stopOf(chunk, start, end))) return;
      start = end + 1;
    }
    this.#keep(chunk, start, chunk.length);
  }

  #keep(chunk: Uint8Array, start: number, end: number): void {
    if (start === end) return;
    // A CR at the end may belong to the line's own end.
    const isCr = chunk[end - 1] === CR;
    if (this.#rest.length + end - start > (isCr ? MAX_LINE_BYTES + 1 : MAX_LINE_BYTES)) throw tooLong();
    this.#rest.append(chunk, start, end);
  }
}

/** The end of a line, without its CR. @throws OriginError it is too long */
function stopOf(bytes: Uint8Array, start: number, end: number): number {
  const stop = end > start && bytes[end - 1] === CR ? end - 1 : end;
  if (stop - start > MAX_LINE_BYTES) throw tooLong();
  return stop;
}

function tooLong(): OriginError {
  return new OriginError(`the DICT server sent a line of more than ${MAX_LINE_BYTES} bytes`);
}
