/**
 * Bodies in the form that the runtime sends fastest. Deno copies the bytes of every body that it answers with, and takes a
 * string as it is: with ASCII of 1 KiB it answers a tenth more requests in a second. Bun makes no difference.
 */
import { Memo } from "../core/memo.ts";
import type { Value } from "../core/value.ts";

/** What is asked for over and over has its text at hand; quick-lru keeps up to twice as many. */
const MAX_TEXTS = 2_048;
/** With the number above, doubled: at most 16 MiB of texts, and as much of values that only they keep. */
const MAX_TEXT_BYTES = 4_096;

/** The texts of the values that were sent lately. */
export class TextBodies {
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #texts = new Memo<Value, string | Uint8Array<ArrayBuffer>>(MAX_TEXTS, ({ body }) => {
    const text = this.#decoder.decode(body);
    return isAscii(text) && text.length === body.byteLength ? text : body;
  });

  /** The body as a string where it is short and ASCII, else as it is. */
  of(value: Value): string | Uint8Array<ArrayBuffer> {
    return value.body.byteLength > MAX_TEXT_BYTES ? value.body : this.#texts.get(value);
  }
}

/** Also false for what was no UTF-8: its bytes have become U+FFFD. */
function isAscii(text: string): boolean {
  // deno-lint-ignore no-control-regex
  return /^[\x00-\x7f]*$/.test(text);
}
