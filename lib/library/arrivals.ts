/** Runs many tasks, a bounded number at a time, and gives their results in order of arrival. */

/** Chosen: enough to fill a message to each of several owners, and few enough for an origin. */
const MAX_IN_FLIGHT = 64;

/**
 * Yields the result of each task when it comes. A task begins when there is room for it. Results that the reader has
 * not taken yet count as in flight, so a slow reader delays the next tasks. When the reader leaves, the tasks are
 * aborted.
 *
 * @param run must not reject
 */
export async function* inOrderOfArrival<T>(
  keys: Iterable<string>,
  signal: AbortSignal | undefined,
  run: (key: string, signal: AbortSignal) => Promise<T>,
): AsyncGenerator<T, void, void> {
  const left = new AbortController();
  const both = signal === undefined ? left.signal : AbortSignal.any([signal, left.signal]);
  const arrived: T[] = [];
  let inFlight = 0;
  let wake = (): void => {};
  const begin = (key: string) => {
    inFlight++;
    void run(key, both).then((result) => {
      inFlight--;
      arrived.push(result);
      wake();
    });
  };
  try {
    const waiting = keys[Symbol.iterator]();
    let next = waiting.next();
    while (inFlight > 0 || arrived.length > 0 || !next.done) {
      while (!next.done && inFlight + arrived.length < MAX_IN_FLIGHT) {
        begin(next.value);
        next = waiting.next();
      }
      if (arrived.length === 0) await new Promise<void>((resolve) => wake = resolve);
      else yield arrived.shift()!;
    }
  } finally {
    left.abort();
  }
}
