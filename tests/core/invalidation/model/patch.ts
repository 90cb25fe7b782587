/** Reaching into the product: to watch it, and to plant faults. */
import { SharedBudget } from "../../../../lib/core/cache/shared-budget.ts";

/** Watches what is stored, whatever fault is planted there. @returns what undoes it */
export function watchStores(see: (caches: SharedBudget, key: string, store: () => boolean) => boolean): () => void {
  return patch(SharedBudget.prototype, "store", (real) =>
    function (this: SharedBudget, cache, key, given) {
      return see(this, key, () => real.call(this, cache, key, given));
    });
}

/** Puts another method in the place of one of a class. @returns what undoes it */
export function patch<T extends object, K extends keyof T>(target: T, name: K, make: (real: T[K]) => T[K]): () => void {
  const real = target[name];
  target[name] = make(real);
  return () => {
    target[name] = real;
  };
}
