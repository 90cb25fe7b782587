import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { listText } from "./store/store.ts";

/** How long a fault that is gone stays said, so that one that comes and goes is not a line each time. Chosen. */
const rememberMs = 60_000;

/** One kind of fault: the rule that was broken. The texts of the rules are this program's own, and few. */
interface Said {
  count: number;
  atMs: number;
}

/** Logs which records of a group are no peer records: a line for each kind, and another at a hundred times as many. */
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

  /** @param read all keys of the group; those with a `fault` are the broken ones */
  say(read: ReadonlyMap<string, { readonly revision: number; readonly fault?: string }>): void {
    const kinds = new Map<string, { count: number; key: string; revision: number }>();
    for (const [key, { fault, revision }] of read) {
      if (fault === undefined) continue;
      const kind = kinds.get(fault);
      // The line names the latest record: an operator can still read that one.
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

/** Anybody may have written the key: it is shown in plain letters, and not at any length. */
export function shownKey(key: string): string {
  return key.replace(/[^\x21-\x7e]/g, "?").slice(0, 200);
}
