/**
 * Asking the owner, or whoever stands in for it. An owner that cannot be reached is passed over for the next in rank, by
 * every node alike; one that is slow is not dead: after a while the next in rank is asked as well, for a few requests.
 */
import type { CancelSignal } from "./cancel.ts";
import type { Clock } from "./clock.ts";
import { PeerError } from "./errors.ts";
import type { Landing } from "./flight.ts";
import { PeerHealth } from "./peer-health.ts";
import type { AskOptions, Peer, PeerPicker } from "./ports.ts";
import { Sweep } from "./sweep.ts";
import type { Value } from "./value.ts";

export interface FailoverOptions<T> {
  readonly group: string;
  readonly picker: PeerPicker;
  readonly clock: Clock;
  /** For one ask, in milliseconds. */
  readonly timeoutMs: number;
  /** The value as the owner has it, or the next in rank in its place. */
  readonly onValue: (landing: Landing<T>, key: string, value: Value) => void;
  /** It is this node's turn to load the value. */
  readonly onOwnTurn: (landing: Landing<T>, key: string) => void;
  /** This node's own load, where it is the next in rank. */
  readonly loadHere: (key: string, signal: CancelSignal) => Promise<Value>;
  readonly onPeerError: () => void;
  readonly onHedge: () => void;
}

/** The owner, and so many in its place, are asked before this node loads by itself. */
const MAX_PEERS_ASKED = 3;
/** Second asks are for a few percent of all, so that a slow origin is not asked twice for everything. */
const HEDGES_PER_ASK = 0.03;
const MAX_HEDGES_SAVED = 20;

const NOBODY: ReadonlySet<string> = new Set();

/** A question to a peer for which another may be asked as well; also the options that the peer sees. */
class Question<T> implements AskOptions {
  readonly peer: Peer;
  readonly health: PeerHealth;
  readonly key: string;
  readonly signal: Landing<T>;
  readonly timeoutMs: number;
  /** Who was asked before, in vain. */
  readonly failed: ReadonlySet<string>;
  readonly askedAtMs: number;
  /** The peer is silent if it has answered nobody since then. */
  sinceMs: number;
  hedgeAtMs: number;
  isOver = false;

  constructor(
    peer: Peer,
    health: PeerHealth,
    key: string,
    signal: Landing<T>,
    timeoutMs: number,
    failed: ReadonlySet<string>,
    nowMs: number,
  ) {
    this.peer = peer;
    this.health = health;
    this.key = key;
    this.signal = signal;
    this.timeoutMs = timeoutMs;
    this.failed = failed;
    this.askedAtMs = nowMs;
    this.sinceMs = nowMs;
    this.hedgeAtMs = nowMs + health.hedgeMs;
  }
}

/** One group's way to the peers that answer for its keys. */
export class Failover<T> {
  readonly #options: FailoverOptions<T>;
  readonly #health = new WeakMap<Peer, PeerHealth>();
  /** Those that are in the air, and have not been hedged. */
  readonly #questions = new Set<Question<T>>();
  readonly #sweep: Sweep;
  #hedges = 1;

  constructor(options: FailoverOptions<T>) {
    this.#options = options;
    this.#sweep = new Sweep(options.clock, (nowMs) => this.#hedgeOverdue(nowMs));
  }

  /**
   * Asks the owner, and the next in rank in the place of who cannot be reached. The rank is taken anew for each ask, since
   * the roster may have changed while the last one failed; who has failed is not asked twice.
   *
   * Ends in one call: `onValue`, `onOwnTurn`, or `landing.fail` with the owner's final answer, OverloadedError, or the
   * signal's reason. A promise for each step would cost more than what the peers are asked with.
   */
  fetch(key: string, landing: Landing<T>): void {
    this.#hedges = Math.min(MAX_HEDGES_SAVED, this.#hedges + HEDGES_PER_ASK);
    this.#askNext(key, landing, NOBODY);
  }

  #askNext(key: string, landing: Landing<T>, failed: ReadonlySet<string>): void {
    const { picker, clock, timeoutMs, onOwnTurn } = this.#options;
    while (failed.size < MAX_PEERS_ASKED) {
      const peer = failed.size === 0 ? picker.pick(key) : next(picker.ranked(key, failed.size + 1), failed);
      if (peer === undefined) break;
      const health = this.#healthOf(peer);
      const nowMs = clock.nowMs();
      if (!health.isPaused(nowMs)) {
        return this.#ask(new Question(peer, health, key, landing, timeoutMs, failed, nowMs));
      }
      failed = new Set([...failed, peer.name]);
    }
    onOwnTurn(landing, key);
  }

  /** Asks one peer, and when that has been silent for a while the next in rank as well; the first answer counts. */
  #ask(question: Question<T>): void {
    this.#questions.add(question);
    this.#sweep.cover(question.hedgeAtMs);
    question.peer.get(this.#options.group, question.key, question).then(
      (value) => {
        const nowMs = this.#options.clock.nowMs();
        question.health.answered(nowMs - question.askedAtMs, nowMs);
        this.#land(question, value);
      },
      (error) => this.#failed(question, error),
    );
  }

  #land(question: Question<T>, value: Value): void {
    if (!this.#end(question)) return;
    try {
      this.#options.onValue(question.signal, question.key, value);
    } catch (error) {
      question.signal.fail(error);
    }
  }

  #failed(question: Question<T>, error: unknown): void {
    const { peer, health, key, signal: landing, failed, askedAtMs } = question;
    if (error instanceof PeerError) {
      const nowMs = this.#options.clock.nowMs();
      health.failed(nowMs - askedAtMs, nowMs);
    }
    if (!this.#end(question)) return;
    if (landing.aborted || !(error instanceof PeerError)) return landing.fail(error);
    this.#options.onPeerError();
    try {
      this.#askNext(key, landing, new Set([...failed, peer.name]));
    } catch (fault) {
      landing.fail(fault);
    }
  }

  /** @returns whether it had not ended before */
  #end(question: Question<T>): boolean {
    this.#questions.delete(question);
    if (question.isOver) return false;
    question.isOver = true;
    return true;
  }

  /** Hedges what is overdue. @returns when the next is, or Infinity */
  #hedgeOverdue(nowMs: number): number {
    let nextMs = Infinity;
    for (const question of this.#questions) {
      if (question.hedgeAtMs <= nowMs && question.health.hasAnsweredSince(question.sinceMs)) {
        question.sinceMs = nowMs;
        question.hedgeAtMs = nowMs + question.health.hedgeMs;
      }
      if (question.hedgeAtMs > nowMs) {
        nextMs = Math.min(nextMs, question.hedgeAtMs);
        continue;
      }
      this.#questions.delete(question);
      // A second ask that fails says nothing: the first one is still on its way.
      this.#hedge(question)?.then((value) => this.#land(question, value), () => {});
    }
    return nextMs;
  }

  /** @returns `undefined` when too many were asked twice of late */
  #hedge({ peer: slow, key, signal, failed }: Question<T>): Promise<Value> | undefined {
    const { picker, onHedge, loadHere } = this.#options;
    if (this.#hedges < 1 || signal.aborted) return undefined;
    const others = picker.ranked(key, failed.size + 2).filter((peer) => peer !== slow);
    const second = next(others, failed);
    this.#hedges--;
    onHedge();
    // Whoever it is looks first whether the slow owner has it in the air: a slow origin is not asked twice.
    return second === undefined ? loadHere(key, signal) : this.#askSecond(second, key, signal);
  }

  #askSecond(peer: Peer, key: string, signal: CancelSignal): Promise<Value> {
    const { group, clock, timeoutMs } = this.#options;
    const health = this.#healthOf(peer);
    const askedAtMs = clock.nowMs();
    return peer.get(group, key, { signal, timeoutMs }).then((value) => {
      const nowMs = clock.nowMs();
      health.answered(nowMs - askedAtMs, nowMs);
      return value;
    }, (error) => {
      const nowMs = clock.nowMs();
      if (error instanceof PeerError) health.failed(nowMs - askedAtMs, nowMs);
      throw error;
    });
  }

  #healthOf(peer: Peer): PeerHealth {
    let health = this.#health.get(peer);
    if (health === undefined) this.#health.set(peer, health = new PeerHealth());
    return health;
  }
}

function next(ranked: readonly (Peer | undefined)[], failed: ReadonlySet<string>): Peer | undefined {
  return ranked.find((peer) => peer === undefined || !failed.has(peer.name));
}
