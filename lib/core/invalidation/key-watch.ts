/** Requests that change a key while the log goes on: whether anything else has changed it meanwhile. */
import { areSame, type Label } from "./label.ts";

/** The most keys that are watched at a time. Chosen: as many as requests go to one origin at once. */
const MAX_WATCHES = 1_024;

/** One key, from the beginning of a request that changes it. */
export class KeyWatch {
  /** Where this node was then: whatever is labelled so was good before the request. */
  readonly begun: Label;
  readonly #end: () => void;
  #first: Label | undefined;
  #isSpoilt = false;

  constructor(begun: Label, end: () => void) {
    this.begun = begun;
    this.#end = end;
  }

  /** A message at `label` covers the key. */
  told(label: Label): void {
    this.#first ??= label;
  }

  /** The log is not told to this watch any more. */
  spoil(): void {
    this.#isSpoilt = true;
  }

  /**
   * Ends the watch.
   *
   * @param own the place in the log of the request's own change, which is applied here
   * @returns whether no other change of the key stands before it in the log
   */
  isAlone(own: Label): boolean {
    this.#end();
    return !this.#isSpoilt && this.#first !== undefined && areSame(this.#first, own);
  }

  end(): void {
    this.#end();
  }
}

/** The watched keys of one group. */
export class KeyWatches {
  readonly #watches = new Map<KeyWatch, string>();
  #isOver = false;

  /** @returns `undefined`: too many are watched, or the group has retired */
  begin(key: string, applied: Label): KeyWatch | undefined {
    if (this.#isOver || this.#watches.size >= MAX_WATCHES) return undefined;
    const watch: KeyWatch = new KeyWatch(applied, () => this.#watches.delete(watch));
    this.#watches.set(watch, key);
    return watch;
  }

  covered(isCovered: (key: string) => boolean, label: Label): void {
    for (const [watch, key] of this.#watches) if (isCovered(key)) watch.told(label);
  }

  /** Another group reads the log in this one's place. */
  retire(): void {
    this.#isOver = true;
    for (const watch of this.#watches.keys()) watch.spoil();
    this.#watches.clear();
  }
}
