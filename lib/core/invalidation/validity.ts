/** Which values of a group are still good, by what this node has applied of the log. */
import type { Clock } from "../base/clock.ts";
import { BLIND, type Label } from "./label.ts";
import { Mark, Marks } from "./marks.ts";
import type { Invalidation } from "./message.ts";
import type { LogPosition, LogReader } from "./position.ts";
import type { Tags } from "./tags.ts";

/** What of a value matters here. */
export interface Labelled {
  label: Label;
  readonly freshUntilMs: number;
  readonly about: { readonly tags: Tags };
}

export interface ValidityOptions {
  readonly position: LogPosition;
  readonly clock: Clock;
  /** Without contact with the log for so long, in milliseconds, no value counts as good; null: they do. @default null */
  readonly maxBlindMs?: number | null | undefined;
  /** A message about the group has been applied, or all was lost: loads of the covered keys must not be joined any more. */
  readonly onCovered?: ((isCovered: (key: string) => boolean, keys: readonly string[]) => void) | undefined;
}

/** What this counts. */
export interface ValidityStats {
  /** Messages that were applied, and that could not be read. */
  applied: number;
  refused: number;
  /** Values that were found to be no longer good: dropped, or made stale. */
  dropped: number;
  softened: number;
}

/** A message that was applied. */
export interface Told {
  readonly sequence: number;
  readonly atMs: number;
  readonly message: string;
}

/** How a value stands against the invalidations that this node has applied. */
export interface Standing {
  /** A hard one covers it. */
  readonly isBad: boolean;
  /** A change covers it that the log has not taken yet. */
  readonly isPending: boolean;
  /** Since when a soft one has made it stale, in Unix milliseconds; Infinity: none has. */
  readonly staleSinceMs: number;
  /** The sequence of the last invalidation that touches it, or of the point from which this node vouches for values. */
  readonly last: number;
}

/** Prefixes are tried one length after the other, so they are few. Chosen. */
const MAX_PREFIXES = 1_024;
/** Messages that are kept to be shown, and how much of each. Chosen. */
const MAX_TOLD = 10;
const MAX_TOLD_CHARACTERS = 200;
/** With more prefixes in a message all loads in flight count as covered. 1,000 for 10,000 loads took 0.2 to 1 s (measured). */
const MAX_COMPARED = 16;
/** Changes made here that the log has not taken yet. Chosen; with more, all is covered until it takes them. */
const MAX_PENDING = 1_000;

const decoder = new TextDecoder();

/**
 * The rules:
 *
 * - A value is good while its label is at least the last invalidation that covers it. A soft one makes it stale instead.
 * - A value that was just checked is good up to where this node is: its label is raised, so the next look at it is one
 *   comparison of references.
 * - Nothing is done to covered values when a message comes. They are found out when somebody looks at them.
 */
export class Validity implements LogReader {
  /** What the label of a value must be that needs no check. */
  label: Label;
  /** The node is here, as far as this group goes: the last message about it, or the start of what can be vouched for. */
  after: Label;
  readonly stats: ValidityStats = { applied: 0, refused: 0, dropped: 0, softened: 0 };
  #options: ValidityOptions;
  readonly #position: LogPosition;
  readonly #keys = new Marks();
  readonly #tags = new Marks();
  readonly #prefixes = new Marks(MAX_PREFIXES);
  /** How many prefixes have each length. */
  readonly #prefixLengths = new Map<number, number>();
  #all = new Mark();
  /** The last invalidation of any tag: values with too many tags to keep are covered by every one. */
  #lastOfTags = 0;
  /** Covered from here on until `settlePending`: no clock and no log has ordered them. */
  readonly #pending = new Set<Invalidation>();
  #pendingCount = 0;
  #latest: readonly Told[] = [];
  #isBlind = false;
  #cancelBlind: (() => void) | undefined;

  constructor(options: ValidityOptions) {
    this.#options = options;
    this.#position = options.position;
    this.label = options.position.label;
    // A group that begins now holds nothing that is older.
    this.after = options.position.label;
    this.#all.addHard(this.after.sequence);
    this.touched();
  }

  /** Another group goes on with the values, by another policy. */
  changeHands({ maxBlindMs, onCovered }: Pick<ValidityOptions, "maxBlindMs" | "onCovered">): void {
    this.#options = { ...this.#options, maxBlindMs, onCovered };
    this.touched();
  }

  /** How far everything is applied: the label of a load that begins now. */
  get applied(): Label {
    return this.#position.label;
  }

  /** Whether this node cannot read the log now. */
  get isBehind(): boolean {
    return this.#position.isAway;
  }

  /** The messages that were applied, the latest first; ten at most. */
  get latest(): readonly Told[] {
    return this.#latest;
  }

  has(label: Label): boolean {
    return this.#position.has(label);
  }

  reach(label: Label, timeoutMs: number): true | Promise<boolean> {
    return this.#position.reach(label, timeoutMs);
  }

  /** Compares two labels; a label of another life of the log is before all of this one. */
  compare(one: Label, other: Label): number {
    return this.#position.numberOf(one) - this.#position.numberOf(other);
  }

  /**
   * The value if it is good, its label raised; a stale copy of it if it was softly invalidated; `undefined` if it is bad.
   *
   * @param key as clients ask for it
   */
  check<V extends Labelled>(key: string, value: V): V | undefined {
    const number = this.#position.numberOf(value.label);
    if (this.#isPending(key, value)) return this.#bad();
    const { label } = this.#position;
    if (number >= this.after.sequence) return raised(value, number, label);
    if (this.#hard(key, value.about.tags) > number) return this.#bad();
    const staleSinceMs = this.#staleSinceMs(key, value.about.tags, number);
    if (staleSinceMs >= value.freshUntilMs) return raised(value, number, label);
    this.stats.softened++;
    return raised({ ...value, freshUntilMs: staleSinceMs }, number, label);
  }

  /** Whether an invalidation that is applied here covers the value: it is bad, or stale for it. Leaves no trace. */
  isCovered(key: string, value: Labelled): boolean {
    const number = this.#position.numberOf(value.label);
    if (this.#isPending(key, value)) return true;
    if (number >= this.after.sequence) return false;
    const { tags } = value.about;
    return this.#hard(key, tags) > number || this.#staleSinceMs(key, tags, number) < value.freshUntilMs;
  }

  /** What `check` goes by, for people. Leaves no trace: nothing is counted, and no label is raised. */
  standing(key: string, value: Labelled): Standing {
    const number = this.#position.numberOf(value.label);
    const { tags } = value.about;
    return {
      isBad: this.#hard(key, tags) > number,
      isPending: this.#isPending(key, value),
      staleSinceMs: this.#staleSinceMs(key, tags, number),
      last: this.#last(key, tags),
    };
  }

  /**
   * Whether nothing may be served from the caches: the log has been out of touch for too long. The values are kept: they
   * are good again if it turns out that nothing was missed.
   */
  get isBlind(): boolean {
    return this.#isBlind;
  }

  /** A change that no log has ordered, as it is away: what it covers is bad here until `settlePending`. */
  addPending(message: Invalidation): void {
    this.#pendingCount++;
    this.#pending.add(this.#pending.size < MAX_PENDING ? message : ALL);
    this.#match();
    // This node does not move on by it, so later gets could not be told from earlier ones: they join none of these.
    if (message.tags.length > 0) this.#options.onCovered?.(() => true, message.keys);
    else this.#tellCovered(message);
  }

  /** How many changes have waited for the log so far. */
  get pendingCount(): number {
    return this.#pendingCount;
  }

  /** Whether a change that waits for the log may cover the key's value, whose tags nobody knows before it is loaded. */
  mayBePending(key: string): boolean {
    if (this.#pending.size === 0) return false;
    for (const { all, keys, prefixes, tags } of this.#pending) {
      if (all || tags.length > 0 || keys.includes(key) || prefixes.some((prefix) => key.startsWith(prefix))) {
        return true;
      }
    }
    return false;
  }

  /** The changes that wait for the log. */
  get pending(): readonly Invalidation[] {
    return [...this.#pending];
  }

  /** The log has taken the change, and this node has applied it. */
  settlePending(message: Invalidation): void {
    this.#pending.delete(message);
    this.#match();
  }

  restarted(label: Label): void {
    for (const marks of [this.#keys, this.#tags, this.#prefixes]) marks.clear();
    this.#prefixLengths.clear();
    this.#all = new Mark();
    this.#all.addHard(label.sequence);
    this.#lastOfTags = 0;
    this.after = label;
    this.#match();
    this.#options.onCovered?.(() => true, NO_KEYS);
  }

  moved(): void {
    this.#match();
  }

  told(label: Label, message: Invalidation | undefined, data: Uint8Array): void {
    const { sequence } = label;
    const atMs = this.#options.clock.nowMs();
    const text = decoder.decode(data.subarray(0, MAX_TOLD_CHARACTERS));
    this.#latest = [{ sequence, atMs, message: text }, ...this.#latest.slice(0, MAX_TOLD - 1)];
    if (message === undefined) return void this.stats.refused++;
    this.stats.applied++;
    this.after = label;
    const { keys, prefixes, tags, all, soft } = message;
    const softAtMs = soft ? atMs : undefined;
    for (const key of keys) this.#keys.add(key, sequence, softAtMs);
    for (const tag of tags) this.#tags.add(tag, sequence, softAtMs);
    if (tags.length > 0) this.#lastOfTags = sequence;
    for (const prefix of prefixes) this.#addPrefix(prefix, sequence, softAtMs);
    if (all && softAtMs === undefined) this.#all.addHard(sequence);
    else if (all) this.#all.addSoft(sequence, softAtMs!);
    this.#tellCovered(message);
  }

  touched(): void {
    const { maxBlindMs = null, clock } = this.#options;
    this.#cancelBlind?.();
    this.#cancelBlind = undefined;
    const isBounded = maxBlindMs !== null && this.#position.canBeBlind;
    const leftMs = isBounded ? maxBlindMs - this.#position.blindMs : Infinity;
    this.#isBlind = leftMs <= 0;
    this.#match();
    if (this.#isBlind || leftMs === Infinity) return;
    // A little late: at exactly that age the values still count.
    this.#cancelBlind = clock.after(leftMs + 1, () => this.touched());
  }

  /** Ends its timer. */
  close(): void {
    this.#cancelBlind?.();
  }

  /** Values need no check if they were checked where this node is; while anything stands against that, all are checked. */
  #match(): void {
    this.label = this.#isBlind || this.#pending.size > 0 ? UNMATCHED : this.#position.label;
  }

  #tellCovered(message: Invalidation): void {
    const { keys, prefixes, all } = message;
    const named = new Set(keys);
    const areAll = all || prefixes.length > MAX_COMPARED;
    const isCovered = (key: string) => areAll || named.has(key) || prefixes.some((prefix) => key.startsWith(prefix));
    // What a load's tags are is not known before it ends: see Group.
    if (all || named.size > 0 || prefixes.length > 0) this.#options.onCovered?.(isCovered, keys);
  }

  /** Whether a change covers the value that no other node knows of yet: a few names, and none but in an outage. */
  #isPending(key: string, { about: { tags } }: Labelled): boolean {
    if (this.#pending.size === 0) return false;
    for (const message of this.#pending) {
      if (message.all || message.keys.includes(key)) return true;
      if (message.prefixes.some((prefix) => key.startsWith(prefix))) return true;
      if (message.tags.length > 0 && (tags === "any" || tags.some((tag) => message.tags.includes(tag)))) return true;
    }
    return false;
  }

  #bad(): undefined {
    this.stats.dropped++;
    return undefined;
  }

  /** The last hard invalidation that covers a value. */
  #hard(key: string, tags: Tags): number {
    let hard = Math.max(this.#all.hard, this.#prefixes.lastDropped);
    if (!this.#keys.isEmpty) hard = Math.max(hard, this.#keys.hardOf(key));
    if (!this.#tags.isEmpty) {
      if (tags === "any") hard = Math.max(hard, this.#lastOfTags);
      else for (const tag of tags) hard = Math.max(hard, this.#tags.hardOf(tag));
    }
    for (const mark of this.#prefixMarks(key)) hard = Math.max(hard, mark.hard);
    return hard;
  }

  /** Since when a value is stale for a soft invalidation. */
  #staleSinceMs(key: string, tags: Tags, number: number): number {
    let sinceMs = this.#all.staleSinceMs(number);
    const look = (mark: Mark | undefined) => {
      if (mark?.isSoft) sinceMs = Math.min(sinceMs, mark.staleSinceMs(number));
    };
    look(this.#keys.get(key));
    if (tags !== "any") { for (const tag of tags) look(this.#tags.get(tag)); }
    for (const mark of this.#prefixMarks(key)) look(mark);
    return sinceMs;
  }

  /** The last invalidation of either kind that touches a value. */
  #last(key: string, tags: Tags): number {
    const marks = [this.#all, this.#keys.get(key), ...this.#prefixMarks(key)];
    if (tags !== "any") marks.push(...tags.map((tag) => this.#tags.get(tag)));
    return Math.max(this.#hard(key, tags), ...marks.map((mark) => mark?.last ?? 0));
  }

  *#prefixMarks(key: string): Iterable<Mark> {
    for (const length of this.#prefixLengths.keys()) {
      if (length > key.length) continue;
      const mark = this.#prefixes.get(key.slice(0, length));
      if (mark !== undefined) yield mark;
    }
  }

  #addPrefix(prefix: string, sequence: number, softAtMs: number | undefined): void {
    const lengths = this.#prefixLengths;
    if (this.#prefixes.get(prefix) === undefined) lengths.set(prefix.length, (lengths.get(prefix.length) ?? 0) + 1);
    for (const { length } of this.#prefixes.add(prefix, sequence, softAtMs)) {
      const left = lengths.get(length)! - 1;
      if (left === 0) lengths.delete(length);
      else lengths.set(length, left);
    }
  }
}

/** The label is raised to where this node is, unless the value comes from a node that is ahead. */
function raised<V extends Labelled>(value: V, number: number, label: Label): V {
  if (number <= label.sequence) value.label = label;
  return value;
}

/** No value has it. */
const UNMATCHED: Label = Object.freeze({ ...BLIND });
const ALL: Invalidation = Object.freeze({ keys: [], prefixes: [], tags: [], all: true, soft: false });
const NO_KEYS: readonly string[] = Object.freeze([]);
