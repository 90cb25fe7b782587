/** Decides whether a node is ready to serve, and whether its misses must wait. */
import type { Served } from "../groups/served-group.ts";

/** The facts about the cluster that the decision uses. */
export interface ClusterView {
  /** Whether no link to a peer is still connecting. */
  isSettled(): boolean;
  /** Whether this node follows the list. */
  has(list: string): boolean;
  /** Whether NATS is known to be away. Call it only if the node follows a list. */
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

/** A node is ready when it has joined its lists, has connected with the peers that it found, and is not leaving. */
export class Readiness {
  readonly #options: ReadinessOptions;
  /**
   * The lists that it must have joined to be ready. The list of a group that was added later counts only after it was
   * first joined.
   */
  readonly #awaited = new Set<string>();
  readonly #ready = Promise.withResolvers<void>();
  /**
   * Whether it has joined, and has connected with all peers that it found or given them up. Stays true: a peer that
   * comes later must not take this node out of service.
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

  /** Counts these lists from now on. */
  await(lists: readonly string[]): void {
    for (const list of lists) this.#awaited.add(list);
  }

  /** Stops counting these lists. */
  forget(lists: readonly string[]): void {
    for (const list of lists) this.#awaited.delete(list);
  }

  /** Called when the node leaves. It is no longer ready, and no miss waits. */
  leave(): void {
    this.#isLeaving = true;
    for (const { gate } of this.#options.served.values()) gate?.open();
  }

  /**
   * Called when no link is still connecting. Peers to which this node could not connect may have passed it over in the
   * meantime.
   */
  settled(isWhole: boolean): void {
    if (!this.#isInTouch && !isWhole) { for (const { picker } of this.#options.served.values()) picker.standAside(); }
    this.review();
  }

  /** Call it when a list was joined or lost. */
  review(): void {
    this.reviewGates();
    this.#isInTouch ||= this.#isJoined() && this.#options.cluster.isSettled();
    if (this.isReady) this.#ready.resolve();
  }

  /**
   * Lets a group's misses go on when its peers are known and their links have settled, or when NATS cannot tell any
   * peers.
   */
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
