/**
 * The oldest values that each node may answer with. A call that a node has applied, by its own answer or another's,
 * binds that node from then on, and every node that starts later. So do the calls before it in the log. A request is
 * judged by the calls that bound its node when it was sent.
 */
import type { Answer } from "../support/http-client.ts";
import { countedIn, type Keyspace } from "./counted-values.ts";

/** A place in the log. Later lives of the log have higher epochs. */
export interface Place {
  readonly epoch: number;
  readonly sequence: number;
}

/** A call that was answered with 200. */
export interface Acknowledged extends Place {
  /** For the report. */
  readonly what: string;
  readonly ranks: readonly number[];
  /** The origin's counts before it was sent, by the order of the ranks. */
  readonly counts: readonly number[];
  readonly applied: readonly string[];
  readonly behind: readonly string[];
  readonly acknowledgedAtMs: number;
}

/** An answer with a value that an invalidation had covered, although the node had applied that invalidation. */
export interface Violation {
  readonly node: string;
  readonly key: string;
  readonly got: number;
  readonly least: number;
  /** From the acknowledgement to the request, and to its answer, in milliseconds. */
  readonly sentAfterMs: number;
  readonly answeredAfterMs: number;
  readonly atMs: number;
  readonly cacheStatus: string;
  readonly call: Omit<Acknowledged, "ranks" | "counts">;
}

interface Bound {
  readonly least: Int32Array;
  /** By rank: the call behind the count. */
  readonly by: (Acknowledged | undefined)[];
  at: Place;
}

const start: Place = { epoch: 0, sequence: 0 };
const maxViolationsKept = 50;

export class Ledger {
  readonly #keyspace: Keyspace;
  /** In the order of the log. */
  readonly #calls: Acknowledged[] = [];
  readonly #nodes = new Map<string, Bound>();
  readonly #beganAtMs = performance.now();
  readonly violations: Violation[] = [];
  violated = 0;
  /** Answers to requests for keys that some call had covered at that node. */
  checked = 0;
  answers = 0;
  /** Answers while `isCounting`, and how many of them came from the node's own memory. */
  counted = 0;
  hits = 0;
  isCounting = false;
  /** Answers that say `behind`. */
  behind = 0;
  /** Answers, by node, that were older than an acknowledged call which did not bind the node, as it was behind. */
  readonly olderWhileBehind = new Map<string, number>();
  #lastOlderAtMs = 0;
  readonly #all: Bound;

  constructor(keyspace: Keyspace) {
    this.#keyspace = keyspace;
    this.#all = this.#unbound();
  }

  /** When the last request was sent whose answer was older than an acknowledged call; 0: there was none. */
  get lastOlderAtMs(): number {
    return this.#lastOlderAtMs;
  }

  /** Call it before a node starts: every acknowledged call binds it. */
  starts(name: string): void {
    const { least, by, at } = this.#all;
    this.#nodes.set(name, { least: least.slice(), by: by.slice(), at });
  }

  /** The node's position, by the calls that it is known to have applied. */
  placeOf(name: string): Place {
    return this.#boundOf(name).at;
  }

  add(call: Acknowledged): void {
    this.#insert(call);
    this.#raise(this.#all, call);
    if (isAfter(call, this.#all.at)) this.#all.at = call;
    for (const name of call.applied) this.#boundOf(name);
    for (const [name, bound] of this.#nodes) {
      if (!isAfter(call, bound.at)) this.#raise(bound, call);
      else if (call.applied.includes(name)) this.#advance(bound, call);
    }
  }

  /** Call it when a request is sent. */
  readonly judge = (node: string, key: string): (answer: Answer) => string | undefined => {
    const rank = this.#keyspace.rankOf(key);
    const bound = this.#boundOf(node);
    const [least, by] = [bound.least[rank]!, bound.by[rank]];
    const leastOfAll = this.#all.least[rank]!;
    const sentAtMs = performance.now();
    return ({ body, cacheStatus }) => {
      const counted = countedIn(body);
      if (counted?.key !== key) return "wrong bytes";
      this.answers++;
      if (this.isCounting) this.counted++;
      if (this.isCounting && cacheStatus.includes("; hit")) this.hits++;
      if (cacheStatus.endsWith("detail=behind")) this.behind++;
      if (by !== undefined) this.checked++;
      const got = counted.count;
      if (got < leastOfAll) {
        this.#lastOlderAtMs = sentAtMs;
        if (got >= least) this.olderWhileBehind.set(node, (this.olderWhileBehind.get(node) ?? 0) + 1);
      }
      if (got >= least) return undefined;
      this.violated++;
      if (this.violations.length >= maxViolationsKept) return undefined;
      const { ranks: _ranks, counts: _counts, ...call } = by!;
      const nowMs = performance.now();
      this.violations.push({
        node,
        key,
        got,
        least,
        sentAfterMs: Math.round(sentAtMs - call.acknowledgedAtMs),
        answeredAfterMs: Math.round(nowMs - call.acknowledgedAtMs),
        atMs: Math.round(nowMs - this.#beganAtMs),
        cacheStatus,
        call,
      });
      return undefined;
    };
  };

  #boundOf(name: string): Bound {
    const known = this.#nodes.get(name) ?? this.#unbound();
    this.#nodes.set(name, known);
    return known;
  }

  #unbound(): Bound {
    return {
      least: new Int32Array(this.#keyspace.size),
      by: new Array(this.#keyspace.size).fill(undefined),
      at: start,
    };
  }

  #raise({ least, by }: Bound, call: Acknowledged): void {
    call.ranks.forEach((rank, i) => {
      if (call.counts[i]! <= least[rank]!) return;
      least[rank] = call.counts[i]!;
      by[rank] = call;
    });
  }

  /** Binds by all calls from the node's position up to this one. */
  #advance(bound: Bound, to: Acknowledged): void {
    for (let i = this.#calls.length - 1; i >= 0; i--) {
      const call = this.#calls[i]!;
      if (!isAfter(call, bound.at)) break;
      if (!isAfter(call, to)) this.#raise(bound, call);
    }
    bound.at = to;
  }

  #insert(call: Acknowledged): void {
    let at = this.#calls.length;
    while (at > 0 && isAfter(this.#calls[at - 1]!, call)) at--;
    this.#calls.splice(at, 0, call);
  }
}

function isAfter(one: Place, other: Place): boolean {
  return one.epoch > other.epoch || (one.epoch === other.epoch && one.sequence > other.sequence);
}
