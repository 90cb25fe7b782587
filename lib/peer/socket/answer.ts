/** An HTTP/1.1 answer, as far as a dialer needs it. */
export interface HttpAnswer {
  readonly status: number;
  /** By their names in small letters; of several fields of one name the last. */
  readonly fields: ReadonlyMap<string, string>;
  /** The server takes no further request on the connection. */
  readonly isLast: boolean;
  /** The bytes behind it. */
  readonly rest: Uint8Array<ArrayBuffer>;
}

/** Head and body together. Chosen: an answer takes some 500 bytes. */
const MAX_ANSWER_BYTES = 16 * 1024;

/** Reads one answer. Its body is read and dropped; it must have a length. */
export class AnswerReader {
  #seen = new Uint8Array(0);

  /** @returns the answer once it is whole; why it cannot be one; or nothing */
  read(chunk: Uint8Array<ArrayBuffer>): HttpAnswer | string | undefined {
    const seen = new Uint8Array(this.#seen.length + chunk.length);
    seen.set(this.#seen);
    seen.set(chunk, this.#seen.length);
    this.#seen = seen;
    const text = new TextDecoder("latin1").decode(seen.subarray(0, MAX_ANSWER_BYTES));
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) return seen.length >= MAX_ANSWER_BYTES ? "the answer is too long" : undefined;
    const [first, ...lines] = text.slice(0, end).split("\r\n");
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(first!)?.[1]);
    if (Number.isNaN(status)) return "the answer is no HTTP";
    const fields = new Map(lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }));
    const lengthText = fields.get("content-length") ?? "";
    const isLengthKnown = /^\d{1,5}$/.test(lengthText) && !fields.has("transfer-encoding");
    const isLast = /\bclose\b/i.test(fields.get("connection") ?? "") || status !== 101 && !isLengthKnown;
    const bodyEnd = end + 4 + (status === 101 || isLast ? 0 : Number(lengthText));
    if (bodyEnd > MAX_ANSWER_BYTES) return "the answer is too long";
    if (seen.length < bodyEnd) return undefined;
    return { status, fields, isLast, rest: seen.subarray(bodyEnd) };
  }
}
