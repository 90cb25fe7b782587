/**
 * Changing values: the keys, the messages that cover them, and an origin that counts a value up before a message covers
 * it.
 */
import { Buffer } from "node:buffer";
import type { IncomingHttpHeaders } from "node:http";
import { type Random, valueOf } from "./keys.ts";
import { CountingOrigin, type OriginAnswer } from "./origin.ts";

/** A message of the log, as clients send it. */
export interface Message {
  readonly keys?: readonly string[];
  readonly prefixes?: readonly string[];
  readonly tags?: readonly string[];
  readonly soft?: boolean;
}

/** Chosen: a message covers a few keys, so most of the load still hits. */
const keysPerName = 8;

/** Keys by rank. About eight share a prefix; other eights share each of two tags. */
export class Keyspace {
  readonly size: number;
  readonly #names: number;
  /** By prefix and by tag: the ranks that it covers. */
  readonly #covered = new Map<string, number[]>();

  constructor(size: number) {
    this.size = size;
    this.#names = Math.max(1, Math.floor(size / keysPerName));
    for (let rank = 0; rank < size; rank++) {
      for (const name of [this.prefixOf(rank), ...this.tagsOf(rank)]) {
        const ranks = this.#covered.get(name) ?? [];
        this.#covered.set(name, ranks);
        ranks.push(rank);
      }
    }
  }

  readonly keyOf = (rank: number): string => `${this.prefixOf(rank)}k${rank}`;

  rankOf(key: string): number {
    return Number(key.slice(key.indexOf(".k") + 2));
  }

  prefixOf(rank: number): string {
    return `s${rank % this.#names}.`;
  }

  /** Keys that share one tag do not share the other. */
  tagsOf(rank: number): readonly [string, string] {
    return [`t${(rank + Math.floor(rank / this.#names)) % this.#names}`, `u${Math.floor(rank / keysPerName)}`];
  }

  covered({ keys = [], prefixes = [], tags = [] }: Message): readonly number[] {
    const named = [...prefixes, ...tags].flatMap((name) => this.#covered.get(name) ?? []);
    return [...new Set([...keys.map((key) => this.rankOf(key)), ...named])];
  }
}

/** The contents of a body. */
export interface Counted {
  readonly key: string;
  readonly count: number;
}

function bodyOf(key: string, count: number): Buffer {
  return Buffer.concat([Buffer.from(`${key} ${count}\n`), valueOf(key)]);
}

/** `undefined`: there are other bytes than the origin sent for any key. */
export function countedIn(body: Buffer): Counted | undefined {
  const end = body.indexOf(10);
  const [key = "", count] = body.toString("latin1", 0, end).split(" ");
  return body.equals(bodyOf(key, Number(count))) ? { key, count: Number(count) } : undefined;
}

/**
 * Reads the count when a request arrives, and answers up to twice the delay later, so an answer is as old as its load
 * may be. A quarter of the values expire soon, so they are refreshed and validated all the time. The entity tag is the
 * count.
 */
export class CountedOrigin extends CountingOrigin {
  readonly keyspace: Keyspace;
  /** By rank. */
  readonly counts: Int32Array;
  /** How many loads were answered with 304. */
  validated = 0;
  readonly #random: Random;
  readonly #known = new Set<string>();

  constructor(keyspace: Keyspace, random: Random) {
    super();
    this.keyspace = keyspace;
    this.counts = new Int32Array(keyspace.size).fill(1);
    this.#random = random;
  }

  override get keysLoaded(): number {
    return this.#known.size;
  }

  /** Counts up; call it before sending a message that covers these. @returns the counts, in the order of the ranks */
  raise(ranks: readonly number[]): readonly number[] {
    return ranks.map((rank) => ++this.counts[rank]!);
  }

  protected override answer(key: string, by: string, sent: IncomingHttpHeaders): OriginAnswer {
    this.count(key, by);
    const rank = this.keyspace.rankOf(key);
    const count = this.counts[rank]!;
    const tags = this.keyspace.tagsOf(rank);
    const headers: Record<string, string> = { etag: `"${count}"` };
    if (rank % 2 === 0) headers["cache-tag"] = tags.join(",");
    else headers["surrogate-key"] = tags.join(" ");
    if (rank % 4 === 0) headers["cache-control"] = "max-age=3, stale-while-revalidate=3";
    const delayMs = 2 * this.delayMs * this.#random();
    if (sent["if-none-match"] !== headers.etag) return { status: 200, headers, body: bodyOf(key, count), delayMs };
    this.validated++;
    return { status: 304, headers, delayMs };
  }

  /** Every change costs a load, so none is extra. */
  protected override count(key: string, by: string): void {
    this.loads++;
    this.#known.add(key);
    this.onLoad(key, by);
  }
}
