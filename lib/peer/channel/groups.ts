/** The numbers of groups on one connection: each end numbers its own groups and never uses a number again. */
import type { OwnGroup, OwnGroups } from "../own-groups.ts";
import { type GroupNews, MAX_GROUP_ID, MAX_GROUPS } from "../wire/frames.ts";
import type { Outbox } from "./outbox.ts";

/** The ids of this node's groups in its asks. */
export class OwnGroupIds {
  readonly #groups: OwnGroups;
  /** The announced groups, by name. */
  readonly #announced = new Map<string, { readonly group: OwnGroup; readonly id: number }>();
  #nextId: number;

  /** @param greeted the groups that this node's greeting announced, in the order of their ids */
  constructor(groups: OwnGroups, greeted: readonly OwnGroup[]) {
    this.#groups = groups;
    for (const [id, group] of greeted.entries()) this.#announced.set(group.name, { group, id });
    this.#nextId = greeted.length;
  }

  /** The groups that are announced now. */
  get size(): number {
    return this.#announced.size;
  }

  /** `undefined` for a group that this node does not have (any more). */
  idOf(name: string): number | undefined {
    return this.#announced.get(name)?.id;
  }

  /**
   * Announces the changes since the last call, or since the greeting.
   *
   * @returns false if the connection has no id left for a new group
   */
  announce(outbox: Outbox): boolean {
    for (const [name, { group, id }] of this.#announced) {
      if (this.#groups.get(name) === group) continue;
      this.#announced.delete(name);
      outbox.groupRemoved(id);
    }
    for (const group of this.#groups.all()) {
      if (this.#announced.has(group.name)) continue;
      if (this.#nextId > MAX_GROUP_ID) return false;
      const id = this.#nextId++;
      this.#announced.set(group.name, { group, id });
      outbox.groupAdded({ id, ...this.#groups.newsOf(group) });
    }
    return true;
  }
}

/** A group of the peer. */
export interface RemoteGroup {
  readonly name: string;
  /** When the peer said that it had no value of the group, if it did. */
  readonly emptyAtMs: number | undefined;
  /** Whether this node also has the group. */
  isServed: boolean;
}

/** The groups that the peer has announced and not removed. */
export class RemoteGroups {
  readonly #own: OwnGroups;
  readonly #byId = new Map<number, RemoteGroup>();
  readonly #byName = new Map<string, RemoteGroup>();
  #highestId = -1;

  /** @param greeted the groups of the peer's greeting, already checked like `add` does */
  constructor(own: OwnGroups, greeted: readonly GroupNews[], nowMs: number) {
    this.#own = own;
    for (const group of greeted) this.#put(group, nowMs);
  }

  /** The groups that are announced now. */
  get size(): number {
    return this.#byId.size;
  }

  /** The group with this id in the peer's asks; `undefined` if it was removed or never announced. */
  get(id: number): RemoteGroup | undefined {
    return this.#byId.get(id);
  }

  /** Whether the peer ever announced this id on the connection, even if the group was removed since. */
  wasAnnounced(id: number): boolean {
    return id <= this.#highestId;
  }

  /** When the peer said that it had no value of the group; `undefined` if it had one or does not have the group. */
  emptyAtMs(name: string): number | undefined {
    return this.#byName.get(name)?.emptyAtMs;
  }

  /** @returns why the connection must close, or nothing */
  add(group: GroupNews, nowMs: number): string | void {
    if (group.id <= this.#highestId) return "malformed groupAdded: the id is not new";
    if (this.#byName.has(group.name)) return "malformed groupAdded: the group is announced already";
    if (this.#byId.size >= MAX_GROUPS) return `malformed groupAdded: over ${MAX_GROUPS} groups`;
    this.#put(group, nowMs);
  }

  /** @returns why the connection must close, or nothing */
  remove(id: number): string | void {
    const group = this.#byId.get(id);
    if (group === undefined) return "malformed groupRemoved: the group is not announced";
    this.#byId.delete(id);
    this.#byName.delete(group.name);
  }

  /** To be called when this node's own groups have changed. */
  review(): void {
    for (const group of this.#byId.values()) group.isServed = this.#own.get(group.name) !== undefined;
  }

  #put({ id, name, isEmpty }: GroupNews, nowMs: number): void {
    const isServed = this.#own.get(name) !== undefined;
    const group: RemoteGroup = { name, emptyAtMs: isEmpty === true ? nowMs : undefined, isServed };
    this.#byId.set(id, group);
    this.#byName.set(name, group);
    this.#highestId = id;
  }
}
