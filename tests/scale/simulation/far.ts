/** NATS as a node sees it: the registry's and the log's memory, behind the simulated network. */
import type { Clock } from "../../../lib/core/base/clock.ts";
import type { Label } from "../../../lib/core/invalidation/label.ts";
import type { InvalidationLog, LogFollower } from "../../../lib/core/invalidation/log.ts";
import type { MemoryLog } from "../../../lib/registry/store/memory-log.ts";
import type { MemoryStore } from "../../../lib/registry/store/memory-store.ts";
import type { Entry, PeerStore, StoreListener, View } from "../../../lib/registry/store/store.ts";
import type { Network } from "./network.ts";

/** The time between two looks of a node at its lists, the same as in lib/nats/stream/lookout.ts. */
const PACE_MS = 25;

/** The store of one node. It keeps a copy of every record, like the real one. */
export class FarStore implements PeerStore {
  readonly #inner: MemoryStore;
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #held = new Map<string, Map<string, Entry>>();
  readonly #toldRevisions = new Map<string, number>();
  readonly #due = new Map<string, View>();
  #isBackDue = false;
  #isLookDue = false;
  #earliestMs = 0;

  /** @param clock the node's own clock, which stops when the node is killed */
  constructor(inner: MemoryStore, network: Network, clock: Clock) {
    this.#inner = inner;
    this.#network = network;
    this.#clock = clock;
  }

  read(key: string): Promise<Entry> {
    return this.#ask(() => this.#inner.read(key));
  }

  put(key: string, value: Uint8Array, replaces: number): Promise<number> {
    return this.#ask(() => this.#inner.put(key, value, replaces));
  }

  delete(key: string, replaces: number): Promise<number> {
    return this.#ask(() => this.#inner.delete(key, replaces));
  }

  hurry(): void {}

  watch(listener: StoreListener): void {
    this.#inner.watch({
      onView: (view) => {
        if (this.#toldRevisions.get(view.group) === view.revision) return;
        this.#due.set(view.group, view);
        this.#lookSoon(listener);
      },
      onAway: (reason) => listener.onAway(reason),
      onBack: () => {
        this.#isBackDue = true;
        this.#lookSoon(listener);
      },
    });
  }

  follow(group: string): void {
    this.#inner.follow(group);
  }

  unfollow(group: string): void {
    this.#inner.unfollow(group);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async #ask<T>(question: () => Promise<T>): Promise<T> {
    this.#network.count("registry: read or write", 2);
    await this.#network.way();
    // An error travels like an answer.
    const answer = question();
    await Promise.allSettled([answer]);
    await this.#network.way();
    return await answer;
  }

  #lookSoon(listener: StoreListener): void {
    if (this.#isLookDue) return;
    this.#isLookDue = true;
    const restMs = Math.max(0, this.#earliestMs - this.#clock.nowMs());
    this.#clock.after(restMs + this.#network.wayMs(), () => {
      this.#isLookDue = false;
      this.#earliestMs = this.#clock.nowMs() + PACE_MS;
      const views = [...this.#due.values()];
      this.#due.clear();
      for (const view of views) {
        this.#network.count("registry: news", 1);
        this.#toldRevisions.set(view.group, view.revision);
        listener.onView({ ...view, entries: this.#copied(view) });
      }
      if (this.#isBackDue) listener.onBack();
      this.#isBackDue = false;
    });
  }

  #copied({ group, entries }: View): ReadonlyMap<string, Entry> {
    const held = this.#held.get(group) ?? new Map<string, Entry>();
    this.#held.set(group, held);
    for (const [key, { value, revision }] of entries) {
      if (held.get(key)?.revision !== revision) held.set(key, { value: value?.slice(), revision });
    }
    return held;
  }
}

/** The log of one node. */
export class FarLog implements InvalidationLog {
  readonly #inner: MemoryLog;
  readonly #network: Network;
  readonly #clock: Clock;
  #news: (() => void)[] = [];
  #told: Promise<void> = Promise.resolve();

  /** @param clock as for the store */
  constructor(inner: MemoryLog, network: Network, clock: Clock) {
    this.#inner = inner;
    this.#network = network;
    this.#clock = clock;
  }

  followLog(follower: LogFollower): void {
    this.#inner.followLog({
      restart: (label) => this.#tell(() => follower.restart(label)),
      take: (sequence, group, data) => {
        const copy = data.slice();
        this.#tell(() => follower.take(sequence, group, copy));
      },
      settled: (sequence, askedAtMs) => this.#tell(() => follower.settled(sequence, askedAtMs)),
      away: () => this.#tell(() => follower.away()),
    });
  }

  async publish(group: string, data: Uint8Array): Promise<Label> {
    this.#network.count("log: publish", 2);
    await this.#network.way();
    const label = await this.#inner.publish(group, data);
    await this.#network.way();
    return label;
  }

  async catchUp(): Promise<void> {
    this.#network.count("log: news", 2);
    await this.#network.way();
    await this.#inner.catchUp();
    await this.#told;
  }

  /** News of one turn arrives together. */
  #tell(news: () => void): void {
    this.#news.push(news);
    if (this.#news.length > 1) return;
    this.#network.count("log: news", 1);
    this.#told = new Promise((told) => {
      this.#clock.after(this.#network.wayMs(), () => {
        const due = this.#news;
        this.#news = [];
        for (const tell of due) tell();
        told();
      });
    });
  }
}
