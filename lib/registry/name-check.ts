import type { Clock } from "../core/base/clock.ts";
import type { PeerRecord } from "../core/roster.ts";
import { withTimeout } from "../core/base/timeout.ts";

/** Whether a record under this node's name is only what an earlier life left, or that of another live node. */
export type Verdict = "free" | "taken";

/** Whether a node with this record's incarnation answers at its URL within `timeoutMs`; no errors. */
export type IsAlive = (record: PeerRecord, timeoutMs: number) => Promise<boolean>;

/** A live node may stand still for as long as that, and keeps its name: swap, a pause of the collector, a busy core. */
const isAliveTimeoutMs = 5_000;
/** How long an answer of "taken" holds, so that not every change in the group asks the other node again. */
const takenForMs = 30_000;

/** Whether another live node has our name, asked of that node and remembered for a while. */
export class NameCheck {
  readonly #clock: Clock;
  readonly #isAlive: IsAlive;
  #taken: { revision: number; untilMs: number } | undefined;

  constructor(clock: Clock, isAlive: IsAlive) {
    this.#clock = clock;
    this.#isAlive = isAlive;
  }

  /** How long the record of that revision is known to be a live node's, in ms; 0 when it has to be asked. */
  takenMs(revision: number): number {
    if (this.#taken?.revision !== revision) return 0;
    return Math.max(0, this.#taken.untilMs - this.#clock.nowMs());
  }

  /** Takes the record of that revision for a live node's, as an answer would have it. */
  taken(revision: number): Verdict {
    this.#taken = { revision, untilMs: this.#clock.nowMs() + takenForMs };
    return "taken";
  }

  /** Asks who is behind the record. No answer within five seconds, or an error, means that nobody is. */
  async ask(record: PeerRecord, revision: number): Promise<Verdict> {
    const ask = () => this.#isAlive(record, isAliveTimeoutMs);
    const isTaken = await withTimeout(this.#clock, isAliveTimeoutMs, ask, false).catch(() => false);
    if (isTaken) return this.taken(revision);
    this.#taken = undefined;
    return "free";
  }
}
