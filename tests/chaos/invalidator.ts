/** Invalidates at a fixed rate and with `wait`, at any of the ready nodes. The answers go into the ledger. */
import { askRaw } from "../support/raw-client.ts";
import type { CountedOrigin, Message } from "./counted-values.ts";
import { groupName } from "./fleet.ts";
import type { Random, Zipf } from "./keys.ts";
import type { Ledger } from "./ledger.ts";
import { quantile } from "./load.ts";

export interface InvalidatorOptions {
  readonly origin: CountedOrigin;
  readonly ledger: Ledger;
  readonly random: Random;
  readonly zipf: Zipf;
  /** Any ready node; `undefined`: there is none. */
  readonly node: () => { readonly name: string; readonly url: string } | undefined;
  /** Whether the node was killed, or told to exit. */
  readonly isEnding: (name: string) => boolean;
}

/** A node's answer to a call. */
interface Said {
  readonly sequence: number;
  readonly epoch: number;
  readonly applied: readonly string[];
  readonly behind: readonly string[];
}

/** How a call ended. */
export interface CallEnd {
  readonly sentAtMs: number;
  readonly endedAtMs: number;
  readonly status: number;
  readonly said?: Said;
}

const tickMs = 5;
const maxBurst = 25;
const maxInFlight = 2_000;
const maxFailuresKept = 20;
/** The share of soft calls: they change nothing at the origin, and bind no node. */
const softShare = 0.1;

export class Invalidator {
  readonly #options: InvalidatorOptions;
  readonly latenciesMs: number[] = [];
  /** By the second in which they were sent. */
  readonly bySecond = new Map<number, { acknowledged: number; behind: number; refused: number; tookMs: number[] }>();
  readonly #beganAtMs = performance.now();
  calls = 0;
  acknowledged = 0;
  /** Acknowledged, with names of nodes that have not applied it. */
  withBehind = 0;
  /** 503: nothing was invalidated, or the result is unknown. */
  refused = 0;
  unknown = 0;
  /**
   * Calls at a node that was killed or exited in the meantime. A node exits after 5 s, and a call may wait that long.
   */
  lost = 0;
  notSent = 0;
  failed = 0;
  readonly failures: string[] = [];
  /** Called at each end of a call that was answered. */
  onEnd: (end: CallEnd) => void = () => {};
  #inFlight = 0;
  #onIdle = () => {};
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(options: InvalidatorOptions) {
    this.#options = options;
  }

  start(callsPerSecond: number): void {
    const startedAtMs = performance.now();
    let due = 0;
    this.#timer = setInterval(() => {
      const wanted = Math.floor((performance.now() - startedAtMs) * callsPerSecond / 1_000);
      const burst = Math.min(wanted - due, maxBurst);
      due = wanted;
      for (let i = 0; i < burst; i++) void this.call(this.#drawn());
    }, tickMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#inFlight > 0) await new Promise<void>((idle) => this.#onIdle = idle);
  }

  /** The time until all nodes had applied a call, in milliseconds; only of calls that named no node as behind. */
  tookMs(share: number): number {
    return quantile(this.latenciesMs, share);
  }

  /** Changes the covered values at the origin, then sends the message. Never rejects. */
  async call(message: Message): Promise<void> {
    const { origin, ledger, node, isEnding } = this.#options;
    const target = node();
    if (target === undefined || this.#inFlight >= maxInFlight) return void this.notSent++;
    const ranks = message.soft ? [] : origin.keyspace.covered(message);
    const counts = origin.raise(ranks);
    this.calls++;
    this.#inFlight++;
    const wasEnding = isEnding(target.name);
    const sentAtMs = performance.now();
    try {
      const { status, body } = await send(target.url, message);
      const endedAtMs = performance.now();
      const said = status === 200 ? JSON.parse(body) as Said : undefined;
      if (said !== undefined) {
        this.acknowledged++;
        if (said.behind.length > 0) this.withBehind++;
        else this.latenciesMs.push(endedAtMs - sentAtMs);
        const what = `${JSON.stringify(message)} at ${target.name}`;
        ledger.add({ ...said, what, ranks, counts, acknowledgedAtMs: endedAtMs });
      } else if (status !== 503) this.#fail(`${target.name}: status ${status}: ${body.slice(0, 200)}`);
      else if (body.includes("nothing was invalidated")) this.refused++;
      else this.unknown++;
      this.#note(sentAtMs, endedAtMs, said);
      this.onEnd({ sentAtMs, endedAtMs, status, ...(said && { said }) });
    } catch (error) {
      if (wasEnding || isEnding(target.name)) this.lost++;
      else this.#fail(`${target.name}: ${error}`);
    }
    if (--this.#inFlight === 0) this.#onIdle();
  }

  #note(sentAtMs: number, endedAtMs: number, said: Said | undefined): void {
    const second = Math.floor((sentAtMs - this.#beganAtMs) / 1_000);
    const seen = this.bySecond.get(second) ?? { acknowledged: 0, behind: 0, refused: 0, tookMs: [] };
    this.bySecond.set(second, seen);
    if (said === undefined) seen.refused++;
    else if (said.behind.length > 0) seen.behind++;
    else {
      seen.acknowledged++;
      seen.tookMs.push(endedAtMs - sentAtMs);
    }
  }

  #fail(what: string): void {
    this.failed++;
    if (this.failures.length < maxFailuresKept) this.failures.push(what);
  }

  /** Half popular keys, half any keys: keys that are requested all the time, and keys that are rarely requested. */
  #drawn(): Message {
    const { origin: { keyspace }, random, zipf } = this.#options;
    const rank = () => random() < 0.5 ? zipf.draw() : Math.floor(random() * keyspace.size);
    const some = <Name>(most: number, name: (rank: number) => Name) =>
      Array.from({ length: 1 + Math.floor(random() * most) }, () => name(rank()));
    const soft = random() < softShare ? { soft: true } : {};
    const kind = Math.floor(random() * 3);
    if (kind === 0) return { keys: some(3, keyspace.keyOf), ...soft };
    if (kind === 1) return { prefixes: some(1, (rank) => keyspace.prefixOf(rank)), ...soft };
    return { tags: some(2, (rank) => keyspace.tagsOf(rank)[random() < 0.5 ? 0 : 1]), ...soft };
  }
}

/** Sends one key with `PURGE`, all others as JSON. */
function send(url: string, message: Message): Promise<{ status: number; body: string }> {
  const { keys = [], soft } = message;
  if (keys.length === 1) {
    return askRaw(url, { method: "PURGE", target: `/cache/${groupName}/${keys[0]}?wait${soft ? "&soft" : ""}` });
  }
  const body = JSON.stringify(message);
  const lines = ["Content-Type: application/json", `Content-Length: ${body.length}`];
  return askRaw(url, { method: "POST", target: `/_admin/groups/${groupName}/invalidate?wait`, lines, body });
}
