/** Bodies without a content type. The origin gave none, so no server may add one: the browser decides. */

/**
 * The body as a stream of one piece. Bun's server adds `application/octet-stream` to bytes without a `Content-Type`. Both
 * runtimes add `text/plain` to a string. Bun counts the bytes of a stream that has already ended.
 */
export function untyped<Bytes extends Uint8Array<ArrayBuffer>>(body: Bytes): ReadableStream<Bytes> {
  return new ReadableStream<Bytes>({
    start(controller) {
      if (body.byteLength > 0) controller.enqueue(body);
      controller.close();
    },
  });
}
