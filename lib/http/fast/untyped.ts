/** Bodies to which no server may give a type of its own: the origin has named none, so a browser is to look for itself. */

/**
 * The body as a stream of one piece: to bytes without a `Content-Type` Bun's server adds `application/octet-stream`, and to a
 * string both add `text/plain`. Bun counts the bytes of a stream that has ended already.
 */
export function untyped<Bytes extends Uint8Array<ArrayBuffer>>(body: Bytes): ReadableStream<Bytes> {
  return new ReadableStream<Bytes>({
    start(controller) {
      if (body.byteLength > 0) controller.enqueue(body);
      controller.close();
    },
  });
}
