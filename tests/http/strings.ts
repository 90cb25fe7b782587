/** Strings for tests of keys, and a second, independent statement of the rule for keys. */
import { Buffer } from "node:buffer";
import fc from "fast-check";

const nasty = fc.constantFrom(
  ...["/", ".", "..", "%", "%2F", "%2e", "+", " ", "?", "#", "\\", "&", "=", ";", ":", "@", '"', "'", "<", "\0", "\n"],
  ...["\r\n", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffd", "\ud800", "\udc00", "é", "e\u0301", "ß", "日本", "😀", "a"],
);

/** Short and long strings: graphemes, any code units (lone surrogates too), and characters that are special in URLs. */
export const anyString: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 30 }),
  fc.string({ unit: "binary", maxLength: 30 }),
  fc.string({ unit: nasty, maxLength: 6 }),
  fc.string({ unit: "binary-ascii", maxLength: 30 }),
  fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 8 }).map((units) => String.fromCharCode(...units)),
  fc.tuple(fc.constantFrom("a", "é", "€", "😀", "/", "%"), fc.integer({ min: 250, max: 1_030 }))
    .map(([unit, times]) => unit.repeat(times)),
);

/** Whether nodes must take `text` as a key. */
export function isKey(text: string): boolean {
  const bytes = Buffer.byteLength(text);
  if (bytes < 1 || bytes > 1_024) return false;
  const readable = text.replace(
    /%(?:25)*(2f|5c|2e|3b|3f|23)/gi,
    (_, hex) => String.fromCharCode(parseInt(hex, 16)),
  );
  const names = readable.split(/[/\\]/).map((segment) => segment.split(/[;?#]/)[0]);
  if (names.includes(".") || names.includes("..")) return false;
  for (const char of text) {
    const code = char.codePointAt(0)!;
    if (code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0xd800 && code < 0xe000)) return false;
  }
  return true;
}
