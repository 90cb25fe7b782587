/** Handles two nodes with one name: decides whether a record belongs to another live node or to an earlier life. */
import type { Clock } from "../core/base/clock.ts";
import { withTimeout } from "../core/base/time/timeout.ts";
import { NameTakenError } from "../core/errors.ts";
import type { PeerRecord } from "../core/roster.ts";
import { recordIn } from "./record.ts";
import { keyOf, type PeerStore } from "./store/store.ts";

/** `free`: an earlier life left the record. `taken`: a live node owns it. */
export type Verdict = "free" | "taken";

/** Whether the node of this record proves at its URL, within `timeoutMs`, that it has the record's key. Never rejects. */
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
  /** This node's name. */
  readonly name: string;
  /** The groups that this node serves. */
  readonly groups: () => readonly string[];
}

/** A live node that stands still for this long keeps its name (swapping, garbage collection, a busy core). Chosen. */
const IS_ALIVE_TIMEOUT_MS = 5_000;
/** How long the answer "taken" holds, so that not every change in the group asks the other node again. Chosen. */
const TAKEN_FOR_MS = 30_000;
/** The most answers to remember. Chosen: with over 1,000 collisions at once, asking does not help. */
const MAX_TAKEN = 1_000;
/** The most lives of one name to ask, all at once; a silent host costs five seconds. Chosen. */
const MAX_ASKED = 16;

/** Asks the nodes of records and remembers which are alive. */
export class NameGuard {
  readonly #options: NameGuardOptions;
  /** By key: the revision of a live node's record, and until when this counts. */
  readonly #taken = new Map<string, { readonly revision: number; readonly untilMs: number }>();
  #elsewhere: Promise<NameTakenError | undefined> | undefined;

  constructor(options: NameGuardOptions) {
    this.#options = options;
  }

  /** How long the record still counts as a live node's, in ms; 0 if the node must be asked. */
  takenMs({ group, record, revision }: Standing): number {
    const taken = this.#taken.get(keyOf(group, record.name));
    return taken?.revision === revision ? Math.max(0, taken.untilMs - this.#options.clock.nowMs()) : 0;
  }

  /** Asks the node of the record. No answer within five seconds, or an error, means that the name is free. */
  async ask(standing: Standing): Promise<Verdict> {
    if (await this.#isAlive(standing.record)) return this.#remember(standing);
    this.#taken.delete(keyOf(standing.group, standing.record.name));
    return "free";
  }

  /** The error for a record that is known to be a live node's. From now on it counts as such for a while. */
  liveNode(standing: Standing): NameTakenError {
    this.#remember(standing);
    return takenBy(standing, "; the two cannot reach each other");
  }

  /**
   * Whether this node may overwrite a record under its own name.
   *
   * @param self this node's wanted record
   * @param hasStood whether this node was listed there before; if so, the record is later than its own
   * @returns the error with the reason if it may not; `undefined`: it may
   */
  async objection(standing: Standing, self: PeerRecord, hasStood: boolean): Promise<NameTakenError | undefined> {
    const { record } = standing;
    if (record.incarnation === self.incarnation) return undefined;
    // Do not ask if both nodes advertise the same address, each on its own machine: the question would reach this node.
    const isSameAddress = hasStood && new URL(self.url).origin === record.url && record.incarnation > self.incarnation;
    const verdict = isSameAddress ? this.#remember(standing) : await this.ask(standing);
    if (verdict === "free") return undefined;
    return takenBy(
      standing,
      isSameAddress ? "; this node is at that address, too: --advertise must tell them apart" : "",
    );
  }

  /**
   * Finds another live node with this node's name in a group that this node does not serve. This node would not notice
   * it. But a node that serves both groups would take the two for one and drop the one that started first.
   *
   * It looks once for all groups: a node that starts later finds this one and gives up the name.
   *
   * @throws UnavailableError the store did not answer; call it again
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
