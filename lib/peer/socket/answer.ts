import { GrowingBytes } from "../../core/base/growing-bytes.ts";

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

/** What the head says. */
interface Head extends Omit<HttpAnswer, "rest"> {
  /** Where the bytes behind the answer begin. */
  readonly bodyEnd: number;
}

/** Reads one answer. Its body is read and dropped; it must have a length. Each byte is looked at once, in any chunks. */
export class AnswerReader {
  readonly #seen = new GrowingBytes();
  /** From where the end of the head is looked for. */
  #from = 0;
  #head: Head | undefined;

  /** @returns the answer once it is whole; why it cannot be one; or nothing */
  read(chunk: Uint8Array<ArrayBuffer>): HttpAnswer | string | undefined {
    this.#seen.append(chunk);
    const seen = this.#seen.view();
    if (this.#head === undefined) {
      const found = latin1.decode(seen.subarray(this.#from, MAX_ANSWER_BYTES)).indexOf("\r\n\r\n");
      if (found < 0) {
        this.#from = Math.max(0, seen.length - 3);
        return seen.length >= MAX_ANSWER_BYTES ? "the answer is too long" : undefined;
      }
      const head = headOf(seen, this.#from + found);
      if (typeof head === "string") return head;
      this.#head = head;
    }
    const { bodyEnd, ...head } = this.#head;
    return seen.length < bodyEnd ? undefined : { ...head, rest: new Uint8Array(seen.subarray(bodyEnd)) };
  }
}

const latin1 = new TextDecoder("latin1");

/** @param end where the empty line begins. @returns why it can be none, or the head */
function headOf(seen: Uint8Array, end: number): Head | string {
  const [first, ...lines] = latin1.decode(seen.subarray(0, end)).split("\r\n");
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
  return bodyEnd > MAX_ANSWER_BYTES ? "the answer is too long" : { status, fields, isLast, bodyEnd };
}
