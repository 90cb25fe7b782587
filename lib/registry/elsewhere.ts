import type { Clock } from "../core/base/clock.ts";
import { NameTakenError } from "../core/errors.ts";
import type { PeerRecord } from "../core/roster.ts";
import { type IsAlive, NameCheck } from "./name-check.ts";
import { recordIn } from "./record.ts";
import { keyOf, type PeerStore } from "./store.ts";

export interface ElsewhereOptions {
  readonly store: PeerStore;
  /** The groups that this node serves. */
  readonly groups: readonly string[];
  readonly self: PeerRecord;
  readonly clock: Clock;
  readonly isAlive: IsAlive;
}

/** Most lives under one name that are asked; each may cost the time for a host that is silent, all at once. */
const mostAsked = 16;

/**
 * Whether another live node has this node's name in a group that this node does not serve. It would see nothing of that
 * one, but whoever serves both groups would take the two for one node, and let go of the one that started first.
 */
export class Elsewhere {
  readonly #options: ElsewhereOptions;
  #found: Promise<NameTakenError | undefined> | undefined;

  constructor(options: ElsewhereOptions) {
    this.#options = options;
  }

  /**
   * Looks once, whoever asks: who comes later finds this node there, and is the one to go.
   *
   * @throws UnavailableError the store has not told; to be asked again
   */
  look(): Promise<NameTakenError | undefined> {
    return this.#found ??= this.#look().catch((error) => {
      this.#found = undefined;
      throw error;
    });
  }

  async #look(): Promise<NameTakenError | undefined> {
    const { store, groups, self, clock, isAlive } = this.#options;
    const own = new Set(groups.map((group) => keyOf(group, self.name)));
    const lives = new Map<string, { record: PeerRecord; group: string }>();
    for (const [key, value] of await store.named?.(self.name) ?? []) {
      const group = key.slice(0, -self.name.length - 1);
      const record = own.has(key) ? undefined : recordIn(group, key, value);
      if (record !== undefined && lives.size < mostAsked) lives.set(record.incarnation, { record, group });
    }
    const errors = await Promise.all([...lives.values()].map(async ({ record, group }) => {
      const { name, url, incarnation } = record;
      if (await new NameCheck(clock, isAlive).ask(record, 0) === "free") return undefined;
      return new NameTakenError(
        `another live node is listed as ${name} in ${group}: ${url}, incarnation ${incarnation}`,
      );
    }));
    return errors.find((error) => error !== undefined);
  }
}
