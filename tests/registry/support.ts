/** Shared by the registry's tests. A harness is one bucket, and the means of breaking it. */
import { until as lookUntil } from "../support/until.ts";
import type { Clock } from "../../lib/core/base/clock.ts";
import type { PeerRecord, Roster } from "../../lib/core/roster.ts";
import { Membership, type MembershipOptions } from "../../lib/registry/membership.ts";
import type { PeerStore, View } from "../../lib/registry/store/store.ts";
import { MemoryLog } from "../support/log.ts";
import type { Defer, Needs } from "../support/test.ts";

export interface OpenedStore {
  readonly store: PeerStore;
  /** The next write through this store is applied, but its answer is lost. */
  loseNextAnswer(): void;
}

export interface Harness {
  /** One more node's store on the same bucket; closed at the end of the test. */
  open(): Promise<OpenedStore>;
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
  /** Deletes the bucket and makes it again. */
  loseBucket(): Promise<void>;
  /** Removes a key without leaving a marker. */
  purge(key: string): Promise<void>;
}

export interface HarnessKind {
  readonly name: string;
  readonly needs: Needs;
  start(defer: Defer): Promise<Harness>;
}

export const realClock: Clock = {
  nowMs: () => Date.now(),
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
};

/** Resolves when `condition` holds; looks every few milliseconds. */
export async function until(what: string, condition: () => boolean, timeoutMs = 12_000): Promise<void> {
  await lookUntil(condition, timeoutMs, () => what);
}

let lives = 0;

export function recordOf(name: string, changes: Partial<PeerRecord> = {}): PeerRecord {
  return {
    name,
    url: `http://127.0.0.1:${8000 + (lives % 1000)}`,
    incarnation: `01J${String(++lives).padStart(23, "0")}`,
    key: "A".repeat(43),
    state: "serving",
    weight: 1,
    zone: "",
    joined: "2026-01-01T00:00:00.000Z",
    version: "0.1.0",
    runtime: "test 1",
    ...changes,
  };
}

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

export function textOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}

/** A watcher that copies what it is told. */
export class Watcher {
  readonly views: { group: string; epoch: string; revision: number; values: Record<string, string | undefined> }[] = [];
  readonly events: string[] = [];

  constructor(store: PeerStore, groups = ["dict"]) {
    for (const group of groups) store.follow(group);
    store.watch({
      onView: (view: View) => {
        const values = Object.fromEntries([...view.entries].map(([key, entry]) => [key, textOf(entry.value)]));
        this.views.push({ group: view.group, epoch: view.epoch, revision: view.revision, values });
      },
      onAway: () => this.events.push("away"),
      onBack: () => this.events.push("back"),
    });
  }

  get last(): Watcher["views"][number] | undefined {
    return this.views.at(-1);
  }

  get isBack(): boolean {
    return this.events.at(-1) === "back";
  }
}

export interface Node {
  readonly membership: Membership;
  readonly self: PeerRecord;
  readonly log: MemoryLog;
  readonly rosters: Roster[];
  loseNextAnswer(): void;
  /** Names of the peers in the roster that stands. */
  names(): string;
}

/** A membership on a store of its own, not yet started. */
export async function nodeOn(
  harness: Pick<Harness, "open">,
  defer: Defer,
  self: PeerRecord,
  options: Partial<MembershipOptions> = {},
): Promise<Node> {
  const { store, loseNextAnswer } = await harness.open();
  const log = new MemoryLog();
  const rosters: Roster[] = [];
  const membership = new Membership({
    store,
    groups: ["dict"],
    self,
    clock: realClock,
    log,
    isAlive: () => Promise.resolve(false),
    onRoster: (roster) => rosters.push(roster),
    ...options,
  });
  defer(() => membership.close());
  const names = (): string => membership.roster("dict").peers.map((peer) => peer.name).join(" ");
  return { membership, self, log, rosters, loseNextAnswer, names };
}
