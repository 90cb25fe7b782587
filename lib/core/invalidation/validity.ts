/** Decides which values of a group are still good, by the invalidations that this node has applied. */
import type { Clock } from "../base/clock.ts";
import { BLIND, type Label } from "./label.ts";
import { Mark, Marks } from "./marks.ts";
import type { Invalidation } from "./message.ts";
import type { LogPosition, LogReader } from "./position.ts";
import type { Tags } from "./tags.ts";

/** The parts of a value that matter here. */
export interface Labelled {
  label: Label;
  readonly freshUntilMs: number;
  readonly about: { readonly tags: Tags };
}

export interface ValidityOptions {
  readonly position: LogPosition;
  readonly clock: Clock;
  /** After this long without contact to the log, in milliseconds, no value counts as good. null: no limit. @default null */
  readonly maxBlindMs?: number | null | undefined;
  /**
   * Called when a message about the group was applied, or the log was lost. No later get may join a load of a covered
   * key.
   */
  readonly onCovered?: ((isCovered: (key: string) => boolean, keys: readonly string[]) => void) | undefined;
}

/** The counters of one group's invalidations. */
export interface ValidityStats {
  /** Messages that were applied, and messages that could not be read. */
  applied: number;
  refused: number;
  /** Values that a check found bad and dropped, or made stale. */
  dropped: number;
  softened: number;
}

/** A message that was applied. */
export interface Told {
  readonly sequence: number;
  readonly atMs: number;
  readonly message: string;
}

/** How the invalidations that this node has applied affect a value. */
export interface Standing {
  /** A hard invalidation covers it. */
  readonly isBad: boolean;
  /** A pending change covers it: the log has not taken that change yet. */
  readonly isPending: boolean;
  /** Since when it is stale by a soft invalidation, in Unix milliseconds; Infinity: it is not. */
  readonly staleSinceMs: number;
  /** The sequence of the last invalidation that touches it, or of the point from which this node missed no message. */
  readonly last: number;
}

/** The most prefixes. Chosen: a check tries each length of a prefix in turn, so they must be few. */
const MAX_PREFIXES = 1_024;
/** The most messages to keep for display, and the characters of each. Chosen. */
const MAX_TOLD = 10;
const MAX_TOLD_CHARACTERS = 200;
/**
 * If a message has more prefixes, all loads in flight count as covered. 1,000 prefixes for 10,000 loads took 0.2 to 1 s
 * (measured).
 */
const MAX_COMPARED = 16;
/**
 * The most pending changes of this node, which the log has not taken yet. Chosen. With more, all values are covered
 * until it takes them.
 */
const MAX_PENDING = 1_000;

const decoder = new TextDecoder();

/**
 * The rules:
 *
 * - A value is good while its label is at least the last invalidation that covers it. A soft one makes it stale instead.
 * - A checked value is good up to this node's label. Its own label is raised to that, so the next check compares two
 *   references.
 * - A message does nothing to covered values when it comes. The next lookup finds out about them.
 */
export class Validity implements LogReader {
  /** A value with this label needs no check. */
  label: Label;
  /** The label of the last message about this group, or the point from which this node missed no message. */
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
  /** The last invalidation of any tag. Values with too many tags to keep are covered by every tag. */
  #lastOfTags = 0;
  /** Changes that the log has not ordered yet. They cover values from now until `settlePending`. */
  readonly #pending = new Set<Invalidation>();
  #pendingCount = 0;
  #latest: readonly Told[] = [];
  #isBlind = false;
  #cancelBlind: (() => void) | undefined;

  constructor(options: ValidityOptions) {
    this.#options = options;
    this.#position = options.position;
    this.label = options.position.label;
    // A new group holds no older values.
    this.after = options.position.label;
    this.#all.addHard(this.after.sequence);
    this.touched();
  }

  /** Another group takes over the values, with another policy. */
  changeHands({ maxBlindMs, onCovered }: Pick<ValidityOptions, "maxBlindMs" | "onCovered">): void {
    this.#options = { ...this.#options, maxBlindMs, onCovered };
    this.touched();
  }

  /** Everything up to here is applied. A load that begins now gets this label. */
  get applied(): Label {
    return this.#position.label;
  }

  /** Whether this node cannot read the log now. */
  get isBehind(): boolean {
    return this.#position.isAway;
  }

  /** The latest messages about the group, the newest first; ten at most. */
  get latest(): readonly Told[] {
    return this.#latest;
  }

  has(label: Label): boolean {
    return this.#position.has(label);
  }

  reach(label: Label, timeoutMs: number): true | Promise<boolean> {
    return this.#position.reach(label, timeoutMs);
  }

  /** Compares two labels. A label of another life of the log is before all labels of this life. */
  compare(one: Label, other: Label): number {
    return this.#position.numberOf(one) - this.#position.numberOf(other);
  }

  /**
   * The value with its label raised, if it is good; a stale copy, if it was softly invalidated; `undefined`, if it is bad.
   *
   * @param key the client's key, not a cache key
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

  /** Whether an invalidation makes the value bad or stale here. It changes nothing. */
  isCovered(key: string, value: Labelled): boolean {
    const number = this.#position.numberOf(value.label);
    if (this.#isPending(key, value)) return true;
    if (number >= this.after.sequence) return false;
    const { tags } = value.about;
    return this.#hard(key, tags) > number || this.#staleSinceMs(key, tags, number) < value.freshUntilMs;
  }

  /** Explains to people what `check` decides by. It changes nothing: no counter, no label. */
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
   * Whether the caches may serve nothing, as contact to the log was lost for too long. They keep their values, which
   * are good again if no message was missed.
   */
  get isBlind(): boolean {
    return this.#isBlind;
  }

  /** Adds a change that the log cannot order, as it is away. Covered values are bad here until `settlePending`. */
  addPending(message: Invalidation): void {
    this.#pendingCount++;
    this.#pending.add(this.#pending.size < MAX_PENDING ? message : ALL);
    this.#match();
    // The node's label does not move, so labels cannot tell later gets from earlier ones. Later gets must join no load
    // in flight.
    if (message.tags.length > 0) this.#options.onCovered?.(() => true, message.keys);
    else this.#tellCovered(message);
  }

  /** The number of changes that have been added as pending so far. */
  get pendingCount(): number {
    return this.#pendingCount;
  }

  /** Whether a pending change may cover the key's value. The value's tags are unknown before it is loaded. */
  mayBePending(key: string): boolean {
    if (this.#pending.size === 0) return false;
    for (const { all, keys, prefixes, tags } of this.#pending) {
      if (all || tags.length > 0 || keys.includes(key) || prefixes.some((prefix) => key.startsWith(prefix))) {
        return true;
      }
    }
    return false;
  }

  /** The pending changes. */
  get pending(): readonly Invalidation[] {
    return [...this.#pending];
  }

  /** To be called when the log has taken a pending change and this node has applied it. */
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
    // One millisecond later: at exactly that age the values still count.
    this.#cancelBlind = clock.after(leftMs + 1, () => this.touched());
  }

  /** Ends its timer. */
  close(): void {
    this.#cancelBlind?.();
  }

  /** Values with this node's current label need no check, unless the node is blind or changes are pending. */
  #match(): void {
    this.label = this.#isBlind || this.#pending.size > 0 ? UNMATCHED : this.#position.label;
  }

  #tellCovered(message: Invalidation): void {
    const { keys, prefixes, all } = message;
    const named = new Set(keys);
    const areAll = all || prefixes.length > MAX_COMPARED;
    const isCovered = (key: string) => areAll || named.has(key) || prefixes.some((prefix) => key.startsWith(prefix));
    // A load's tags are unknown before it ends, so tags alone detach no load: see Group.
    if (all || named.size > 0 || prefixes.length > 0) this.#options.onCovered?.(isCovered, keys);
  }

  /** Whether a pending change covers the value. There are only a few of these, and only during an outage. */
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

  /** Since when a value is stale by a soft invalidation. */
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

/** Raises the value's label to this node's label, unless the value comes from a node that is ahead. */
function raised<V extends Labelled>(value: V, number: number, label: Label): V {
  if (number <= label.sequence) value.label = label;
  return value;
}

/** A label that no value has, so every value is checked. */
const UNMATCHED: Label = Object.freeze({ ...BLIND });
const ALL: Invalidation = Object.freeze({ keys: [], prefixes: [], tags: [], all: true, soft: false });
const NO_KEYS: readonly string[] = Object.freeze([]);
