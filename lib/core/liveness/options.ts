/** The options and the statistics of liveness. */
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { PeerRecord } from "../roster.ts";
import type { ProbeStats } from "./probe.ts";
import type { ProbedPeer, Suspect } from "./probed-peer.ts";

/** The pace of probes, under the names of the command's options. */
export interface PollingOptions {
  /** The interval between two probes of a peer, in milliseconds; half of it while the peer does not answer. @default 800 */
  readonly pollIntervalMs?: number;
  /** How long a probed peer may take to answer, in milliseconds. @default 250 */
  readonly pollTimeoutMs?: number;
  /** How many probes in a row without an answer make a suspect. @default 6 */
  readonly pollMisses?: number;
  /** Each interval is shortened by a random part of it, up to this share; 0 to 1. @default 0.1 */
  readonly pollJitter?: number;
}

export interface LivenessOptions {
  readonly self: Suspect;
  readonly clock: Clock;
  /** From 0 to 1, as Math.random. */
  readonly random: () => number;
  readonly log: Log;
  /** All other peers that are listed now, over all groups, each name once. */
  readonly peers: () => readonly ProbedPeer[];
  /** The current list of each of this node's groups, with or without this node. */
  readonly lists: () => readonly (readonly Suspect[])[];
  /** Whether all of this node's peer lists contain it, by the rosters (not by its last write). */
  readonly isListed: () => boolean;
  readonly isRegistryAway: () => boolean;
  /**
   * Deletes the suspect's record in every group, at the revision that was read.
   *
   * @returns false: the race was lost, the record is of another life, or the outcome is unknown
   */
  readonly evict: (suspect: PeerRecord) => Promise<boolean>;
  /** Called when a peer answers in the listed life. @default nothing */
  readonly onAnswer?: (record: PeerRecord) => void;
  readonly options?: PollingOptions;
}

export interface LivenessStats {
  readonly probed: readonly ProbeStats[];
  /** How many times this node asked others about a suspect. */
  readonly rounds: number;
  /** Suspects that this node evicted. */
  readonly evictions: number;
}

/**
 * Fills in the defaults. They find a killed process within 3 s and tolerate a standstill of 2 s (measured by the timing tests).
 *
 * @throws RangeError a time or a count is not positive, or the jitter is no share
 */
export function pollingOf(options: PollingOptions = {}): Required<PollingOptions> {
  const polling = { pollIntervalMs: 800, pollTimeoutMs: 250, pollMisses: 6, pollJitter: 0.1, ...options };
  const { pollIntervalMs, pollTimeoutMs, pollMisses, pollJitter } = polling;
  if (!(pollIntervalMs > 0 && pollTimeoutMs > 0 && pollMisses >= 1 && pollJitter >= 0 && pollJitter <= 1)) {
    throw new RangeError(
      "Cannot probe peers as times must be over 0, misses at least 1 and jitter from 0 to 1: " +
        `current values are ${JSON.stringify(polling)}`,
    );
  }
  return polling;
}
