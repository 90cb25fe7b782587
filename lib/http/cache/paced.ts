/** Bodies that go through a node. A client may send or read slowly, but may not stop forever. */
import type { Clock } from "../../core/base/clock.ts";

type Bytes = Uint8Array;

/** How long a body may pause. A missing field means no bound. */
export interface Pace {
  /** How long a read from the source may take, in milliseconds. */
  readonly sourceMs?: number;
  /** How long the reader may take nothing, in milliseconds. */
  readonly readerMs?: number;
  /** The reader's error if the source is silent. */
  readonly sourceError?: (silentMs: number) => Error;
}

/**
 * Passes a stream on, no faster than its reader takes it. It breaks off when the source gives nothing for `sourceMs`,
 * or the reader takes nothing for `readerMs`, and then cancels the source.
 */
export function paced(
  source: ReadableStream<Bytes>,
  clock: Clock,
  { sourceMs = Infinity, readerMs = Infinity, sourceError = silentSource }: Pace,
): ReadableStream<Bytes> {
  const reader = source.getReader();
  let cancelTimer = () => {};
  const breakOffAfter = (
    delayMs: number,
    controller: ReadableStreamDefaultController<Bytes>,
    errorOf: (silentMs: number) => Error,
  ) => {
    cancelTimer();
    if (delayMs === Infinity) return;
    cancelTimer = clock.after(delayMs, () => {
      const error = errorOf(delayMs);
      controller.error(error);
      reader.cancel(error).catch(() => {});
    });
  };
  return new ReadableStream<Bytes>({
    start(controller) {
      breakOffAfter(readerMs, controller, silentReader);
    },
    async pull(controller) {
      cancelTimer();
      breakOffAfter(sourceMs, controller, sourceError);
      try {
        const { value, done } = await reader.read();
        cancelTimer();
        if (done) return controller.close();
        controller.enqueue(value);
        breakOffAfter(readerMs, controller, silentReader);
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

function silentSource(silentMs: number): Error {
  return new Error(`the source was silent for ${silentMs} ms`);
}

function silentReader(silentMs: number): Error {
  return new Error(`the reader was silent for ${silentMs} ms`);
}
