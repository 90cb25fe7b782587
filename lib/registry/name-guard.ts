/** Two nodes with one name: decides whether a record belongs to another live node, or is what an earlier life left. */
import type { Clock } from "../core/base/clock.ts";
import { withTimeout } from "../core/base/time/timeout.ts";
import { NameTakenError } from "../core/errors.ts";
import type { PeerRecord } from "../core/roster.ts";
import { recordIn } from "./record.ts";
import { keyOf, type PeerStore } from "./store/store.ts";

/** `free`: an earlier life left the record. `taken`: a live node is behind it. */
export type Verdict = "free" | "taken";

/** Whether the node of this record proves within `timeoutMs`, at its URL, that it has the record's key; no errors. */
export type IsAlive = (record: PeerRecord, timeoutMs: number) => Promise<boolean>;

/** A record of a group at one revision. */
export interface Standing {
  readonly group: string;
  readonly record: PeerRecord;
  readonly revision: number;
}

export interface NameGuardOptions {
  readonly store: PeerStore;
  readonly clock: Clock;
  readonly isAlive: IsAlive;
  /** Of this node. */
  readonly name: string;
  /** The groups that this node serves. */
  readonly groups: () => readonly string[];
}

/** A live node may stand still for so long and keeps its name: swapping, garbage collection, a busy core. Chosen. */
const IS_ALIVE_TIMEOUT_MS = 5_000;
/** How long an answer of "taken" holds, so that not every change in the group asks the other node again. Chosen. */
const TAKEN_FOR_MS = 30_000;
/** Most answers that are remembered. Chosen: over 1,000 collisions at once nothing can be put right by asking. */
const MAX_TAKEN = 1_000;
/** Most lives under one name that are asked, all at once; a silent host costs five seconds. Chosen. */
const MAX_ASKED = 16;

/** Asks the nodes behind records, and remembers which are alive. */
export class NameGuard {
  readonly #options: NameGuardOptions;
  /** By key: the revision that a live node stands at, and until when that counts. */
  readonly #taken = new Map<string, { readonly revision: number; readonly untilMs: number }>();
  #elsewhere: Promise<NameTakenError | undefined> | undefined;

  constructor(options: NameGuardOptions) {
    this.#options = options;
  }

  /** How long the record is known to be a live node's, in ms; 0 when the node has to be asked. */
  takenMs({ group, record, revision }: Standing): number {
    const taken = this.#taken.get(keyOf(group, record.name));
    return taken?.revision === revision ? Math.max(0, taken.untilMs - this.#options.clock.nowMs()) : 0;
  }

  /** Asks the node behind the record. No answer within five seconds, or an error, means that there is none. */
  async ask(standing: Standing): Promise<Verdict> {
    if (await this.#isAlive(standing.record)) return this.#remember(standing);
    this.#taken.delete(keyOf(standing.group, standing.record.name));
    return "free";
  }

  /** The error for a record that is known to be a live node's, which holds for a while from now on. */
  liveNode(standing: Standing): NameTakenError {
    this.#remember(standing);
    return takenBy(standing, "; the two cannot reach each other");
  }

  /**
   * Whether this node may write over a record under its own name.
   *
   * @param self this node as it wants to be listed
   * @param hasStood whether this node was listed there before: then the record came after its own
   * @returns the error that says why not; `undefined`: it may
   */
  async objection(standing: Standing, self: PeerRecord, hasStood: boolean): Promise<NameTakenError | undefined> {
    const { record } = standing;
    if (record.incarnation === self.incarnation) return undefined;
    // Both nodes advertise the same address, each on its own machine: a question would come back to this node.
    const isSameAddress = hasStood && new URL(self.url).origin === record.url && record.incarnation > self.incarnation;
    const verdict = isSameAddress ? this.#remember(standing) : await this.ask(standing);
    if (verdict === "free") return undefined;
    return takenBy(
      standing,
      isSameAddress ? "; this node is at that address, too: --advertise must tell them apart" : "",
    );
  }

  /**
   * Whether another live node has this node's name in a group that this node does not serve. This node would not notice it,
   * but a node that serves both groups would take the two for one and drop the one that started first.
   *
   * Looks once for all groups: a node that comes later finds this one, and gives way.
   *
   * @throws UnavailableError the store did not answer; to be asked again
   */
  elsewhere(): Promise<NameTakenError | undefined> {
    return this.#elsewhere ??= this.#lookElsewhere().catch((error) => {
      this.#elsewhere = undefined;
      throw error;
    });
  }

  async #lookElsewhere(): Promise<NameTakenError | undefined> {
    const { store, groups, name } = this.#options;
    const own = new Set(groups().map((group) => keyOf(group, name)));
    const lives = new Map<string, Omit<Standing, "revision">>();
    for (const [key, value] of await store.named?.(name) ?? []) {
      const group = key.slice(0, -name.length - 1);
      const record = own.has(key) ? undefined : recordIn(group, key, value);
      if (record !== undefined && lives.size < MAX_ASKED) lives.set(record.incarnation, { record, group });
    }
    const errors = await Promise.all(
      [...lives.values()].map(async (life) => await this.#isAlive(life.record) ? takenBy(life) : undefined),
    );
    return errors.find((error) => error !== undefined);
  }

  async #isAlive(record: PeerRecord): Promise<boolean> {
    const { clock, isAlive } = this.#options;
    const ask = () => isAlive(record, IS_ALIVE_TIMEOUT_MS);
    return await withTimeout(clock, IS_ALIVE_TIMEOUT_MS, ask, false).catch(() => false);
  }

  #remember({ group, record, revision }: Standing): Verdict {
    const nowMs = this.#options.clock.nowMs();
    for (const [key, { untilMs }] of this.#taken) {
      if (untilMs <= nowMs || this.#taken.size >= MAX_TAKEN) this.#taken.delete(key);
    }
    this.#taken.set(keyOf(group, record.name), { revision, untilMs: nowMs + TAKEN_FOR_MS });
    return "taken";
  }
}

function takenBy({ group, record: { name, url, incarnation } }: Omit<Standing, "revision">, hint = ""): NameTakenError {
  return new NameTakenError(
    `another live node is listed as ${name} in ${group}: ${url}, incarnation ${incarnation}${hint}`,
  );
}
