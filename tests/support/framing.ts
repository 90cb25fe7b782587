import { Buffer } from "node:buffer";

/** The body of an answer in HTTP/1.1, and where it ends in what was received. */
export interface Framed {
  readonly body: Buffer;
  readonly end: number;
}

/**
 * @param head the beginning of the answer, one character for each byte, up to and including its empty line
 * @returns `undefined` while a part of it is missing
 * @throws Error an answer without a length that is not chunked either, or a chunk without a size
 */
export function bodyOf(received: Buffer, head: string): Framed | undefined {
  const start = head.length;
  if (/\r\ntransfer-encoding: *chunked\r\n/i.test(head)) return chunksOf(received, start);
  const length = Number(/\r\ncontent-length: *(\d+)\r\n/i.exec(head)?.[1]);
  if (Number.isNaN(length)) throw new Error(`not an answer with a length: ${head}`);
  const end = start + length;
  return received.length < end ? undefined : { body: received.subarray(start, end), end };
}

function chunksOf(received: Buffer, start: number): Framed | undefined {
  const chunks: Buffer[] = [];
  for (let at = start;;) {
    const sizeEnd = received.indexOf("\r\n", at);
    if (sizeEnd < 0) return undefined;
    const size = received.toString("latin1", at, sizeEnd);
    if (!/^[0-9a-f]+$/i.test(size)) throw new Error(`not the size of a chunk: ${size}`);
    const chunkStart = sizeEnd + 2;
    const chunkEnd = chunkStart + parseInt(size, 16);
    // The line break after a chunk; after the last one, which is empty, the end of no trailers.
    if (received.length < chunkEnd + 2) return undefined;
    if (chunkEnd === chunkStart) return { body: Buffer.concat(chunks), end: chunkEnd + 2 };
    chunks.push(received.subarray(chunkStart, chunkEnd));
    at = chunkEnd + 2;
  }
}
