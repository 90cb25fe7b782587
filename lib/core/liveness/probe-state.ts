/** What a node knows of one peer that it polls, in one life of that peer. */
import type { ProbedPeer } from "./probed-peer.ts";

/** What `/stats` shows of one polled peer. */
export interface WatchStats {
  readonly name: string;
  readonly incarnation: string;
  /** Polls without an answer, in a row. */
  readonly misses: number;
  /** Milliseconds since the Unix epoch; null when it has not answered since it is polled by this node. */
  readonly lastAnsweredAtMs: number | null;
}

/** The polls of one peer, counted. */
export class ProbeState {
  /** As the hub has it now: the same life, perhaps in another state. */
  peer: ProbedPeer;
  /** Polled for a reason that passes, and not because this node is one of its pollers. */
  isExtra: boolean;
  misses = 0;
  /** How many misses make the next question due. */
  judgedAtMisses: number;
  /** Whether others were asked already in this row, and as many polls again were missed since. */
  isPatient = false;
  /** Another number for each row of misses: what was found out about one row says nothing about the next. */
  row = 0;
  /** Whether the log has its line about this silence. */
  isSaid = false;
  isBeingJudged = false;
  /** Who did not answer when asked about this peer; others are asked in their place. */
  readonly mute = new Set<string>();
  lastAnsweredAtMs: number | undefined;
  /** Polled at the next beat; otherwise a poll is in the air, or due at a time of its own. */
  isOnBeat = true;
  /** When its last poll was due, or its next one is if that has a time of its own. */
  dueMs = 0;
  cancel: () => void = () => {};

  constructor(peer: ProbedPeer, options: { isExtra: boolean; judgedAtMisses: number }) {
    this.peer = peer;
    this.isExtra = options.isExtra;
    this.judgedAtMisses = options.judgedAtMisses;
  }

  /** Begins a new row of misses. */
  forget(judgedAtMisses: number): void {
    this.misses = 0;
    this.row++;
    this.isPatient = false;
    this.judgedAtMisses = judgedAtMisses;
    this.mute.clear();
  }

  stats(): WatchStats {
    const { name, incarnation } = this.peer.record;
    return { name, incarnation, misses: this.misses, lastAnsweredAtMs: this.lastAnsweredAtMs ?? null };
  }
}
