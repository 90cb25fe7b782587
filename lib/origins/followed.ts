/** Bodies whose end somebody must hear of. */

/** Of a body that its reader did not want to the end. */
export const LEFT = Symbol("left");

/** The same stream. @param over is called when it has ended: with what broke it, with LEFT, or with nothing */
export function followed(body: ReadableStream<Uint8Array>, over: (error?: unknown) => void): typeof body {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { value, done } = await reader.read();
        if (!done) return controller.enqueue(value);
        over();
        controller.close();
      } catch (error) {
        over(error);
        throw error;
      }
    },
    async cancel(reason) {
      over(LEFT);
      await reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
}
