/** One Liveness between scripted peers, and the language in which its tests are written. */
import assert from "node:assert/strict";
import { OverloadedError, PeerError } from "../../../lib/core/errors.ts";
import { Liveness, type ProbedPeer, type Suspect } from "../../../lib/core/liveness/liveness.ts";
import type { PollingOptions } from "../../../lib/core/liveness/options.ts";
import type { PeerRecord } from "../../../lib/core/roster.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { MemoryLog } from "../../support/log.ts";

/** A record of a peer in one of its lives. */
export function recordOf(name: string, life = 1): PeerRecord {
  return {
    name,
    url: `http://${name}:8000`,
    incarnation: `${name}#${life}`,
    key: "A".repeat(43),
    state: "serving",
    weight: 1,
    zone: "",
    joined: "2026-01-01T00:00:00.000Z",
    version: "0.1.0",
    runtime: "test",
  };
}

type Answer = "answers" | "refuses" | "silent" | "busy";
/** What a peer says of a suspect when it is asked. */
type Finding = "truth" | "dead" | "alive" | "nothing";

/** A scripted peer. */
export class FakePeer implements ProbedPeer {
  record: PeerRecord;
  answer: Answer = "answers";
  isOpen = true;
  finding: Finding = "truth";
  probes = 0;
  /** When each probe began. */
  readonly probedAtMs: number[] = [];
  answersAfterMs = 0;
  inFlight = 0;
  mostInFlight = 0;
  /** The suspects that it was asked about. */
  asked: string[] = [];
  readonly #stage: Stage;

  constructor(record: PeerRecord, stage: Stage) {
    this.record = record;
    this.#stage = stage;
  }

  async probe({ timeoutMs }: { timeoutMs: number }): Promise<void> {
    this.probes++;
    this.probedAtMs.push(this.#stage.clock.nowMs());
    this.mostInFlight = Math.max(this.mostInFlight, ++this.inFlight);
    try {
      if (this.answer === "busy") throw new OverloadedError("too many asks");
      if (this.answer === "refuses") throw new PeerError("refused");
      if (this.answer === "silent") await this.#stage.silence(timeoutMs);
      if (this.answersAfterMs > 0) await this.#stage.pause(this.answersAfterMs);
    } finally {
      this.inFlight--;
    }
  }

  async probeIndirectly(suspect: Suspect, { timeoutMs }: { timeoutMs: number }): Promise<boolean> {
    this.asked.push(suspect.name);
    await this.#stage.held;
    if (this.answer === "silent" || this.finding === "nothing") await this.#stage.silence(timeoutMs);
    if (this.answer !== "answers") throw new PeerError("refused");
    if (this.finding !== "truth") return this.finding === "alive";
    return this.#stage.peers.get(suspect.name)?.answer === "answers";
  }
}

/** Its time can pass without timers, as for a stopped process. */
export class LeapingClock extends ManualClock {
  #leapsMs = 0;

  override nowMs(): number {
    return super.nowMs() + this.#leapsMs;
  }

  leap(byMs: number): void {
    this.#leapsMs += byMs;
  }
}

/** The scripts count with this pace: more and smaller steps than by default. */
const finePace: PollingOptions = { pollIntervalMs: 500, pollMisses: 10 };

/** The node under test is called `a`. */
export class Stage {
  readonly clock = new LeapingClock();
  readonly log = new MemoryLog();
  readonly peers = new Map<string, FakePeer>();
  /** The names in each group; undefined: all are in one group. */
  groups: readonly string[] | undefined;
  isAway = false;
  isListed = true;
  /** The lives that were to be evicted. */
  readonly evictions: string[] = [];
  evict: (suspect: PeerRecord) => Promise<boolean> = () => Promise.resolve(true);
  /** The lives that have answered. */
  readonly answers: string[] = [];
  /** Indirect probers wait for this before they answer. */
  held: Promise<void> = Promise.resolve();
  readonly liveness: Liveness;
  #release = (): void => {};

  constructor(peers: string, options: PollingOptions = {}, random: () => number = () => 0.5) {
    for (const name of words(peers)) this.peers.set(name, new FakePeer(recordOf(name), this));
    this.liveness = new Liveness({
      self: recordOf("a"),
      clock: this.clock,
      random,
      log: this.log,
      peers: () => [...this.peers.values()],
      lists: () => this.#lists(),
      isListed: () => this.isListed,
      isRegistryAway: () => this.isAway,
      evict: (suspect) => {
        this.evictions.push(suspect.incarnation);
        return this.evict(suspect);
      },
      onAnswer: ({ incarnation }) => void this.answers.push(incarnation),
      options: { ...finePace, ...options },
    });
  }

  peer(name: string): FakePeer {
    return this.peers.get(name)!;
  }

  #lists(): PeerRecord[][] {
    const records = [...this.peers.values()].map(({ record }) => record);
    return this.groups?.map((group) => records.filter(({ name }) => words(group).includes(name))) ?? [records];
  }

  pause(delayMs: number): Promise<void> {
    return new Promise((over) => this.clock.after(delayMs, over));
  }

  silence(timeoutMs: number): Promise<void> {
    return new Promise((_, reject) => this.clock.after(timeoutMs, () => reject(new PeerError("silent"))));
  }

  misses(name: string): number | undefined {
    return this.liveness.stats().probed.find((peer) => peer.name === name)?.misses;
  }

  /**
   * One step: `kill b c`, `silence b`, `busy b`, `heal b`, `says c alive`, `away`, `back`, `unlisted`, `listed`, `off`
   * (unlisted without notice), `groups b c,c d` (the peers in each group of this node), `leaves b`, `joins b`, `reborn b`,
   * `hold` and `release` (the answers of indirect probers), `loses`, `fails` and `hangs` (evictions), `stop`, `wait 2500`,
   * `evicted b#1 c#1` (all so far, in any order; `evicted` alone: none), `asked b c d` (c and d were asked about b),
   * `forget` (earlier `asked`), `logged 2 text`, `returns b` (it is evicted and puts itself back, and this node does not reach
   * it), `rewrites b` (it writes its record again, over an open connection), `reaches b` (a connection to it opens),
   * `putback` (this node puts itself back).
   */
  async do(step: string): Promise<void> {
    const [verb, ...rest] = words(step);
    const each = (act: (peer: FakePeer) => void) => rest.forEach((name) => act(this.peer(name)));
    const roster = (change: () => void) => (change(), this.liveness.rosterChanged());
    const steps: Record<string, () => unknown> = {
      kill: () => each((peer) => peer.answer = "refuses"),
      silence: () => each((peer) => peer.answer = "silent"),
      busy: () => each((peer) => peer.answer = "busy"),
      heal: () => each((peer) => peer.answer = "answers"),
      says: () => this.peer(rest[0]!).finding = rest[1] as Finding,
      away: () => this.isAway = true,
      back: () => this.isAway = false,
      off: () => {
        this.isListed = false;
      },
      unlisted: () => roster(() => this.isListed = false),
      listed: () => roster(() => this.isListed = true),
      groups: () => roster(() => this.groups = step.slice("groups ".length).split(",")),
      leaves: () => roster(() => rest.forEach((name) => this.peers.delete(name))),
      joins: () => roster(() => rest.forEach((name) => this.peers.set(name, new FakePeer(recordOf(name), this)))),
      reborn: () => roster(() => rest.forEach((name) => this.peers.set(name, new FakePeer(recordOf(name, 2), this)))),
      returns: () => {
        for (const name of rest) {
          const { record, answer } = this.peer(name);
          roster(() => this.peers.delete(name));
          const peer = new FakePeer(record, this);
          roster(() => this.peers.set(name, peer));
          peer.answer = answer;
          peer.isOpen = false;
          this.liveness.wroteAgain(record);
        }
      },
      rewrites: () => each(({ record }) => this.liveness.wroteAgain(record)),
      reaches: () => each((peer) => (peer.isOpen = true, this.liveness.reached(peer.record))),
      putback: () => this.liveness.putBack(),
      hold: () => {
        this.held = new Promise((resolve) => this.#release = resolve);
      },
      release: () => this.#release(),
      loses: () => this.evict = () => Promise.resolve(false),
      fails: () => this.evict = () => Promise.reject(new Error("no answer")),
      hangs: () => this.evict = () => new Promise(() => {}),
      stop: () => this.liveness.stop(),
      wait: () => this.clock.advance(Number(rest[0])),
      evicted: () => assert.deepEqual([...this.evictions].sort(), rest.sort(), step),
      asked: () => {
        const asked = [...this.peers.values()].filter((peer) => peer.asked.includes(rest[0]!));
        assert.deepEqual(asked.map((peer) => peer.record.name).sort(), rest.slice(1).sort(), step);
      },
      forget: () => this.peers.forEach((peer) => peer.asked = []),
      logged: () => {
        const text = rest.slice(1).join(" ");
        const lines = this.log.lines.filter((line) => line.includes(text));
        assert.equal(lines.length, Number(rest[0]), `${step}: ${JSON.stringify(this.log.lines)}`);
      },
    };
    const run = steps[verb!];
    if (run === undefined) throw new TypeError(`no such step: ${step}`);
    await run();
    await settle();
  }

  /** Starts, lets every peer answer once, and does the steps; a failure names its step. */
  async play(steps: readonly string[]): Promise<void> {
    this.liveness.start();
    await this.clock.advance(1_000);
    for (const step of steps) await this.do(step);
  }
}

function words(text: string): string[] {
  return text.split(" ").filter((word) => word !== "");
}
