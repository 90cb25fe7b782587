/**
 * Everything that one group holds, collected afresh, and then kept up to date until it ends: by a KV watch or, where NATS
 * has none to give, by asking the leader of the bucket for one change after the other.
 */
import type { KvEntry, QueuedIterator } from "nats";
import type { Clock } from "../core/base/clock.ts";
import { type Change, isDelete, type NatsBucket } from "./bucket.ts";
import { maxRecordBytes, parseRecord } from "../registry/record.ts";
import { type Entry, maxKeysPerGroup, UnavailableError, type View } from "../registry/store.ts";

export interface CollectionOptions {
  readonly group: string;
  readonly bucket: NatsBucket;
  readonly clock: Clock;
  /** Asks, instead of watching. */
  readonly isPolled: boolean;
  /** Something changed after all had been collected. */
  onChange(): void;
}

/** In the place of every value that is too long, so that a bucket full of them takes no memory: it is refused as they are. */
const tooLong = new Uint8Array(maxRecordBytes + 1);
/** Between two questions whether anything is new. */
const pollMs = 250;

/** What one watch has collected. It is whole from `whole` on, until `ended`. */
export class Collection {
  /** Resolves when everything is there. @throws UnavailableError when the watch failed or ended before */
  readonly whole: Promise<void>;
  /** Resolves when nothing more will come, whatever the reason. */
  readonly ended: Promise<void>;
  readonly entries = new Map<string, Entry>();
  epoch = "";
  revision = 0;
  /** The stream's last sequence that this collection is known to cover. */
  coveredRevision = 0;
  /** How many messages have come. */
  received = 0;
  readonly #options: CollectionOptions;
  #watch: QueuedIterator<KvEntry> | undefined;
  #isWhole = false;
  #isStopped = false;
  /** From how many refused keys on it is worth looking again for room. */
  #refused = 0;
  #lookAgainAt = 0;

  constructor(options: CollectionOptions) {
    this.#options = options;
    const whole = Promise.withResolvers<void>();
    this.whole = whole.promise;
    this.whole.catch(() => {});
    this.ended = this.#run(whole.resolve).then(
      () => whole.reject(new UnavailableError(`the watch of ${options.group} ended before it had everything`)),
      (error) => whole.reject(error),
    );
  }

  get view(): View {
    const { epoch, revision, entries } = this;
    return { group: this.#options.group, epoch, revision, entries };
  }

  /** Whether it has no watch: a stopgap. */
  get isPolled(): boolean {
    return this.#options.isPolled;
  }

  stop(): void {
    this.#isStopped = true;
    this.#watch?.stop();
  }

  async #run(onWhole: () => void): Promise<void> {
    const { bucket } = this.#options;
    const info = await bucket.info();
    this.epoch = String(info.created);
    this.coveredRevision = info.state.last_seq;
    await (this.isPolled ? this.#poll(onWhole) : this.#follow(onWhole));
  }

  async #poll(onWhole: () => void): Promise<void> {
    const { group, bucket, clock } = this.#options;
    while (!this.#isStopped) {
      const change = await bucket.readAfter(this.revision, `${group}.>`);
      if (change !== undefined) {
        this.#take(change);
        if (this.#isWhole) this.#settle(onWhole);
        continue;
      }
      if (!this.#isWhole) this.#settle(onWhole);
      await new Promise<void>((over) => clock.after(pollMs, over));
    }
  }

  async #follow(onWhole: () => void): Promise<void> {
    const { group, bucket } = this.#options;
    // What an entry says of those behind it is no help: the server counts what has been overwritten since.
    const lastRevision = await bucket.lastRevisionOf(`${group}.>`);
    let watch: QueuedIterator<KvEntry>;
    try {
      watch = await bucket.kv.watch({ key: `${group}.>` });
    } catch (error) {
      throw new UnavailableError(`cannot watch ${group}: ${(error as Error).message}`, { cause: error });
    }
    if (this.#isStopped) return watch.stop();
    this.#watch = watch;
    if (lastRevision === 0) this.#settle(onWhole);
    for await (const entry of watch) {
      this.#take(entry);
      if (this.revision >= lastRevision) this.#settle(onWhole);
    }
  }

  #settle(onWhole: () => void): void {
    if (this.#isWhole) return this.#options.onChange();
    this.#isWhole = true;
    onWhole();
  }

  /** Only what fits: somebody may write a million keys, or values of a megabyte, into a bucket that is open to all. */
  #take({ key, revision, operation, value }: Change): void {
    this.received++;
    this.revision = Math.max(this.revision, revision);
    if (this.entries.size >= maxKeysPerGroup && !this.entries.has(key) && !this.#hasRoom()) return;
    const kept = isDelete(operation) ? undefined : value.byteLength > maxRecordBytes ? tooLong : value.slice();
    this.entries.set(key, { value: kept, revision });
  }

  /**
   * Makes room where it can: markers of deletes (peers that came and went over the years) and what is no peer record
   * give way to what may be one. A look costs a pass over all keys, so a flood that leaves no room is not followed by
   * one for each of its keys.
   */
  #hasRoom(): boolean {
    if (++this.#refused < this.#lookAgainAt) return false;
    const faults = new Set<string>();
    for (const [key, { value }] of this.entries) {
      const fault = value === undefined ? "deleted" : faultOf(this.#options.group, key, value);
      if (fault === undefined) continue;
      // One of each kind stays, so that it is complained about.
      if (value === undefined || faults.has(fault)) this.entries.delete(key);
      else faults.add(fault);
    }
    const isFull = this.entries.size >= maxKeysPerGroup;
    this.#refused = 0;
    this.#lookAgainAt = isFull ? maxKeysPerGroup / 10 : 0;
    return !isFull;
  }
}

function faultOf(group: string, key: string, value: Uint8Array): string | undefined {
  try {
    parseRecord(group, key, value);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
