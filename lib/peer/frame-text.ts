/** Text out of frames: keys and content types are read by the ten thousand. */

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The loop beats the call into the runtime up to about this many bytes. */
const SHORT_TEXT_BYTES = 48;

/** @returns `undefined` when the bytes are no UTF-8 */
export function decodeText(bytes: Uint8Array<ArrayBuffer>, start: number, end: number): string | undefined {
  if (end - start <= SHORT_TEXT_BYTES) {
    let text = "";
    let i = start;
    for (; i < end; i++) {
      const byte = bytes[i]!;
      if (byte > 0x7f) break;
      text += String.fromCharCode(byte);
    }
    if (i === end) return text;
  }
  try {
    return decoder.decode(bytes.subarray(start, end));
  } catch {
    return undefined;
  }
}

let lastContentType = "";
let lastContentTypeBytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);

/** All values of a group tend to share one content type: equal bytes give the very same string. */
export function decodeContentType(bytes: Uint8Array<ArrayBuffer>, start: number, end: number): string | undefined {
  const length = end - start;
  if (length === lastContentTypeBytes.length) {
    let i = 0;
    while (i < length && bytes[start + i] === lastContentTypeBytes[i]) i++;
    if (i === length) return lastContentType;
  }
  const text = decodeText(bytes, start, end);
  if (text === undefined) return undefined;
  lastContentType = text;
  lastContentTypeBytes = bytes.slice(start, end);
  return text;
}
