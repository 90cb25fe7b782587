/**
 * Bodies in the form that Deno sends fastest; on Bun the form makes no difference.
 *
 * - Deno copies bytes, and sends a string as it is.
 * - Deno has 512 bytes for head and body together. A longer body goes out by a second system call, unless it is
 *   chunked.
 *
 * Measured on Deno, in CPU time of a hit with 1 KiB: 1.26 times as much without both, 1.08 times without the strings,
 * 1.07 times without the chunk. A hit with 100 bytes takes 1.05 times as much without the strings.
 */
import { Memo } from "../../core/base/tables/memo.ts";
import type { Value } from "../../core/value.ts";

/** How many texts of popular values are kept; chosen. quick-lru keeps up to twice as many. */
const MAX_TEXTS = 2_048;
/**
 * Derived: with twice the number above, at most 8 MiB of texts, and as much again for values that only these texts
 * keep.
 */
const MAX_TEXT_BYTES = 2_048;
/**
 * A shorter body fits beside the head. Measured: no gain at 32 KiB, and a connection keeps memory for its longest
 * chunk.
 */
const MIN_CHUNKED_BYTES = 223;
const MAX_CHUNKED_BYTES = 16_384;

/** A body in a form that a server takes. */
export type Body = string | Uint8Array<ArrayBuffer>;

/** Whether a body of so many bytes is sent as one chunk, without a `content-length`. */
export function isOneChunk(bytes: number): boolean {
  return bytes >= MIN_CHUNKED_BYTES && bytes <= MAX_CHUNKED_BYTES;
}

/** Makes the texts of values, and keeps those of the latest hits. */
export class TextBodies {
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #texts = new Memo<Value, Body>(MAX_TEXTS, (value) => this.#decoded(value));

  /** For a hit: the body as a string if it is short and ASCII, else as it is. */
  of(value: Value): Body {
    return value.body.byteLength > MAX_TEXT_BYTES ? value.body : this.#texts.get(value);
  }

  /**
   * For a loaded value: the same, but keeps no text, since the value may be a slice of a frame that holds many others.
   */
  once(value: Value): Body {
    return value.body.byteLength > MAX_TEXT_BYTES ? value.body : this.#decoded(value);
  }

  #decoded({ body }: Value): Body {
    const text = this.#decoder.decode(body);
    return isAscii(text, body.byteLength) ? text : body;
  }
}

/**
 * Whether the text was decoded from ASCII. A character of several bytes makes the text shorter than the bytes. Each
 * byte that is no UTF-8 becomes U+FFFD. Searching a Latin-1 string for U+FFFD costs nothing; a regular expression takes
 * 1 to 2 us for 1 KiB (measured).
 */
function isAscii(text: string, byteLength: number): boolean {
  return text.length === byteLength && !text.includes("\ufffd");
}
