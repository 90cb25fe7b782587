import { GrowingBytes } from "../../core/base/growing-bytes.ts";

/** The parts of an HTTP/1.1 answer that a dialer needs. */
export interface HttpAnswer {
  readonly status: number;
  /** By name in lower case; the last one of several with the same name. */
  readonly fields: ReadonlyMap<string, string>;
  /** Whether the server takes no further request on the connection. */
  readonly isLast: boolean;
  /** The bytes after the answer. */
  readonly rest: Uint8Array<ArrayBuffer>;
}

/** The longest answer, head and body. Chosen: a real one takes some 500 bytes. */
const MAX_ANSWER_BYTES = 16 * 1024;

/** The content of the head. */
interface Head extends Omit<HttpAnswer, "rest"> {
  /** Where the bytes after the answer begin. */
  readonly bodyEnd: number;
}

/** Reads one answer in any chunks; it looks at each byte once. The body must have a length; it is dropped. */
export class AnswerReader {
  readonly #seen = new GrowingBytes();
  /** Where to continue the search for the end of the head. */
  #from = 0;
  #head: Head | undefined;

  /** @returns the complete answer; a string with its fault; or nothing yet */
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

/** @param end where the empty line begins. @returns the head, or a string with its fault */
function headOf(seen: Uint8Array, end: number): Head | string {
  const [first, ...lines] = latin1.decode(seen.subarray(0, end)).split("\r\n");
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(first!)?.[1]);
  if (Number.isNaN(status)) return "the answer is not HTTP";
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
