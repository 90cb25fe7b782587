/**
 * The specification that the model is checked against: a plain history. An origin counts each key's value up when it
 * changes. The log has messages in one order. What a node was told is a list. No cache, label or flight is known here.
 */
import type { Invalidation } from "../../../../lib/core/invalidation/message.ts";
import type { Tags } from "../../../../lib/core/invalidation/tags.ts";

export const KEYS = ["a1", "a2", "b1", "b2"] as const;

/** Every fourth version is one that a client writes; the origin passes it over. */
const WRITTEN_EVERY = 4;

/** The next version when the origin changes. */
export function changed(version: number): number {
  return (version + 1) % WRITTEN_EVERY === 0 ? version + 2 : version + 1;
}

/** The next version when a client writes. */
export function written(version: number): number {
  return version - version % WRITTEN_EVERY + WRITTEN_EVERY;
}

/** A value's tags may change with its version; one key has too many. What is written, or not there, has none. */
export function tagsOf(key: number, version: number): Tags {
  if (version % WRITTEN_EVERY === 0 || !isThere(key, version)) return [];
  if (key === 0) return ["t1"];
  if (key === 1) return version % 2 === 0 ? ["t1", "t3"] : ["t2"];
  if (key === 2) return [];
  return "any";
}

/** Some versions of a key say that there is no such value. */
export function isThere(key: number, version: number): boolean {
  return version % 8 !== 5 + key % 2;
}

export function covers({ keys, prefixes, tags, all }: Invalidation, key: number, version: number): boolean {
  const name = KEYS[key]!;
  if (all || keys.includes(name) || prefixes.some((prefix) => name.startsWith(prefix))) return true;
  const own = tagsOf(key, version);
  return own === "any" ? tags.length > 0 : own.some((tag) => tags.includes(tag));
}

/** An invalidation, and the origin's versions when it was made: what it covers of older ones is superseded. */
export interface Published {
  readonly epoch: number;
  readonly sequence: number;
  readonly message: Invalidation;
  readonly versions: readonly number[];
  /** As it stands in the log. */
  readonly data: Uint8Array;
  /** When the last node applied it; -Infinity: none has. */
  lastAppliedMs: number;
}

export function supersedes({ message, versions }: Published, key: number, version: number): boolean {
  return version < versions[key]! && covers(message, key, version);
}

/** One time that the origin was asked, or a client wrote. Its number stands in the body: `a1:7#12`. */
export interface Load {
  readonly key: number;
  readonly node: string;
  /** The step of the run in which it began. */
  readonly begunAt: number;
  /** The life of the log that the node had seen then; 0: none yet. */
  readonly epoch: number;
  version: number;
}

/** What a node was told of the log. */
export class History {
  epoch = 0;
  sequence = 0;
  /** In the order in which they were applied. */
  readonly applied: Published[] = [];
  /** Changes that the log has not taken: what is older than these versions is bad here. */
  readonly pending = new Set<Published>();
  /** When the log has last said that there is nothing more. */
  contactMs: number;

  constructor(nowMs: number) {
    this.contactMs = nowMs;
  }

  told(what: Published, nowMs: number): void {
    this.sequence = what.sequence;
    what.lastAppliedMs = nowMs;
    this.applied.push(what);
  }

  /** @param skipped what the log says nothing about, as it lies before */
  restarted(epoch: number, sequence: number, skipped: readonly Published[]): void {
    this.epoch = epoch;
    this.sequence = sequence;
    this.applied.push(...skipped);
  }
}

/** What a get may rely on, as it begins. */
export class Demand {
  readonly history: History;
  readonly key: number;
  readonly begunAt: number;
  readonly epoch: number;
  readonly #appliedCount: number;
  readonly #pending: readonly Published[];
  readonly #after: readonly Published[];

  /** @param after what `Muster-After` names */
  constructor(history: History, key: number, begunAt: number, after: readonly Published[] = []) {
    this.history = history;
    this.key = key;
    this.begunAt = begunAt;
    this.epoch = history.epoch;
    this.#appliedCount = history.applied.length;
    this.#pending = [...history.pending];
    this.#after = after;
  }

  /** The hard invalidation by which no answer may have this version. */
  forbids(version: number): Published | undefined {
    const { applied } = this.history;
    const isBad = (what: Published) => !what.message.soft && supersedes(what, this.key, version);
    for (let i = 0; i < this.#appliedCount; i++) if (isBad(applied[i]!)) return applied[i];
    return this.#after.find((what) => supersedes(what, this.key, version) && !what.message.soft) ??
      this.#pending.find((what) => supersedes(what, this.key, version) && this.#isPending(what));
  }

  /** Until the log has taken it, a soft one counts as hard. */
  #isPending(what: Published): boolean {
    return !what.message.soft || this.history.pending.has(what);
  }

  /** The first soft invalidation, of those that the node had applied, by which this version is stale at least. */
  softens(version: number): Published | undefined {
    const { applied } = this.history;
    for (let i = 0; i < this.#appliedCount; i++) {
      const what = applied[i]!;
      if (what.message.soft && supersedes(what, this.key, version)) return what;
    }
    return undefined;
  }

  /** Whether a load was made in an earlier life of the log. Those from before any contact are bound by less. */
  isOfAnotherLife(load: Load): boolean {
    return load.begunAt < this.begunAt && load.epoch > 0 && load.epoch < this.epoch;
  }
}

export function sayMessage({ keys, prefixes, tags, all, soft }: Invalidation): string {
  const names = [
    ...keys,
    ...prefixes.map((prefix) => `${prefix}*`),
    ...tags.map((tag) => `tag ${tag}`),
    ...(all ? ["all"] : []),
  ];
  return `${soft ? "soft " : ""}${names.join(", ")}`;
}

export function sayPublished({ epoch, sequence, message }: Published): string {
  return `${epoch}/${sequence} (${sayMessage(message)})`;
}
