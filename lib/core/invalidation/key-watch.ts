/** Watches a key while a request changes it: did anything else change the key at the same time? */
import { areSame, type Label } from "./label.ts";

/** The most keys watched at a time. Chosen: as many as there are requests to one origin at once. */
const MAX_WATCHES = 1_024;

/** The watch of one key, from the start of a request that changes it. */
export class KeyWatch {
  /** This node's label at the start: a value with this label was good before the request. */
  readonly begun: Label;
  readonly #end: () => void;
  #first: Label | undefined;
  #isSpoilt = false;

  constructor(begun: Label, end: () => void) {
    this.begun = begun;
    this.#end = end;
  }

  /** To be called when a message at `label` covers the key. */
  told(label: Label): void {
    this.#first ??= label;
  }

  /** To be called when this watch gets no more messages of the log. */
  spoil(): void {
    this.#isSpoilt = true;
  }

  /**
   * Ends the watch.
   *
   * @param own the label of the request's own change; this node has applied it
   * @returns whether no other change of the key came before it in the log
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

  /** To be called when another group reads the log in place of this one. */
  retire(): void {
    this.#isOver = true;
    for (const watch of this.#watches.keys()) watch.spoil();
    this.#watches.clear();
  }
}
