/**
 * Fills a cache, and replaces what is in it several times, as a node in service does. Prints its resident memory as JSON.
 *
 * Arguments: the budget and the size of a body in bytes; the length of a key; how often the budget is replaced; `fields` for
 * values with HTTP fields and tags.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { hashOf } from "../../../lib/core/base/hash.ts";
import { costBy } from "../../../lib/core/cache/memory.ts";
import { SharedBudget } from "../../../lib/core/cache/shared-budget.ts";
import { type About, PLAIN } from "../../../lib/core/value.ts";
import { entryCosts, isHashFaster, startWithSettings } from "../../../lib/runtime/start/settings.ts";
import { allGood, valueOf } from "../support.ts";

export interface Churned {
  readonly budgetBytes: number;
  /** Resident memory above that of the empty process: the most, and at the end. */
  readonly mostBytes: number;
  readonly endBytes: number;
  /** As `/stats` shows them. */
  readonly items: number;
  readonly bytes: number;
  readonly memoryBytes: number;
}

/** Entries from one turn of the event loop to the next, and from one look at the memory to the next. Chosen. */
const AT_ONCE = 100;
const PAGE_BYTES = 4_096;

/** Fields as those of an answer that a CDN keeps, and two tags, that no other value shares. */
function aboutOf(at: number): About {
  return {
    ...PLAIN,
    fields: [
      ["cache-control".slice(0), `public, max-age=${at}`],
      ["last-modified", new Date(at * 1_000).toUTCString()],
      ["etag", `"${at}-abcdef"`],
      ["x-request-id", `${at}${at}`],
    ],
    etag: `"${at}-abcdef"`,
    hasOwnLifetime: true,
    hasOwnStale: false,
    tags: [`product-${at}`, `shelf-${at}`],
  };
}

function residentBytes(): number {
  return Number(readFileSync("/proc/self/statm", "latin1").split(" ")[1]) * PAGE_BYTES;
}

async function run([budget, body, key, rounds, kind]: string[]): Promise<void> {
  const [budgetBytes, bodyBytes, keyLength] = [Number(budget), Number(body), Number(key)];
  const caches = new SharedBudget(budgetBytes, allGood(), { isHashed: isHashFaster, costOf: costBy(entryCosts) });
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  await turn();
  const before = residentBytes();
  let most = 0;
  let replaced = 0;
  for (let at = 0; replaced < budgetBytes * Number(rounds);) {
    for (let i = 0; i < AT_ONCE; i++, at++) {
      const key = (at.toString(36) + "-").padEnd(keyLength, (hashOf(String(at)) >>> 0).toString(36));
      const times = { bornAtMs: 1.7e12 + at + 0.5, freshUntilMs: 1.7e12 + at + 60_000.5, loadMs: at % 100 + 0.25 };
      const value = valueOf(bodyBytes, {
        ...times,
        about: kind === "fields" ? aboutOf(at) : PLAIN,
        label: caches.validity.label,
      });
      value.body.fill(at);
      caches.store(caches.main, key, value);
    }
    replaced = caches.memoryBytes / caches.main.items * at;
    if (at % (10 * AT_ONCE) === 0 || bodyBytes > 10_000) most = Math.max(most, residentBytes() - before);
    await turn();
  }
  const { items, bytes, memoryBytes } = caches.main.stats();
  const told: Churned = {
    budgetBytes,
    mostBytes: most,
    endBytes: residentBytes() - before,
    items,
    bytes,
    memoryBytes,
  };
  console.log(JSON.stringify(told));
  process.exit(0);
}

if (import.meta.main) {
  startWithSettings();
  await run(process.argv.slice(2));
}
