/** Whether a node is ready to serve, and whether its misses have to wait. */
import type { Served } from "../groups/served-group.ts";

/** What of the cluster it goes by. */
export interface ClusterView {
  /** Whether no link to a peer is connecting any more. */
  isSettled(): boolean;
  /** Whether this node follows the list. */
  has(list: string): boolean;
  /** Whether NATS is known to be away. To be asked when there is a list that the node follows. */
  isKnownAway(): boolean;
  /** Whether a list that it follows has been read. */
  isRead(list: string): boolean;
  /** False for a list that this node does not follow yet. */
  joined(list: string): boolean;
}

export interface ReadinessOptions {
  readonly served: ReadonlyMap<string, Served>;
  readonly cluster: ClusterView;
}

/** Ready: it has joined its lists, has connected with the peers that it found, and is not leaving. */
export class Readiness {
  readonly #options: ReadinessOptions;
  /** The lists that it must have joined to be ready. That of a group added later counts from when it was joined first. */
  readonly #awaited = new Set<string>();
  readonly #ready = Promise.withResolvers<void>();
  /**
   * It has joined, and has connected with all peers that it found or given them up. Stays true: a peer that comes later is
   * no reason to take this node out of service.
   */
  #isInTouch = false;
  #isLeaving = false;

  constructor(options: ReadinessOptions) {
    this.#options = options;
  }

  /** Resolves when the node is ready for the first time. */
  get first(): Promise<void> {
    return this.#ready.promise;
  }

  get isInTouch(): boolean {
    return this.#isInTouch;
  }

  get isReady(): boolean {
    return !this.#isLeaving && this.#isInTouch && this.#isJoined();
  }

  /** From now on these lists count. */
  await(lists: readonly string[]): void {
    for (const list of lists) this.#awaited.add(list);
  }

  /** They do not count any more. */
  forget(lists: readonly string[]): void {
    for (const list of lists) this.#awaited.delete(list);
  }

  /** The node leaves: it is not ready any more, and no miss waits. */
  leave(): void {
    this.#isLeaving = true;
    for (const { gate } of this.#options.served.values()) gate?.open();
  }

  /** No link is connecting any more. Peers to which this node could not connect may have passed it over meanwhile. */
  settled(isWhole: boolean): void {
    if (!this.#isInTouch && !isWhole) { for (const { picker } of this.#options.served.values()) picker.standAside(); }
    this.review();
  }

  /** To be called when a list was joined, or was lost. */
  review(): void {
    this.reviewGates();
    this.#isInTouch ||= this.#isJoined() && this.#options.cluster.isSettled();
    if (this.isReady) this.#ready.resolve();
  }

  /** A group's misses go on when its peers are known and their links have settled, or when NATS cannot tell of any. */
  reviewGates(): void {
    const { served, cluster } = this.#options;
    for (const [name, { gate }] of served) {
      if (gate === undefined || gate.isOpen || !cluster.has(name)) continue;
      if (cluster.isKnownAway() || cluster.isRead(name) && cluster.isSettled()) gate.open();
    }
  }

  #isJoined(): boolean {
    const { cluster } = this.#options;
    return [...this.#awaited].every((list) => cluster.joined(list));
  }
}
