/** Bodies that pass through a node. Either end may be slow, but neither may stop for ever. */
import type { Clock } from "../../core/base/clock.ts";

type Bytes = Uint8Array;

/**
 * Passes a stream on, no faster than its reader takes it. It breaks off when the source gives nothing for `sourceMs`,
 * or the reader takes nothing for `readerMs`, and then cancels the source.
 */
export function paced(
  source: ReadableStream<Bytes>,
  clock: Clock,
  { sourceMs, readerMs }: { readonly sourceMs: number; readonly readerMs: number },
): ReadableStream<Bytes> {
  const reader = source.getReader();
  let cancelTimer = () => {};
  const breakOffAfter = (delayMs: number, controller: ReadableStreamDefaultController<Bytes>, who: string) => {
    cancelTimer = clock.after(delayMs, () => {
      const error = new Error(`the ${who} was silent for ${delayMs} ms`);
      controller.error(error);
      reader.cancel(error).catch(() => {});
    });
  };
  return new ReadableStream<Bytes>({
    start(controller) {
      breakOffAfter(readerMs, controller, "reader");
    },
    async pull(controller) {
      cancelTimer();
      breakOffAfter(sourceMs, controller, "source");
      try {
        const { value, done } = await reader.read();
        cancelTimer();
        if (done) return controller.close();
        controller.enqueue(value);
        breakOffAfter(readerMs, controller, "reader");
      } catch (error) {
        cancelTimer();
        throw error;
      }
    },
    cancel(reason) {
      cancelTimer();
      return reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
}
