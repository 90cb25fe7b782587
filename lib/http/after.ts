/** `Muster-After`: the client wants nothing that is older than this place in the log of invalidations. */
import type { Label } from "../core/invalidation/label.ts";
import { BadKeyError } from "../core/errors.ts";
import type { CacheGroup } from "./ports.ts";

/** The name of the header, in lower case for the look-up. */
export const AFTER = "muster-after";

/** A `Muster-After` that names no place. */
export class BadAfterError extends BadKeyError {}

/** A place in the log, as a client names it. */
export interface After {
  /** The epoch of the log; `undefined`: the present one. */
  readonly epoch: number | undefined;
  readonly sequence: number;
}

/** Writes a place as clients give it back: `<epoch>-<sequence>`. */
export function afterText({ epoch, sequence }: Label): string {
  return `${epoch}-${sequence}`;
}

/** Reads `<sequence>` or `<epoch>-<sequence>`. @throws BadAfterError anything else */
export function readAfter(text: string): After {
  const [, epoch, sequence] = /^(?:([1-9]\d{0,15})-)?(\d{1,16})$/.exec(text.trim()) ?? [];
  const after = { epoch: epoch === undefined ? undefined : Number(epoch), sequence: Number(sequence) };
  if (Number.isSafeInteger(after.epoch ?? 0) && Number.isSafeInteger(after.sequence)) return after;
  throw new BadAfterError("Muster-After must be the after, or the sequence, of an answer to a change");
}

/** An epoch that no log has. No node reaches it, and a group that waits for it reads the log again. */
const NO_EPOCH = Number.MAX_SAFE_INTEGER;

/**
 * Whether this node has applied everything up to the client's place; a promise while the node catches up.
 *
 * @param text of `Muster-After`
 * @param currentEpoch the epoch of the log, as this node knows it; 0: it has not read the log yet
 * @throws BadAfterError
 */
export function reached(
  group: CacheGroup,
  text: string,
  currentEpoch: () => number,
): true | Promise<boolean> {
  const { epoch, sequence } = readAfter(text);
  if (epoch !== undefined) return group.reach({ epoch, sequence });
  if (sequence === 0) return true;
  const current = currentEpoch();
  if (current !== 0) return group.reach({ epoch: current, sequence });
  return Promise.resolve(group.reach({ epoch: NO_EPOCH, sequence })).then(() => {
    const seen = currentEpoch();
    return seen !== 0 && group.reach({ epoch: seen, sequence });
  });
}
