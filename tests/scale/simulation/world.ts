/** Many nodes on one clock. */
import type { Origin } from "../../../lib/core/ports.ts";
import type { PeerRecord } from "../../../lib/core/roster.ts";
import { MemoryStream } from "../../../lib/registry/store/memory-log.ts";
import { MemoryBucket } from "../../../lib/registry/store/memory-store.ts";
import { seeded } from "../../core/liveness/world.ts";
import { Network } from "./network.ts";
import { SimNode } from "./node.ts";

const STEP_MS = 5;
const body = new TextEncoder().encode("a value");

/** The nodes, the network, and the contents of NATS. */
export class World {
  readonly network: Network;
  readonly bucket = new MemoryBucket();
  readonly stream: MemoryStream;
  readonly nodes = new Map<string, SimNode>();
  /** Loads from the origin, by all nodes. */
  loads = 0;
  readonly origin: Origin = {
    load: () => {
      this.loads++;
      return Promise.resolve({ body, contentType: "text/plain" });
    },
  };
  #lives = 0;

  /** @param seed decides everything random: one seed gives one course of events */
  constructor(seed: number) {
    this.network = new Network({ random: seeded(seed) });
    this.stream = new MemoryStream(this.network.clock);
  }

  /** The running nodes. */
  get alive(): SimNode[] {
    return [...this.nodes.values()].filter(({ isKilled }) => !isKilled);
  }

  /** A new node, not yet started. */
  add(index: number): SimNode {
    const node = new SimNode(this.#recordOf(`10-0-${index >> 8}-${index & 255}-8000`, index), this);
    this.nodes.set(node.record.name, node);
    return node;
  }

  /** The running node of that incarnation. */
  running({ name, incarnation }: Pick<PeerRecord, "name" | "incarnation">): SimNode | undefined {
    const node = this.nodes.get(name);
    return node?.isKilled === false && node.record.incarnation === incarnation ? node : undefined;
  }

  async isAlive(record: PeerRecord): Promise<boolean> {
    await this.network.way();
    await this.network.way();
    return this.running(record) !== undefined;
  }

  /**
   * Whether every running node lists exactly the running nodes. One revision is one list, so only one list is compared.
   */
  isAgreed(): boolean {
    const { alive } = this;
    const { revision, peers } = alive[0]!.roster;
    return peers.length === alive.length && peers.every((peer) => this.running(peer) !== undefined) &&
      alive.every(({ roster }) => roster.revision === revision && roster.peers.length === peers.length);
  }

  /** @returns the milliseconds until the condition held, to 5 ms. @throws Error it did not hold in time */
  async until(condition: () => boolean, mostMs: number, what: string): Promise<number> {
    const { clock } = this.network;
    const sinceMs = clock.nowMs();
    while (!condition()) {
      if (clock.nowMs() - sinceMs > mostMs) throw new Error(`not within ${mostMs} simulated ms: ${what}`);
      await clock.advance(STEP_MS);
    }
    return clock.nowMs() - sinceMs;
  }

  #recordOf(name: string, index: number): PeerRecord {
    return {
      name,
      url: `http://10.0.${index >> 8}.${index & 255}:8000`,
      incarnation: `01J${String(++this.#lives).padStart(23, "0")}`,
      key: "A".repeat(43),
      state: "serving",
      weight: 1,
      zone: "",
      joined: new Date(this.network.clock.nowMs()).toISOString(),
      version: "0.1.0",
      runtime: "simulated",
      policy: "0123456789abcdef",
      origin: "0123456789abcdef",
    };
  }
}
