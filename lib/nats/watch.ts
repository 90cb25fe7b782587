/**
 * One group's keys over one connection, whole at every moment. A bare KV watch is not enough: it stays blind without an
 * error after the bucket is lost and made again, or when the one server of a cluster dies that it was placed on, and a
 * purge sends no event. So each watch here begins by collecting everything afresh, and is compared with what the stream
 * says of itself; on any doubt a new one is opened, and the old one serves until the new one has all.
 */
import type { StreamInfo } from "nats";
import type { Clock } from "../core/base/clock.ts";
import type { NatsBucket } from "./bucket.ts";
import { Collection } from "./collection.ts";
import { UnavailableError, type View } from "../registry/store.ts";

export interface WatchOptions {
  readonly group: string;
  readonly bucket: NatsBucket;
  readonly clock: Clock;
  /** How long collecting may go without any progress. */
  readonly stallTimeoutMs: number;
  onView(view: View): void;
  /** A watch that had everything has ended by itself. */
  onEnd(): void;
}

/**
 * Between two views. A burst of joins is many changes, and each view costs a pass over the whole list at every node.
 */
const viewPaceMs = 25;
/**
 * In a replicated bucket a watch lives on one of the servers, and for 10 s and more after a server died NATS still puts
 * new ones there, where they never answer. One more that is opened beside it finds another server; every second one asks
 * the leader instead, so that a node is not blind meanwhile.
 */
const mostRivals = 8;
/** Longest collection, also when it makes progress. */
const collectMostMs = 30_000;

/** What one group holds, followed over one connection. */
export class GroupWatch {
  readonly #options: WatchOptions;
  #held: Collection | undefined;
  readonly #rivals = new Set<Collection>();
  #isAhead = false;
  #isClosed = false;
  #cancelView: (() => void) | undefined;
  #viewedAtMs = -Infinity;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  /** Whether there was something in the stream, at the last look, that has not come here yet. */
  get isAhead(): boolean {
    return this.#isAhead;
  }

  get isHeld(): boolean {
    return this.#held !== undefined;
  }

  /** Whether what is held is asked for, since no watch was to be had. */
  get isPolled(): boolean {
    return this.#held?.isPolled === true;
  }

  /**
   * Collects everything and swaps it in; resolves once the view has been delivered.
   *
   * @throws UnavailableError
   */
  async resync(): Promise<void> {
    const { clock, stallTimeoutMs, bucket } = this.#options;
    const won = Promise.withResolvers<Collection>();
    const rivals = new Set<Collection>();
    let tries = 0;
    let cancelNext = (): void => {};
    const open = (): void => {
      const isPolled = tries % 2 === 1 && !this.isPolled;
      const rival = new Collection({ ...this.#options, isPolled, onChange: () => this.#changed(rival) });
      rivals.add(rival);
      this.#rivals.add(rival);
      rival.whole.then(() => won.resolve(rival), (error) => {
        rivals.delete(rival);
        this.#rivals.delete(rival);
        if (rivals.size === 0) won.reject(error);
      });
      if (++tries < mostRivals && bucket.replicas > 1) cancelNext = clock.after(stallTimeoutMs / 8, open);
    };
    open();
    const cancelWatchdog = this.#bark(rivals, won.reject);
    try {
      this.#swap(await won.promise);
    } finally {
      cancelNext();
      cancelWatchdog();
      for (const rival of rivals) if (rival !== this.#held) rival.stop();
      for (const rival of rivals) this.#rivals.delete(rival);
    }
  }

  /**
   * Whether what is held can no longer be trusted, given what the stream says of itself: its state with its keys. What
   * has not come yet may still be on its way: only what is ahead at two looks in a row is a doubt.
   *
   * @throws UnavailableError
   */
  async isDoubtful(info: StreamInfo, keys: ReadonlySet<string>): Promise<boolean> {
    const held = this.#held;
    if (held?.isPolled) return true;
    if (held === undefined || held.epoch !== String(info.created)) return true;
    const lastRevision = info.state.last_seq;
    if (lastRevision < held.revision) return true;
    for (const [key, { revision }] of held.entries) {
      if (revision <= lastRevision && !keys.has(key)) return true;
    }
    const wasAhead = this.#isAhead;
    this.#isAhead = false;
    if (lastRevision <= Math.max(held.coveredRevision, held.revision)) return false;
    // Most likely another group's.
    const last = await this.#options.bucket.lastRevisionOf(`${this.#options.group}.>`);
    if (held.revision >= last) held.coveredRevision = lastRevision;
    else this.#isAhead = true;
    return wasAhead && this.#isAhead;
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelView?.();
    this.#held?.stop();
    for (const rival of this.#rivals) rival.stop();
  }

  /** Gives up when nothing comes any more; a bucket full of large values may take longer than one that stalls. */
  #bark(rivals: ReadonlySet<Collection>, giveUp: (error: Error) => void): () => void {
    const { group, clock, stallTimeoutMs } = this.#options;
    let receivedBefore = 0;
    let leftMs = collectMostMs;
    let cancel = (): void => {};
    const look = (): void => {
      const received = [...rivals].reduce((sum, rival) => sum + rival.received, 0);
      leftMs -= stallTimeoutMs;
      if (received <= receivedBefore || leftMs <= 0) {
        return giveUp(new UnavailableError(`the watch of ${group} did not deliver everything in time`));
      }
      receivedBefore = received;
      cancel = clock.after(stallTimeoutMs, look);
    };
    cancel = clock.after(stallTimeoutMs, look);
    return () => cancel();
  }

  #swap(fresh: Collection): void {
    if (this.#isClosed) return fresh.stop();
    const former = this.#held;
    this.#held = fresh;
    this.#isAhead = false;
    former?.stop();
    this.#deliver();
    void fresh.ended.then(() => {
      if (this.#held !== fresh || this.#isClosed) return;
      this.#held = undefined;
      this.#options.onEnd();
    });
  }

  #changed(collection: Collection): void {
    if (this.#isClosed || this.#held !== collection || this.#cancelView !== undefined) return;
    const { clock } = this.#options;
    const restMs = Math.min(viewPaceMs, this.#viewedAtMs + viewPaceMs - clock.nowMs());
    if (restMs <= 0) this.#deliver();
    else this.#cancelView = clock.after(restMs, () => this.#deliver());
  }

  #deliver(): void {
    this.#cancelView?.();
    this.#cancelView = undefined;
    if (this.#isClosed || this.#held === undefined) return;
    this.#viewedAtMs = this.#options.clock.nowMs();
    this.#options.onView(this.#held.view);
  }
}
