/** Decides about a suspect: a round of indirect probes, then eviction if a rule allows it. */
import { SayOnce } from "../base/logs/say-once.ts";
import { standstillSince } from "../base/time/deadlines.ts";
import { withTimeout } from "../base/time/timeout.ts";
import { probeIndirectly } from "./indirect-probe.ts";
import type { LivenessOptions, PollingOptions } from "./options.ts";
import { SILENT_INTERVALS } from "./probe-timer.ts";
import type { ProbePlan } from "./probe-plan.ts";
import type { ProbeState } from "./probe.ts";
import { lifeOf, type ProbedPeer } from "./probed-peer.ts";
import type { ReturnedLives } from "./returned-lives.ts";

/** The most nodes to ask about a suspect. Chosen: a sample, so that the work does not grow with the cluster. */
const INDIRECT_PROBERS = 5;
/** After this time an eviction counts as failed. If it happened after all, the next roster shows it. Chosen. */
const EVICT_TIMEOUT_MS = 5_000;
/** The log tells of a peer's silence once in this time: a path may come and go every few seconds for days. Chosen. */
const SAY_EVERY_MS = 60_000;
/** The most silent peers in the log in that time. Chosen: as many as a list has at most. */
const MAX_SAID = 1_000;

/** The cluster as this node sees it now. */
export interface View {
  /** All other listed peers, by name. */
  peers: ReadonlyMap<string, ProbedPeer>;
  plan: ProbePlan;
  /** The peers that this node probes, by name. */
  readonly states: Map<string, ProbeState>;
}

interface EvictionRuleOptions {
  readonly liveness: LivenessOptions;
  readonly polling: Required<PollingOptions>;
  readonly view: View;
  readonly returned: ReturnedLives;
}

/**
 * The rules for evictions: rules 6 to 14 of README.md in this folder, which gives their reasons and tests. This node
 * missed the suspect's answers itself, so it has one vote, "dead". The suspect has no vote.
 */
export class EvictionRule {
  readonly #options: EvictionRuleOptions;
  readonly #staleRecords = new StaleRecords();
  readonly #said: SayOnce;
  /** When a peer last answered this node; undefined: no peer ever answered. */
  #heardAtMs: number | undefined;
  #rounds = 0;
  #evictions = 0;

  constructor(options: EvictionRuleOptions) {
    this.#options = options;
    this.#said = new SayOnce({ clock: options.liveness.clock, maxSaid: MAX_SAID, forMs: SAY_EVERY_MS });
  }

  /** The number of rounds in which other nodes were asked. */
  get rounds(): number {
    return this.#rounds;
  }

  get evictions(): number {
    return this.#evictions;
  }

  /** To be called after the peers of the view have changed. */
  rosterChanged(): void {
    const { liveness, view } = this.#options;
    this.#staleRecords.see(view.peers.values(), liveness.isRegistryAway());
  }

  /** To be called when any peer has answered this node. */
  heard(): void {
    this.#heardAtMs = this.#options.liveness.clock.nowMs();
  }

  /** Runs one round about a suspect. The next one is due after as many further misses. Never rejects. */
  async decide(suspect: ProbeState): Promise<void> {
    const { clock, isRegistryAway, isListed } = this.#options.liveness;
    this.#logOnce(suspect);
    // The next miss starts another attempt.
    if (isRegistryAway() || this.#waitMsFor(suspect) > 0) return;
    const { streak } = suspect;
    // An indirect prober needs the time of a probe before it can say "dead".
    const timeoutMs = 2 * this.#options.polling.pollTimeoutMs;
    const stoodStill = standstillSince(clock, timeoutMs);
    suspect.isDeciding = true;
    const reason = await this.#reasonToEvict(suspect, timeoutMs);
    suspect.isDeciding = false;
    if (!this.#isCurrent(suspect) || suspect.streak !== streak) return;
    suspect.endRound();
    if (reason === undefined || stoodStill() || isRegistryAway() || !isListed() || this.#waitMsFor(suspect) > 0) return;
    await this.#evict(suspect, reason);
  }

  async #reasonToEvict(suspect: ProbeState, timeoutMs: number): Promise<string | undefined> {
    const { isLaterRound, silent } = suspect;
    const { record } = suspect.peer;
    // Do not ask other suspects, as they would probably be silent.
    for (const other of this.#options.view.states.values()) if (other.isSuspect) silent.add(other.peer.record.name);
    let probers = this.#probersOf(record.name, INDIRECT_PROBERS, isLaterRound ? silent : undefined);
    const wereAllSilent = probers.length === 0;
    if (wereAllSilent && silent.size > 0) {
      silent.clear();
      probers = this.#probersOf(record.name, INDIRECT_PROBERS);
    }
    if (probers.length === 0) return isLaterRound ? this.#reasonInPair(suspect) : undefined;
    this.#rounds++;
    const { clock } = this.#options.liveness;
    const isEnough = (dead: number) => isMajority(1 + dead, 1 + probers.length);
    const findings = await probeIndirectly(record, probers, { clock, timeoutMs, isEnough });
    for (const name of findings.silent) silent.add(name);
    const { answered, asked, dead } = findings;
    if (answered === 0) return isLaterRound ? this.#reasonInSilence(suspect, { wereAllSilent }) : undefined;
    this.heard();
    const total = 1 + (isLaterRound ? answered : asked);
    return isMajority(1 + dead, total) ? `${1 + dead} of ${total} nodes agree` : undefined;
  }

  /** For a suspect that shares no group with another node. */
  #reasonInPair(suspect: ProbeState): string | undefined {
    return this.#hearsOutsiders(suspect) === false ? this.#reasonIfStale(suspect) : "no other node lists it";
  }

  /** @param options.wereAllSilent whether all nodes that list the suspect were silent before this round, too */
  #reasonInSilence(suspect: ProbeState, { wereAllSilent }: { wereAllSilent: boolean }): string | undefined {
    return wereAllSilent && this.#hearsOutsiders(suspect) === true
      ? "the nodes that list it are silent, others answer"
      : this.#reasonIfStale(suspect);
  }

  #reasonIfStale({ peer }: ProbeState): string | undefined {
    const isStale = this.#heardAtMs === undefined && this.#staleRecords.has(peer);
    return isStale ? "it was listed before this node, and no peer has ever answered this node" : undefined;
  }

  /**
   * Whether this node hears peers that share no group with the suspect. If so, this node is not cut off. undefined:
   * there are no such peers.
   */
  #hearsOutsiders({ peer }: ProbeState): boolean | undefined {
    const { liveness, polling, view } = this.#options;
    if (this.#probersOf(peer.record.name, view.peers.size).length === view.peers.size - 1) return undefined;
    // By its second round, a node that is cut off has heard nothing for twice this time.
    const suspicionMs = polling.pollMisses * SILENT_INTERVALS * polling.pollIntervalMs;
    return liveness.clock.nowMs() - (this.#heardAtMs ?? -Infinity) <= suspicionMs;
  }

  #probersOf(suspect: string, count: number, without: ReadonlySet<string> = new Set()): ProbedPeer[] {
    const { liveness, view } = this.#options;
    return view.plan.probersOf(suspect, count, new Set([liveness.self.name, ...without]))
      .map((name) => view.peers.get(name)!);
  }

  async #evict(suspect: ProbeState, reason: string): Promise<void> {
    const { clock, log, evict } = this.#options.liveness;
    const { record } = suspect.peer;
    suspect.isDeciding = true;
    const isEvicted = await withTimeout(clock, EVICT_TIMEOUT_MS, () => evict(record), false).catch(() => false);
    suspect.isDeciding = false;
    if (isEvicted) {
      this.#evictions++;
      const { name, incarnation } = record;
      const facts = { peer: name, incarnation, reason };
      log.info(`evicted ${name} (incarnation ${incarnation}) from the peer lists: ${reason}`, {}, facts);
    }
    // If another node was first or the peer came back, the next roster shows it. If not, the misses count from zero.
    if (this.#isCurrent(suspect)) suspect.reset();
  }

  #waitMsFor({ peer }: ProbeState): number {
    return this.#options.returned.waitMs(peer.record);
  }

  #isCurrent(suspect: ProbeState): boolean {
    return this.#options.view.states.get(suspect.peer.record.name) === suspect;
  }

  #logOnce(suspect: ProbeState): void {
    const { name } = suspect.peer.record;
    if (suspect.isLogged || !this.#said.isNews(name)) return;
    suspect.isLogged = true;
    const waitMs = this.#waitMsFor(suspect);
    const next = this.#options.liveness.isRegistryAway()
      ? "no peer is evicted while NATS is away"
      : waitMs > 0
      ? `one of us returned to the lists, so it may only be out of reach: it stays for ${Math.ceil(waitMs / 1_000)} s`
      : this.#probersOf(name, 1).length === 0
      ? "no other node lists it, so it gets twice the time"
      : "asking other nodes";
    this.#options.liveness.log.warn(`peer ${name} does not answer: ${next}`, {}, { peer: name });
  }
}

function isMajority(votes: number, total: number): boolean {
  return 2 * votes > total;
}

/**
 * Records that a cluster left behind when all its nodes died. They were listed when this node first saw the lists, and
 * ever since. The time in a record does not count, as another machine's clock wrote it.
 */
class StaleRecords {
  readonly #lives = new Set<string>();
  #hasSeenRegistry = false;

  /** Notes the peers that are listed now. */
  see(peers: Iterable<ProbedPeer>, isRegistryAway: boolean): void {
    const listed = new Set([...peers].map(({ record }) => lifeOf(record)));
    // A peer that was evicted and put itself back is alive.
    for (const life of this.#lives) if (!listed.has(life)) this.#lives.delete(life);
    if (this.#hasSeenRegistry) return;
    for (const life of listed) this.#lives.add(life);
    this.#hasSeenRegistry = !isRegistryAway;
  }

  has(peer: ProbedPeer): boolean {
    return this.#lives.has(lifeOf(peer.record));
  }
}
