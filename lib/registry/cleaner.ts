/** Deletes the records of dead peers and of ended lives, each at the revision at which it was read. */
import type { Log } from "../core/base/log.ts";
import type { PeerRecord } from "../core/roster.ts";
import type { NameGuard, Standing } from "./name-guard.ts";
import type { RosterReader } from "./roster-reader.ts";
import { keyOf, listText, type PeerStore } from "./store/store.ts";

export interface CleanerOptions {
  readonly store: PeerStore;
  readonly log: Log;
  readonly guard: NameGuard;
  /** False for this node itself, and while no peer may be evicted. */
  readonly mayEvict: (record: PeerRecord) => boolean;
  /** The lists of this node's groups, by group. */
  readonly readers: () => readonly (readonly [group: string, reader: RosterReader])[];
}

/** Evicts peers from the lists of this node's groups. */
export class Cleaner {
  readonly #options: CleanerOptions;
  /** Keys with an earlier life that is being asked now. */
  readonly #asking = new Set<string>();
  /** By key: the revision of an earlier life that was already logged as a second live node. */
  readonly #said = new Map<string, number>();

  constructor(options: CleanerOptions) {
    this.#options = options;
  }

  /** @returns whether this call removed all records of this life for certain. Never rejects. */
  async evict(record: PeerRecord): Promise<boolean> {
    if (!this.#options.mayEvict(record)) return false;
    const evictions: Promise<boolean>[] = [];
    for (const [group, reader] of this.#options.readers()) {
      const revision = reader.revisionOf(record);
      if (revision !== undefined) evictions.push(this.#evictFrom({ group, record, revision }));
    }
    return evictions.length > 0 && (await Promise.all(evictions)).every((isGone) => isGone);
  }

  /** Evicts the earlier lives of a peer that answered in a later one. Never rejects. */
  async evictEarlierLives(later: PeerRecord): Promise<void> {
    const { readers } = this.#options;
    await Promise.all(readers().map(([group, reader]) => this.evictEarlierLifeIn(group, reader, later)));
  }

  /** Like `evictEarlierLives`, in one list. */
  async evictEarlierLifeIn(group: string, reader: RosterReader, later: PeerRecord): Promise<void> {
    const earlier = reader.earlierLife(later);
    if (earlier !== undefined) await this.#evictEarlierLife({ group, ...earlier }, later);
  }

  async #evictEarlierLife(earlier: Standing, later: PeerRecord): Promise<void> {
    const { guard, log } = this.#options;
    const { group, record, revision } = earlier;
    const key = keyOf(group, record.name);
    if (this.#asking.has(key) || guard.takenMs(earlier) > 0) return;
    this.#asking.add(key);
    // Ask first: the record may be of another node with the same name that serves other groups.
    const verdict = await guard.ask(earlier);
    this.#asking.delete(key);
    if (verdict === "free") {
      this.#said.delete(key);
      await this.evict(record);
      return;
    }
    if (this.#said.get(key) === revision) return;
    this.#said.set(key, revision);
    const { name, url } = record;
    log.warn(`two live nodes are called ${name}: ${url} of ${group}, and ${later.url}`, {}, {
      group,
      name,
      url,
      incarnation: record.incarnation,
      otherUrl: later.url,
      otherIncarnation: later.incarnation,
    });
  }

  async #evictFrom({ group, record: { name, url, incarnation }, revision }: Standing): Promise<boolean> {
    const { store, log } = this.#options;
    try {
      await store.delete(keyOf(group, name), revision);
    } catch {
      return false;
    }
    const fields = { group, name, url, incarnation, revision };
    log.warn(`evicted ${url} from the ${listText(group)} (revision ${revision})`, {}, fields);
    return true;
  }
}
