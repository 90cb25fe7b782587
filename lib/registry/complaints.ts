import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { listText } from "./store/store.ts";

/** How long a fault counts as logged after it is gone, so that a recurring fault is not logged each time. Chosen. */
const rememberMs = 60_000;

/** One kind of fault: a broken rule. The texts of the rules are this program's own, so there are few. */
interface Said {
  count: number;
  atMs: number;
}

/**
 * Logs the broken records of a group: one line for each kind of fault, and another when there are a hundred times as
 * many.
 */
export class Complaints {
  readonly #group: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #said = new Map<string, Said>();

  constructor(group: string, clock: Clock, log: Log) {
    this.#group = group;
    this.#clock = clock;
    this.#log = log;
  }

  /** @param read all keys of the group; broken records have a `fault` */
  say(read: ReadonlyMap<string, { readonly revision: number; readonly fault?: string }>): void {
    const kinds = new Map<string, { count: number; key: string; revision: number }>();
    for (const [key, { fault, revision }] of read) {
      if (fault === undefined) continue;
      const kind = kinds.get(fault);
      // The line names the latest record, as an operator can still read it.
      if (kind === undefined) kinds.set(fault, { count: 1, key, revision });
      else Object.assign(kind, { count: kind.count + 1, ...(revision > kind.revision ? { key, revision } : {}) });
    }
    const nowMs = this.#clock.nowMs();
    for (const [fault, { count, key, revision }] of kinds) {
      const said = this.#said.get(fault);
      if (said !== undefined && count < said.count * 100) continue;
      this.#said.set(fault, { count, atMs: nowMs });
      const others = count === 1 ? "" : `, and at least ${count - 1} more in the ${listText(this.#group)} likewise`;
      const fields = { group: this.#group, key: shownKey(key), revision, fault, records: count };
      this.#log.warn(
        `ignoring ${shownKey(key)} (revision ${revision}), which is no peer record: ${fault}${others}`,
        {},
        fields,
      );
    }
    for (const [fault, { atMs }] of this.#said) {
      if (!kinds.has(fault) && nowMs - atMs >= rememberMs) this.#said.delete(fault);
    }
  }
}

/** Makes a key safe for logs, as anybody may have written it: plain letters, bounded length. */
export function shownKey(key: string): string {
  return key.replace(/[^\x21-\x7e]/g, "?").slice(0, 200);
}
