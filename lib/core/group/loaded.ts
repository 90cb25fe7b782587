/** The results of a get. */
import { NotFoundError } from "../errors.ts";
import { isNothingHere, type Value } from "../value.ts";

/** A value found in this node's memory. */
export interface Hit {
  readonly value: Value;
  readonly from: "main" | "hot";
}

/** The value of a get, and where it came from. */
export interface Loaded {
  readonly value: Value;
  readonly source: "main" | "hot" | "origin" | "peer";
  /** Whether this node keeps it. */
  readonly stored: boolean;
}

/** A hit as the result of a get. */
export function asLoaded({ value, from }: Hit): Loaded {
  return { value, source: from, stored: true };
}

/** @throws NotFoundError "not found" is remembered for the key */
export function found(loaded: Loaded, key: string): Loaded {
  if (isNothingHere(loaded.value)) throw new NotFoundError(`there is no ${JSON.stringify(key)}`);
  return loaded;
}
