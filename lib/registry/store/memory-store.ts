/**
 * The registry of a node that runs alone (`--nats off`), and a fake NATS for tests. It obeys the real rules: it passes
 * the same contract suite as a real nats-server.
 */
import { UnavailableError, WrongRevisionError } from "../../core/errors.ts";
import type { Entry, PeerStore, StoreListener, View } from "./store.ts";
import { maxNamed } from "./store.ts";

const never: Entry = { value: undefined, revision: 0 };

/** The bucket that the nodes of a test share in place of a server. Some methods break it on purpose. */
export class MemoryBucket {
  #epoch = 1;
  #revision = 0;
  readonly #entries = new Map<string, Entry>();
  readonly #watchers = new Set<MemoryStore>();
  /** The view of each group since the last change. All watchers get the same object. */
  readonly #views = new Map<string, View>();
  #isAway = false;

  /** Opens this bucket for one more node. */
  open(): MemoryStore {
    return new MemoryStore(this);
  }

  get isAway(): boolean {
    return this.#isAway;
  }

  get epoch(): string {
    return `memory ${this.#epoch}`;
  }

  get entries(): ReadonlyMap<string, Entry> {
    return this.#entries;
  }

  /** One group's keys now. */
  view(group: string): View {
    const known = this.#views.get(group);
    if (known !== undefined) return known;
    const entries = new Map([...this.#entries].filter(([key]) => key.startsWith(`${group}.`)));
    const revision = [...entries.values()].reduce((latest, entry) => Math.max(latest, entry.revision), 0);
    const view: View = { group, epoch: this.epoch, revision, entries };
    this.#views.set(group, view);
    return view;
  }

  /** @throws WrongRevisionError */
  write(key: string, value: Uint8Array | undefined, replaces: number): number {
    const last = (this.#entries.get(key) ?? never).revision;
    if (last !== replaces) throw new WrongRevisionError(`${key} is at revision ${last}, not ${replaces}`);
    this.#entries.set(key, { value, revision: ++this.#revision });
    this.#tell();
    return this.#revision;
  }

  enter(watcher: MemoryStore): void {
    this.#watchers.add(watcher);
  }

  exit(watcher: MemoryStore): void {
    this.#watchers.delete(watcher);
  }

  /** Simulates a killed server: reads and writes fail, watches are silent. */
  goAway(): void {
    if (this.#isAway) return;
    this.#isAway = true;
    for (const watcher of this.#watchers) watcher.lose();
  }

  comeBack(): void {
    this.#isAway = false;
    for (const watcher of this.#watchers) watcher.find();
  }

  /** Simulates a bucket that is deleted and made again. */
  loseBucket(): void {
    this.#epoch++;
    this.#revision = 0;
    this.#entries.clear();
    this.#tell();
  }

  /** Simulates an operator who purges a key from the stream: not even a marker is left. */
  dropPurge(key: string): void {
    this.#entries.delete(key);
    this.#tell();
  }

  #tell(): void {
    this.#views.clear();
    if (!this.#isAway) { for (const watcher of this.#watchers) watcher.look(); }
  }
}

/** One node's connection to a bucket in memory. By default it has its own bucket, for a node that runs alone. */
export class MemoryStore implements PeerStore {
  readonly #bucket: MemoryBucket;
  readonly #groups = new Set<string>();
  #listener: StoreListener | undefined;
  #isClosed = false;
  #isLookDue = false;
  #isAnswerLost = false;

  constructor(bucket = new MemoryBucket()) {
    this.#bucket = bucket;
  }

  async read(key: string): Promise<Entry> {
    this.#mustReach();
    return this.#bucket.entries.get(key) ?? never;
  }

  async named(name: string): Promise<ReadonlyMap<string, Uint8Array>> {
    this.#mustReach();
    const keys = [...this.#bucket.entries.keys()].filter((key) => key.slice(key.indexOf(".") + 1) === name);
    const entries = keys.slice(0, maxNamed).map((key) => [key, this.#bucket.entries.get(key)!.value] as const);
    return new Map(entries.flatMap(([key, value]) => value === undefined ? [] : [[key, value]]));
  }

  async put(key: string, value: Uint8Array, replaces: number): Promise<number> {
    return this.#write(key, value.slice(), replaces);
  }

  async delete(key: string, replaces: number): Promise<number> {
    return this.#write(key, undefined, replaces);
  }

  /** Does nothing, as no view is ever late here. */
  hurry(): void {}

  watch(listener: StoreListener): void {
    if (this.#listener !== undefined) throw new TypeError("Cannot watch twice");
    this.#listener = listener;
    this.#bucket.enter(this);
    if (this.#bucket.isAway) this.lose();
    else this.find();
  }

  follow(group: string): void {
    if (this.#groups.has(group)) return;
    this.#groups.add(group);
    // Before `watch` there is nothing to do: `watch` shows all groups that are followed.
    if (this.#listener === undefined) return;
    this.#later(() => {
      if (!this.#bucket.isAway) this.#show(group);
    });
  }

  unfollow(group: string): void {
    this.#groups.delete(group);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#bucket.exit(this);
  }

  /** The next write will be applied, but its answer lost. */
  loseNextAnswer(): void {
    this.#isAnswerLost = true;
  }

  // The bucket calls the methods below. Each lets its caller finish first, as a network would.

  lose(): void {
    this.#later(() => this.#listener?.onAway("the bucket was told to be away"));
  }

  find(): void {
    this.#later(() => {
      if (this.#bucket.isAway) return;
      for (const group of this.#groups) this.#show(group);
      this.#listener?.onBack();
    });
  }

  look(): void {
    if (this.#isLookDue) return;
    this.#isLookDue = true;
    this.#later(() => {
      this.#isLookDue = false;
      if (this.#bucket.isAway) return;
      for (const group of this.#groups) this.#show(group);
    });
  }

  #later(action: () => void): void {
    queueMicrotask(() => {
      if (!this.#isClosed) action();
    });
  }

  #show(group: string): void {
    if (this.#groups.has(group)) this.#listener?.onView(this.#bucket.view(group));
  }

  #write(key: string, value: Uint8Array | undefined, replaces: number): number {
    this.#mustReach();
    const revision = this.#bucket.write(key, value, replaces);
    if (!this.#isAnswerLost) return revision;
    this.#isAnswerLost = false;
    throw new UnavailableError("the answer was lost");
  }

  #mustReach(): void {
    if (this.#isClosed) throw new UnavailableError("closed");
    if (this.#bucket.isAway) throw new UnavailableError("the bucket is away");
  }
}
