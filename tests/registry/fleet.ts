/** Many memberships in one process, each with a connection of its own and the delays of real life. */
import type { Roster } from "../../lib/core/roster.ts";
import { Membership } from "../../lib/registry/membership.ts";
import { NatsStore, type NatsStoreOptions } from "../../lib/nats/peer-store.ts";
import { MemoryLog } from "../support/log.ts";
import type { Defer } from "../support/test.ts";
import { realClock, recordOf } from "./support.ts";

export interface FleetNode {
  readonly name: string;
  readonly membership: Membership;
  readonly log: MemoryLog;
}

export class Fleet {
  readonly nodes: FleetNode[] = [];
  /** Fewest peers of any roster since `forget` was called. */
  fewestPeers = Infinity;

  /** A membership for each number from `first` on, not yet started. */
  constructor(defer: Defer, urls: string[], count: number, options: Partial<NatsStoreOptions> = {}, first = 0) {
    for (let i = first; i < first + count; i++) {
      const name = `n${i}`;
      const log = new MemoryLog();
      const store = new NatsStore({ urls, clock: realClock, log, ...options });
      const membership = new Membership({
        store,
        groups: ["dict"],
        self: recordOf(name),
        clock: realClock,
        log,
        isAlive: () => Promise.resolve(false),
        onRoster: ({ peers }) => this.fewestPeers = Math.min(this.fewestPeers, peers.length),
      });
      this.nodes.push({ name, membership, log });
    }
    defer(() => Promise.all(this.nodes.map(({ membership }) => membership.close())));
  }

  start(): void {
    for (const { membership } of this.nodes) membership.start();
  }

  forget(): void {
    this.fewestPeers = Infinity;
  }

  /** Whether every node is in touch, is listed, and has the very same list of all of them. */
  get isEqual(): boolean {
    const [first] = this.nodes;
    const { peers, revision } = first!.membership.roster("dict");
    if (peers.length !== this.nodes.length || revision === 0) return false;
    const expected = JSON.stringify(first!.membership.roster("dict"));
    return this.nodes.every(({ membership }) =>
      !membership.isAway && membership.joined("dict") && isSame(membership.roster("dict"), revision, expected)
    );
  }

  get isAway(): boolean {
    return this.nodes.every(({ membership }) => membership.isAway);
  }

  /** What each node knows, for the message of a failure. */
  account(): string {
    return this.nodes.map(({ name, membership }) => {
      const { peers, revision } = membership.roster("dict");
      const state = `${membership.isAway ? "away" : "here"}, ${membership.joined("dict") ? "listed" : "not listed"}`;
      return `${name}: ${state}, ${peers.length} peers at revision ${revision}`;
    }).join("\n");
  }

  lines(pattern: RegExp): string[] {
    return this.nodes.flatMap(({ log }) => log.lines.filter((line) => pattern.test(line)));
  }
}

function isSame(roster: Roster, revision: number, expected: string): boolean {
  return roster.revision === revision && JSON.stringify(roster) === expected;
}

/** A server's own counters. */
export interface Counts {
  in_msgs: number;
  out_msgs: number;
  total_connections: number;
}

/** @param monitorPort the `-m` of the server */
export async function countsOf(monitorPort: number): Promise<Counts> {
  return await (await fetch(`http://127.0.0.1:${monitorPort}/varz`)).json();
}

/** Resolves to the time until `condition` held, in ms. @throws Error with `account()` after `mostMs` */
export async function timed(condition: () => boolean, mostMs: number, account: () => string): Promise<number> {
  const startMs = performance.now();
  while (!condition()) {
    if (performance.now() - startMs > mostMs) throw new Error(`not within ${mostMs} ms:\n${account()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return performance.now() - startMs;
}
