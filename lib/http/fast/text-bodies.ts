/**
 * Bodies in the form that the runtime sends fastest. Deno copies the bytes of every body that it answers with, and takes a
 * string as it is: with ASCII of 1 KiB it answers a tenth more requests in a second. Bun makes no difference.
 */
import { Memo } from "../../core/base/memo.ts";
import type { Value } from "../../core/value.ts";

/** What is asked for over and over has its text at hand; quick-lru keeps up to twice as many. */
const MAX_TEXTS = 2_048;
/** With the number above, doubled: at most 16 MiB of texts, and as much of values that only they keep. */
const MAX_TEXT_BYTES = 4_096;

/** A body as a server takes it. */
export type Body = string | Uint8Array<ArrayBuffer>;

/** The texts of the values that were sent lately. */
export class TextBodies {
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #texts = new Memo<Value, Body>(MAX_TEXTS, (value) => this.#decoded(value));

  /** The body as a string where it is short and ASCII, else as it is. */
  of(value: Value): Body {
    return value.body.byteLength > MAX_TEXT_BYTES ? value.body : this.#texts.get(value);
  }

  /** The same, and nothing is kept: the value may be a part of a frame with many others. */
  once(value: Value): Body {
    return value.body.byteLength > MAX_TEXT_BYTES ? value.body : this.#decoded(value);
  }

  #decoded({ body }: Value): Body {
    const text = this.#decoder.decode(body);
    return isAscii(text, body.byteLength) ? text : body;
  }
}

/**
 * Whether the text was decoded from ASCII. What takes several bytes is shorter than these, and what was no UTF-8 has become
 * U+FFFD, which may stand for one byte. An engine sees at a glance that a string of Latin-1 has none: in 1 KiB, a regular
 * expression looks for 1 to 2 us.
 */
function isAscii(text: string, byteLength: number): boolean {
  return text.length === byteLength && !text.includes("\ufffd");
}
