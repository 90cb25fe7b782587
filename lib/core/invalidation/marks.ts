/** Records invalidations by name in bounded memory. At a bound, too much counts as invalidated, never too little. */
import { hashOf, utf8Bytes } from "../base/hash.ts";

/** A soft invalidation: values with a label before `sequence` are stale since `atMs`. */
interface Soft {
  readonly sequence: number;
  readonly atMs: number;
}

/** The invalidations of one name. */
export class Mark {
  /** The sequence of the last hard one; 0: there was none. */
  hard = 0;
  /** The soft ones after it, the oldest first. */
  #softs: readonly Soft[] = NO_SOFTS;

  get isSoft(): boolean {
    return this.#softs.length > 0;
  }

  /** The sequence of the last one of either kind. */
  get last(): number {
    return this.#softs.at(-1)?.sequence ?? this.hard;
  }

  addHard(sequence: number): void {
    this.hard = sequence;
    this.#softs = NO_SOFTS;
  }

  /** If there are too many, the oldest two merge: values between them count as stale since the older one. */
  addSoft(sequence: number, atMs: number): void {
    const softs = [...this.#softs, { sequence, atMs }];
    if (softs.length > MAX_SOFTS) softs.splice(0, 2, { sequence: softs[1]!.sequence, atMs: softs[0]!.atMs });
    this.#softs = softs;
  }

  /** Since when a value that was good at `sequence` is stale; Infinity: it is not. */
  staleSinceMs(sequence: number): number {
    // The first one that covers the value counts, so repeated soft invalidations prolong nothing.
    for (const soft of this.#softs) if (soft.sequence > sequence) return soft.atMs;
    return Infinity;
  }
}

const NO_SOFTS: readonly Soft[] = Object.freeze([]);
/** Chosen. */
const MAX_SOFTS = 8;
/** Chosen: a minute of 250 invalidations a second. */
export const MAX_MARKS = 16_384;
const MAX_MARK_BYTES = 4 * 1024 * 1024;
/**
 * Dropped marks share this many slots. Chosen: 512 KiB. After as many dropped names, a third of all other names share
 * no slot.
 */
const DROPPED_SLOTS = 65_536;

/** The marks of many names. */
export class Marks {
  /** In the order of adding, the oldest first. */
  readonly #marks = new Map<string, Mark>();
  readonly #maxMarks: number;
  #bytes = 0;
  /** Per slot, the last invalidation of the dropped names in it. A soft one counts as hard. */
  #dropped: Float64Array | undefined;
  #lastDropped = 0;

  constructor(maxMarks = MAX_MARKS) {
    this.#maxMarks = maxMarks;
  }

  get isEmpty(): boolean {
    return this.#marks.size === 0 && this.#dropped === undefined;
  }

  /** The last invalidation of any dropped name. */
  get lastDropped(): number {
    return this.#lastDropped;
  }

  get names(): Iterable<string> {
    return this.#marks.keys();
  }

  get(name: string): Mark | undefined {
    return this.#marks.get(name);
  }

  /** The last hard invalidation of this name, or of a dropped name in the same slot. */
  hardOf(name: string): number {
    const hard = this.#marks.get(name)?.hard ?? 0;
    return this.#dropped === undefined ? hard : Math.max(hard, this.#dropped[slotOf(name)]!);
  }

  /** @returns the names that were dropped to make room */
  add(name: string, sequence: number, softAtMs: number | undefined): readonly string[] {
    const mark = this.#marks.get(name) ?? new Mark();
    if (!this.#marks.delete(name)) this.#bytes += utf8Bytes(name);
    this.#marks.set(name, mark);
    if (softAtMs === undefined) mark.addHard(sequence);
    else mark.addSoft(sequence, softAtMs);
    const dropped: string[] = [];
    while (this.#marks.size > this.#maxMarks || this.#bytes > MAX_MARK_BYTES) dropped.push(this.#dropOldest());
    return dropped;
  }

  clear(): void {
    this.#marks.clear();
    this.#bytes = 0;
    this.#dropped = undefined;
    this.#lastDropped = 0;
  }

  #dropOldest(): string {
    const [name, mark] = this.#marks.entries().next().value!;
    this.#marks.delete(name);
    this.#bytes -= utf8Bytes(name);
    this.#dropped ??= new Float64Array(DROPPED_SLOTS);
    const slot = slotOf(name);
    this.#dropped[slot] = Math.max(this.#dropped[slot]!, mark.last);
    this.#lastDropped = Math.max(this.#lastDropped, mark.last);
    return name;
  }
}

function slotOf(name: string): number {
  return hashOf(name) & (DROPPED_SLOTS - 1);
}
