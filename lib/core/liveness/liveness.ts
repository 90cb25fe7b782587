/**
 * Polling of peers, made safe: dead ones are found over the path that requests take, and struck off the lists when
 * others agree. See `Liveness` for the rules.
 */
import { ProbeTimer } from "./probe-timer.ts";
import { StaleRecords } from "./stale-records.ts";
import { type LivenessOptions, type LivenessStats, pollingOf, type PollingOptions } from "./options.ts";
import { withTimeout } from "../base/timeout.ts";
import { LATE_MS, Probes } from "./probe.ts";
import { ProbePlans } from "./probe-plans.ts";
import { isSameLife, lifeOf, type ProbedPeer, type Suspect } from "./probed-peer.ts";
import { type Case, EvictionRule } from "./eviction-rule.ts";
import { ProbeState } from "./probe-state.ts";
import { IndirectProber } from "./indirect-probe.ts";

export type { ProbedPeer as PolledPeer, Suspect } from "./probed-peer.ts";

/** Peers polled beyond those that this node is a poller of. */
const MAX_EXTRA = 64;
/** One peer after the other is polled once, at every so many beats, whoever its pollers are. */
const ROVE_BEATS = 2;
/** From one poll of a peer that does not answer to the next, in intervals: nearly all polls of a life are answered. */
const SILENT_INTERVALS = 0.5;
/** Then the eviction counts as lost; where it was not, the next roster tells. */
const EVICT_TIMEOUT_MS = 5_000;

/**
 * The rules:
 *
 * - Each peer is polled by POLLERS others of each of its groups; see `PollPlans` for what each node sees. While one of
 *   these does not answer, who polls it polls its wards too, so a peer that died together with its pollers is found as
 *   soon. And each node polls one peer after the other in turn, so that even a set whose pollers are all in the set is found.
 * - Who answers is polled at the beat, all in one tick: an idle process pays for each time that it wakes, far more than
 *   for what it does then. So a poll that comes in brings the beat with it, and the cluster falls into step. Who does
 *   not answer is followed at a pace of its own, so that no poll waits for a beat, and twice as often.
 * - A poll that is not answered by the peer in the life that is listed is a miss; `pollMisses` in a row make a suspect.
 * - Others are asked then; see `Tribunal` for who must agree. When they do not, it is kept, and they are asked again
 *   after as many further misses.
 * - Nobody is evicted while the registry is away or this node itself is not listed, nor for what was found out before
 *   the suspect answered, came back in a new life, or this node stood still.
 * - What is missed while this node is not listed does not count, as the others refuse a stranger. So in a partition
 *   the smaller side, once evicted, begins to count anew each time it puts itself back.
 */
export class Liveness {
  readonly #options: LivenessOptions;
  readonly #polling: Required<PollingOptions>;
  readonly #polls: Probes;
  readonly #tribunal: EvictionRule;
  readonly #witness: IndirectProber;
  readonly #watches = new Map<string, ProbeState>();
  #peers: ReadonlyMap<string, ProbedPeer> = new Map();
  #plans: ProbePlans;
  #state: "new" | "running" | "stopped" = "new";
  readonly #leftovers = new StaleRecords();
  /** When anybody answered this node last; undefined: nobody ever has. */
  #heardAtMs: number | undefined;
  #evictions = 0;
  readonly #beat: ProbeTimer;
  #roved = "";

  /** @throws RangeError for options that are no durations, counts and shares */
  constructor(options: LivenessOptions) {
    this.#options = options;
    this.#polling = pollingOf(options.options);
    const { self, clock, isListed } = options;
    const { pollIntervalMs, pollTimeoutMs, pollJitter } = this.#polling;
    this.#beat = new ProbeTimer({
      clock,
      random: options.random,
      intervalMs: pollIntervalMs,
      jitter: pollJitter,
      act: (dueMs) => this.#pollAll(dueMs),
    });
    this.#polls = new Probes(clock);
    this.#plans = new ProbePlans([[self.name]]);
    // A voter needs the time of a poll before it can say "dead".
    this.#tribunal = new EvictionRule({ clock, timeoutMs: 2 * pollTimeoutMs });
    this.#witness = new IndirectProber({
      self,
      polls: this.#polls,
      timeoutMs: pollTimeoutMs,
      peerOf: (name) => this.#state === "running" ? this.#peers.get(name) : undefined,
      isListed,
      onAnswer: (peer) => {
        const watch = this.#watches.get(peer.record.name);
        if (watch !== undefined && isSameLife(watch.peer, peer)) this.#answered(watch);
      },
    });
  }

  start(): void {
    if (this.#state !== "new") return;
    this.#state = "running";
    this.rosterChanged();
  }

  /** Ends all polling; what is under way has no effect any more. */
  stop(): void {
    this.#state = "stopped";
    this.#beat.stop();
    for (const watch of this.#watches.values()) watch.cancel();
    this.#watches.clear();
  }

  /** Polls whom it is to poll by the peers as they are now. To be called at each change of a roster; O(N) per new name. */
  rosterChanged(): void {
    if (this.#state !== "running") return;
    const { peers, lists, self, isRegistryAway } = this.#options;
    const isListed = this.#options.isListed();
    this.#peers = new Map(peers().map((peer) => [peer.record.name, peer]));
    this.#leftovers.see(this.#peers.values(), isRegistryAway());
    for (const [name, watch] of this.#watches) {
      const peer = this.#peers.get(name);
      if (peer === undefined || !isSameLife(peer, watch.peer)) this.#drop(watch);
      else watch.peer = peer;
    }
    // Of who has come back without one of its groups, the life that is listed there is not the one that is polled.
    const lives = new Set([...this.#peers.values()].map(({ record }) => lifeOf(record)));
    const others = lists().map((list) => list.filter((listed) => lives.has(lifeOf(listed))));
    this.#plans = new ProbePlans(others.map((list) => [self.name, ...list.map(({ name }) => name)]), this.#plans);
    const wards = this.#plans.wardsOf(self.name);
    for (const [name, watch] of this.#watches) {
      watch.isExtra = !wards.has(name);
      // A silence that has begun is followed to its end, or a change of pollers would start the count anew.
      if (watch.isExtra && watch.misses === 0) this.#drop(watch);
      else if (!isListed) watch.forget(this.#polling.pollMisses);
    }
    for (const name of wards) this.#watch(name, { isExtra: false });
    if (this.#peers.size > 0) this.#beat.start();
    else this.#beat.stop();
  }

  /** To be called when another polls this node. */
  probed(): void {
    this.#beat.soon();
  }

  /**
   * Polls a suspect for another peer, once, now, over this node's own link.
   *
   * @returns whether it answered
   * @throws PeerError this node cannot say: it does not list the suspect in this life, is not listed itself, or has too
   * much to do. The one who asks counts that as silence, not as "dead"
   */
  probeIndirectly(suspect: Suspect, options: { timeoutMs: number }): Promise<boolean> {
    return this.#witness.probe(suspect, options);
  }

  stats(): LivenessStats {
    return {
      polled: [...this.#watches.values()].map((watch) => watch.stats()),
      votes: this.#tribunal.votes,
      evictions: this.#evictions,
    };
  }

  #isCurrent(watch: ProbeState): boolean {
    return this.#watches.get(watch.peer.record.name) === watch;
  }

  #watch(name: string, { isExtra }: { isExtra: boolean }): void {
    const peer = this.#peers.get(name);
    if (peer === undefined || this.#watches.has(name)) return;
    if (isExtra && [...this.#watches.values()].filter((watch) => watch.isExtra).length >= MAX_EXTRA) return;
    const watch = new ProbeState(peer, { isExtra, judgedAtMisses: this.#polling.pollMisses });
    this.#watches.set(name, watch);
    // Who is polled for a reason that is here now, is polled now.
    if (isExtra) this.#turnAt(watch, this.#options.clock.nowMs());
  }

  #drop(watch: ProbeState): void {
    watch.cancel();
    if (this.#isCurrent(watch)) this.#watches.delete(watch.peer.record.name);
  }

  #pollAll(dueMs: number): void {
    if (this.#beat.count % ROVE_BEATS === 0) this.#rove();
    for (const watch of this.#watches.values()) {
      if (!watch.isOnBeat) continue;
      watch.dueMs = dueMs;
      void this.#turn(watch);
    }
  }

  #turnAt(watch: ProbeState, dueMs: number): void {
    watch.isOnBeat = false;
    watch.dueMs = dueMs;
    watch.cancel = this.#options.clock.after(dueMs - this.#options.clock.nowMs(), () => void this.#turn(watch));
  }

  async #turn(watch: ProbeState): Promise<void> {
    const beat = this.#beat.count;
    watch.isOnBeat = false;
    const outcome = await this.#polls.probe(watch.peer, this.#polling.pollTimeoutMs);
    if (!this.#isCurrent(watch)) return;
    if (outcome === "answered") this.#answered(watch);
    else if (outcome === "missed") this.#missed(watch);
    if (!this.#isCurrent(watch)) return;
    // Who answered so late that a beat has passed is polled again before the next.
    watch.isOnBeat = outcome === "answered" && this.#beat.count === beat;
    if (!watch.isOnBeat) this.#turnAt(watch, this.#beat.dueAfter(watch.dueMs, watch.misses > 0 ? SILENT_INTERVALS : 1));
  }

  #answered(watch: ProbeState): void {
    this.#heardAtMs = watch.lastAnsweredAtMs = this.#options.clock.nowMs();
    if (watch.isSaid) this.#options.log.info(`peer ${watch.peer.record.name} answers again`);
    watch.isSaid = false;
    watch.forget(this.#polling.pollMisses);
    if (watch.isExtra) this.#drop(watch);
    this.#options.onAnswer?.(watch.peer.record);
  }

  #missed(watch: ProbeState): void {
    if (!this.#options.isListed()) return watch.forget(this.#polling.pollMisses);
    watch.misses++;
    for (const ward of this.#plans.wardsOf(watch.peer.record.name)) this.#watch(ward, { isExtra: true });
    if (watch.misses >= watch.judgedAtMisses && !watch.isBeingJudged) void this.#judge(watch);
  }

  #rove(): void {
    const { names } = this.#plans;
    // From a place of its own, or all nodes would start with the same peer.
    if (this.#roved === "") this.#roved = names[Math.floor(this.#options.random() * names.length)] ?? "";
    this.#roved = names.find((name) => name > this.#roved) ?? names[0]!;
    this.#watch(this.#roved, { isExtra: true });
  }

  async #judge(watch: ProbeState): Promise<void> {
    const { clock, isRegistryAway, isListed } = this.#options;
    this.#say(watch);
    // Tried again at the next miss.
    if (isRegistryAway()) return;
    const { row } = watch;
    const startedMs = clock.nowMs();
    watch.isBeingJudged = true;
    const { reason, isHeard } = await this.#tribunal.judge(this.#caseOf(watch));
    const wasStill = clock.nowMs() - startedMs > 2 * this.#polling.pollTimeoutMs + LATE_MS;
    watch.isBeingJudged = false;
    if (isHeard) this.#heardAtMs = clock.nowMs();
    if (!this.#isCurrent(watch) || watch.row !== row) return;
    watch.isPatient = true;
    watch.judgedAtMisses = watch.misses + this.#polling.pollMisses;
    if (reason === undefined || wasStill || isRegistryAway() || !isListed()) return;
    await this.#evict(watch, reason);
  }

  #caseOf(watch: ProbeState): Case {
    const { name } = watch.peer.record;
    // Who is a suspect itself would only be silent.
    for (const other of this.#watches.values()) {
      if (other.misses >= this.#polling.pollMisses) watch.mute.add(other.peer.record.name);
    }
    return {
      suspect: watch.peer.record,
      isPatient: watch.isPatient,
      isLeftover: () => this.#heardAtMs === undefined && this.#leftovers.has(watch.peer),
      mute: watch.mute,
      voters: (count, without) => this.#voters(name, count, without),
      outsiders: () => this.#outsiders(name),
    };
  }

  #voters(suspect: string, count: number, without: ReadonlySet<string> = new Set()): ProbedPeer[] {
    return this.#plans.others(suspect, count, new Set([this.#options.self.name, ...without]))
      .map((voter) => this.#peers.get(voter)!);
  }

  #outsiders(suspect: string): "none" | "silent" | "answer" {
    if (this.#voters(suspect, this.#peers.size).length === this.#peers.size - 1) return "none";
    const patienceMs = this.#polling.pollMisses * SILENT_INTERVALS * this.#polling.pollIntervalMs;
    // Who is cut off itself has heard nothing for twice as long when it has to decide by itself.
    return this.#options.clock.nowMs() - (this.#heardAtMs ?? -Infinity) <= patienceMs ? "answer" : "silent";
  }

  async #evict(watch: ProbeState, reason: string): Promise<void> {
    const { clock, log, evict } = this.#options;
    const { record } = watch.peer;
    const { name, incarnation } = record;
    watch.isBeingJudged = true;
    const isEvicted = await withTimeout(clock, EVICT_TIMEOUT_MS, () => evict(record), false).catch(() => false);
    watch.isBeingJudged = false;
    if (isEvicted) {
      this.#evictions++;
      log.info(`evicted ${name} (incarnation ${incarnation}) from the peer lists: ${reason}`);
    }
    // Somebody else was first, or it came back: the next roster tells, and if not, it is counted from the start.
    if (this.#isCurrent(watch)) watch.forget(this.#polling.pollMisses);
  }

  #say(watch: ProbeState): void {
    if (watch.isSaid) return;
    watch.isSaid = true;
    const then = this.#options.isRegistryAway()
      ? "nobody is evicted while NATS is away"
      : this.#voters(watch.peer.record.name, 1).length === 0
      ? "there is nobody else to ask, so it has twice the time"
      : "asking others";
    this.#options.log.warn(`peer ${watch.peer.record.name} does not answer: ${then}`);
  }
}
