/** What polling needs to run, and what it shows of itself. */
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { ProbedPeer, Suspect } from "./probed-peer.ts";
import type { PeerRecord } from "../roster.ts";
import type { WatchStats } from "./probe-state.ts";

export interface PollingOptions {
  /** From one poll of a peer to the next, in milliseconds; half of it while it does not answer. @default 800 */
  readonly pollIntervalMs?: number;
  /** How long a polled peer may take to answer, in milliseconds. @default 250 */
  readonly pollTimeoutMs?: number;
  /** Polls without an answer, in a row, that make a suspect. @default 6 */
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
  /** All other listed peers, over all groups, each name once, as they stand now. */
  readonly peers: () => readonly ProbedPeer[];
  /** Who is listed in each of this node's groups, as it stands now; this node among them or not. */
  readonly lists: () => readonly (readonly Suspect[])[];
  /** Whether this node stands in all its peer lists, as the rosters show it (and not as it last wrote it). */
  readonly isListed: () => boolean;
  readonly isRegistryAway: () => boolean;
  /**
   * Deletes the suspect's record in every group, at the revision that was read.
   *
   * @returns false: the race was lost, the record is another life's, or nobody knows
   */
  readonly evict: (suspect: PeerRecord) => Promise<boolean>;
  /** A peer has answered, in the life that is listed. @default nothing */
  readonly onAnswer?: (record: PeerRecord) => void;
  readonly options?: PollingOptions;
}

export interface LivenessStats {
  readonly polled: readonly WatchStats[];
  /** Suspects that others were asked about, and that this node struck off. */
  readonly votes: number;
  readonly evictions: number;
}

/**
 * The options with their defaults.
 *
 * @throws RangeError for what are no durations, counts and shares
 */
export function pollingOf(options: PollingOptions = {}): Required<PollingOptions> {
  const polling = { pollIntervalMs: 800, pollTimeoutMs: 250, pollMisses: 6, pollJitter: 0.1, ...options };
  const { pollIntervalMs, pollTimeoutMs, pollMisses, pollJitter } = polling;
  if (!(pollIntervalMs > 0 && pollTimeoutMs > 0 && pollMisses >= 1 && pollJitter >= 0 && pollJitter <= 1)) {
    throw new RangeError(`Cannot poll with ${JSON.stringify(polling)}`);
  }
  return polling;
}
