/** How much longer a busy machine may take. Chosen: a time limit ends a test that hangs, and judges no speed. */
export const PATIENCE = 3;

/**
 * Waits for a condition of another process, and checks it often. For an event in this process, await the event itself.
 * To judge how long something takes, measure it.
 *
 * @param timeoutMs enough on an idle machine; a busy one gets `PATIENCE` times as long
 * @throws Error with `account()` when the condition does not hold in time
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  timeoutMs: number,
  account: () => string,
): Promise<void> {
  const mostMs = PATIENCE * timeoutMs;
  const deadlineMs = performance.now() + mostMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${mostMs} ms: ${account()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
