/** Whom a cluster that died whole has left in the lists. */
import { lifeOf, type ProbedPeer } from "./probed-peer.ts";

/**
 * Lives that were listed when this node first saw the lists, and ever since. Told by what this node saw and not by the
 * time in a record: that is another machine's clock.
 */
export class StaleRecords {
  readonly #lives = new Set<string>();
  #hasSeenRegistry = false;

  /** Takes notice of the peers listed now. */
  see(peers: Iterable<ProbedPeer>, isRegistryAway: boolean): void {
    const present = new Set([...peers].map(({ record }) => lifeOf(record)));
    // Who puts itself back after it was struck off is alive, and never a leftover again.
    for (const life of this.#lives) if (!present.has(life)) this.#lives.delete(life);
    if (this.#hasSeenRegistry) return;
    for (const life of present) this.#lives.add(life);
    this.#hasSeenRegistry = !isRegistryAway;
  }

  has(peer: ProbedPeer): boolean {
    return this.#lives.has(lifeOf(peer.record));
  }
}
