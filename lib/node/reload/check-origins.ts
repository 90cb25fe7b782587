/** Tries the origins of groups that a reload would bring, before anything is changed. */
import type { GroupChanges } from "../../config/changes.ts";
import { type Config, type GroupConfig, version } from "../../config/config.ts";
import type { Clock } from "../../core/base/clock.ts";
import { withTimeout } from "../../core/base/time/timeout.ts";
import { createOrigin, parseOrigin } from "../../origins/origin.ts";

/** The groups whose origins a reload would bring. */
export function withNewOrigins({ added, changed }: GroupChanges): GroupConfig[] {
  return [...added, ...changed.flatMap(({ group, fields }) => fields.includes("origin") ? [group] : [])];
}

/** A reload waits no longer for origins. Chosen: more than the 2 s of a DICT server; what is late may be right. */
const CHECK_TIMEOUT_MS = 5_000;

/**
 * Resolves, within 5 s, when no origin is known to be unusable. To test a module, this imports it into this process.
 * Origins of groups that are not served are not tested.
 *
 * @throws ConfigError an origin can never answer: its module or its database does not exist
 */
export async function checkOrigins(
  groups: readonly GroupConfig[],
  serve: Config["serve"],
  clock: Clock,
): Promise<void> {
  const served = groups.filter(({ name }) => serve?.includes(name) ?? true);
  await Promise.all(served.map(async ({ origin: text, loadTimeoutMs, headers, valueBytesMax }) => {
    const origin = createOrigin(parseOrigin(text), { clock, loadTimeoutMs, fields: headers, valueBytesMax, version });
    try {
      await withTimeout(clock, CHECK_TIMEOUT_MS, () => origin.check(), undefined);
    } finally {
      await origin.close();
    }
  }));
}
