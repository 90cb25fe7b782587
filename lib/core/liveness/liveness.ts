/** Finds dead peers over the same connections as requests, and evicts them when other nodes agree. */
import { EvictionRule, type View } from "./eviction-rule.ts";
import { IndirectProber } from "./indirect-probe.ts";
import { type LivenessOptions, type LivenessStats, pollingOf, type PollingOptions } from "./options.ts";
import { ProbePlan } from "./probe-plan.ts";
import { ProbeTimer, SILENT_INTERVALS } from "./probe-timer.ts";
import { Probes, ProbeState } from "./probe.ts";
import { isSameLife, lifeOf, type ProbedPeer, type Suspect } from "./probed-peer.ts";
import { ReturnedLives } from "./returned-lives.ts";

export type { ProbedPeer, Suspect } from "./probed-peer.ts";

/** The most peers to probe in addition to the plan. Chosen: it limits the work while many peers are dead. */
const MAX_EXTRA = 64;
/** At every second tick one more peer is probed, each in turn. Chosen. */
const TICKS_PER_TURN = 2;
/** A peer that answered within this many intervals is in reach. Chosen: it may miss one probe. */
const LATELY_INTERVALS = 2;

/**
 * Probes peers and finds the suspects among them: rules 1 to 5 of README.md in this folder, which gives their reasons
 * and tests. `EvictionRule` decides about a suspect.
 */
export class Liveness {
  readonly #options: LivenessOptions;
  readonly #polling: Required<PollingOptions>;
  readonly #probes: Probes;
  readonly #indirectProber: IndirectProber;
  readonly #timer: ProbeTimer;
  readonly #rule: EvictionRule;
  readonly #returned: ReturnedLives;
  readonly #view: View;
  #phase: "new" | "running" | "stopped" = "new";
  /** The name of the last peer that was probed in turn. */
  #lastInTurn = "";

  /** @throws RangeError as `pollingOf` does */
  constructor(options: LivenessOptions) {
    this.#options = options;
    const polling = this.#polling = pollingOf(options.options);
    const { self, clock, random, isListed } = options;
    const { pollIntervalMs: intervalMs, pollTimeoutMs: timeoutMs, pollJitter: jitter } = polling;
    const view: View = this.#view = { peers: new Map(), plan: new ProbePlan([[self.name]]), states: new Map() };
    this.#probes = new Probes(clock);
    this.#timer = new ProbeTimer({ clock, random, intervalMs, jitter, onTick: (dueMs) => this.#probeAll(dueMs) });
    const returned = this.#returned = new ReturnedLives(clock);
    this.#rule = new EvictionRule({ liveness: options, polling, view, returned });
    this.#indirectProber = new IndirectProber({
      self,
      probes: this.#probes,
      returned,
      timeoutMs,
      peerOf: (name) => this.#phase === "running" ? view.peers.get(name) : undefined,
      isListed,
      onAnswer: (peer) => {
        returned.reached(peer.record);
        const state = view.states.get(peer.record.name);
        if (state !== undefined && isSameLife(state.peer, peer)) this.#answered(state);
      },
    });
  }

  start(): void {
    if (this.#phase !== "new") return;
    this.#phase = "running";
    this.rosterChanged();
  }

  /** Ends all probing. Probes and rounds in flight have no further effect. */
  stop(): void {
    this.#phase = "stopped";
    this.#timer.stop();
    for (const state of this.#view.states.values()) state.cancel();
    this.#view.states.clear();
  }

  /** To be called at each change of a roster. Then it probes the peers that are listed now. O(N) per new name. */
  rosterChanged(): void {
    if (this.#phase !== "running") return;
    const options = this.#options;
    const view = this.#view;
    view.peers = new Map(options.peers().map((peer) => [peer.record.name, peer]));
    this.#rule.rosterChanged();
    for (const [name, state] of view.states) {
      const peer = view.peers.get(name);
      if (peer === undefined || !isSameLife(peer, state.peer)) this.#drop(state);
      else state.peer = peer;
    }
    view.plan = this.#planOf(options.lists());
    const targets = view.plan.targetsOf(options.self.name);
    const isListed = options.isListed();
    for (const [name, state] of view.states) {
      state.isExtra = !targets.has(name);
      // Follow a streak of misses to its end. Otherwise each change of the plan would restart the count.
      if (state.isExtra && state.misses === 0) this.#drop(state);
      else if (!isListed) state.reset();
    }
    for (const name of targets) this.#add(name, { isExtra: false });
    if (view.peers.size > 0) this.#timer.start();
    else this.#timer.stop();
  }

  /**
   * To be called when a peer wrote its record again in the same life: it put itself back or changed its state. The
   * rosters must be up to date before.
   */
  wroteAgain(suspect: Suspect): void {
    const peer = this.#view.peers.get(suspect.name);
    if (peer !== undefined && lifeOf(peer.record) === lifeOf(suspect)) this.#waitFor(peer);
  }

  /**
   * To be called when this node puts itself back. Most nodes took it for dead, so it may itself be cut off. It has no
   * vote about peers that it does not reach.
   */
  putBack(): void {
    for (const peer of this.#view.peers.values()) this.#waitFor(peer);
  }

  /** To be called after a connection to a peer opened. */
  reached(suspect: Suspect): void {
    this.#returned.reached(suspect);
  }

  /** To be called when another node probes this one. */
  probed(): void {
    this.#timer.soon();
  }

  /**
   * Probes a suspect for another node, once, now, over this node's own connection.
   *
   * @returns whether the suspect answered
   * @throws PeerError this node cannot tell: it does not list the suspect in this life, is not listed itself, or is too
   * busy. The asking node counts that as silence, not as "dead"
   */
  probeIndirectly(suspect: Suspect, options: { timeoutMs: number }): Promise<boolean> {
    return this.#indirectProber.probe(suspect, options);
  }

  stats(): LivenessStats {
    return {
      probed: [...this.#view.states.values()].map((state) => state.stats()),
      rounds: this.#rule.rounds,
      evictions: this.#rule.evictions,
    };
  }

  #waitFor(peer: ProbedPeer): void {
    const state = this.#view.states.get(peer.record.name);
    if (state === undefined ? peer.isOpen : this.#hasAnsweredLately(state)) return;
    this.#returned.returned(peer.record);
    // The view may have skipped the time when the peer was not listed. Earlier misses do not count.
    state?.reset();
  }

  /** An open connection proves less, as it may be half dead. */
  #hasAnsweredLately({ lastAnsweredAtMs = -Infinity }: ProbeState): boolean {
    return this.#options.clock.nowMs() - lastAnsweredAtMs <= LATELY_INTERVALS * this.#polling.pollIntervalMs;
  }

  #planOf(lists: readonly (readonly Suspect[])[]): ProbePlan {
    const { peers, plan } = this.#view;
    // A node restarted without a group is still listed there under its old incarnation; skip it.
    const lives = new Set([...peers.values()].map(({ record }) => lifeOf(record)));
    const names = lists.map((list) => list.filter((listed) => lives.has(lifeOf(listed))).map(({ name }) => name));
    return new ProbePlan(names.map((others) => [this.#options.self.name, ...others]), plan);
  }

  #isCurrent(state: ProbeState): boolean {
    return this.#view.states.get(state.peer.record.name) === state;
  }

  #add(name: string, { isExtra }: { isExtra: boolean }): void {
    const { peers, states } = this.#view;
    const peer = peers.get(name);
    if (peer === undefined || states.has(name)) return;
    if (isExtra && [...states.values()].filter((state) => state.isExtra).length >= MAX_EXTRA) return;
    const state = new ProbeState(peer, { isExtra, missesOfSuspect: this.#polling.pollMisses });
    states.set(name, state);
    // The reason for an extra probe may be short-lived, so probe before the next tick.
    if (isExtra) this.#probeAt(state, this.#options.clock.nowMs());
  }

  #drop(state: ProbeState): void {
    state.cancel();
    if (this.#isCurrent(state)) this.#view.states.delete(state.peer.record.name);
  }

  #probeAll(dueMs: number): void {
    if (this.#timer.ticks % TICKS_PER_TURN === 0) this.#addNextInTurn();
    for (const state of this.#view.states.values()) {
      if (!state.isOnTick) continue;
      state.dueMs = dueMs;
      void this.#probe(state);
    }
  }

  #addNextInTurn(): void {
    const { names } = this.#view.plan;
    // Start at a random peer. Otherwise all nodes would probe the same one.
    if (this.#lastInTurn === "") this.#lastInTurn = names[Math.floor(this.#options.random() * names.length)] ?? "";
    this.#lastInTurn = names.find((name) => name > this.#lastInTurn) ?? names[0]!;
    this.#add(this.#lastInTurn, { isExtra: true });
  }

  #probeAt(state: ProbeState, dueMs: number): void {
    state.isOnTick = false;
    state.dueMs = dueMs;
    state.cancel = this.#options.clock.after(dueMs - this.#options.clock.nowMs(), () => void this.#probe(state));
  }

  async #probe(state: ProbeState): Promise<void> {
    const timer = this.#timer;
    const ticksBefore = timer.ticks;
    state.isOnTick = false;
    const outcome = await this.#probes.probe(state.peer, this.#polling.pollTimeoutMs);
    if (!this.#isCurrent(state)) return;
    if (outcome === "answered") this.#answered(state);
    else if (outcome === "missed") this.#missed(state);
    if (!this.#isCurrent(state)) return;
    // A peer that answered after the next tick is probed again before the tick that follows.
    state.isOnTick = outcome === "answered" && timer.ticks === ticksBefore;
    if (!state.isOnTick) this.#probeAt(state, timer.dueAfter(state.dueMs, state.misses > 0 ? SILENT_INTERVALS : 1));
  }

  #answered(state: ProbeState): void {
    this.#rule.heard();
    this.#returned.reached(state.peer.record);
    state.lastAnsweredAtMs = this.#options.clock.nowMs();
    const { name } = state.peer.record;
    if (state.isLogged) this.#options.log.info(`peer ${name} answers again`, {}, { peer: name });
    state.isLogged = false;
    state.reset();
    if (state.isExtra) this.#drop(state);
    this.#options.onAnswer?.(state.peer.record);
  }

  #missed(state: ProbeState): void {
    if (!this.#options.isListed()) return state.reset();
    state.misses++;
    for (const name of this.#view.plan.targetsOf(state.peer.record.name)) this.#add(name, { isExtra: true });
    if (state.misses >= state.roundAtMisses && !state.isDeciding) void this.#rule.decide(state);
  }
}
