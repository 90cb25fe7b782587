/** Splits a socket's chunks into lines of bytes: a dictionary's text may be invalid UTF-8. */
import { OriginError } from "../../core/errors.ts";

/** RFC 2229, 2.3 allows 1,024 octets; some dictionaries have longer lines. Chosen far above those. */
const MAX_LINE_BYTES = 1024 * 1024;

const LF = 0x0a;
const CR = 0x0d;
const EMPTY = new Uint8Array(0);

/** Splits at LF and drops a CR before it. It keeps an unfinished line for the next chunk. */
export class LineReader {
  #rest: Uint8Array = EMPTY;

  /**
   * The lines that `chunk` ends; the arrays may share memory with it.
   *
   * @throws OriginError a line is over 1 MiB
   */
  push(chunk: Uint8Array): Uint8Array[] {
    const bytes = this.#rest.length === 0 ? chunk : concat(this.#rest, chunk);
    const lines: Uint8Array[] = [];
    let start = 0;
    // The kept part has no LF: skip it.
    let end = bytes.indexOf(LF, this.#rest.length);
    for (; end >= 0; end = bytes.indexOf(LF, start)) {
      const stop = end > start && bytes[end - 1] === CR ? end - 1 : end;
      if (stop - start > MAX_LINE_BYTES) throw tooLong();
      lines.push(bytes.subarray(start, stop));
      start = end + 1;
    }
    if (bytes.length - start > MAX_LINE_BYTES) throw tooLong();
    // A copy: the chunk may be the runtime's own buffer.
    this.#rest = start === bytes.length ? EMPTY : bytes.slice(start);
    return lines;
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}

function tooLong(): OriginError {
  return new OriginError(`the DICT server sent a line of more than ${MAX_LINE_BYTES} bytes`);
}
