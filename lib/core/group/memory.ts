/** A group's memory. It outlives a change of the group's options. */
import { SharedBudget } from "../cache/shared-budget.ts";
import { DEFAULT_LIFETIME } from "../lifetime/policy.ts";
import { LogPosition } from "../invalidation/position.ts";
import { Validity } from "../invalidation/validity.ts";
import type { GroupMemory, GroupOptions } from "./options.ts";

/**
 * Makes a new memory, or takes over that of the former group.
 *
 * @param onCovered called at each invalidation, and when the log is lost: see ValidityOptions
 */
export function memoryOf(
  { name, clock, budgetBytes, isHashed = false, costOf, maxBlindMs = null, ...options }: GroupOptions,
  onCovered: (isCovered: (key: string) => boolean, keys: readonly string[]) => void,
): GroupMemory {
  const { takesOver, position = new LogPosition({ clock }) } = options;
  if (takesOver !== undefined) {
    const { memory } = takesOver;
    memory.caches.validity.changeHands({ maxBlindMs, onCovered });
    memory.caches.resize(budgetBytes);
    memory.caches.follow({ ...DEFAULT_LIFETIME, ...options.lifetime });
    return memory;
  }
  const validity = new Validity({ position, clock, maxBlindMs, onCovered });
  position.add(name, validity);
  return { position, caches: new SharedBudget(budgetBytes, validity, { isHashed, clock, costOf }) };
}
