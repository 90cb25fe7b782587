/**
 * Waits for a condition of another process by checking it often. For events in this process, await the event itself.
 *
 * @throws Error with `account()` when the condition does not hold in time
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  timeoutMs: number,
  account: () => string,
): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${timeoutMs} ms: ${account()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
