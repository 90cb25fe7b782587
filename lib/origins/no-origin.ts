/** `none:`: the origin of a group whose values are only written. */
import { NotFoundError } from "../core/errors.ts";
import type { Origin } from "../core/ports.ts";

/** It has no value under any key. */
export class NoOrigin implements Origin {
  /** @throws NotFoundError always */
  load(key: string): Promise<never> {
    return Promise.reject(new NotFoundError(`nobody has written ${JSON.stringify(key)}`));
  }

  check(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
