/** Runs alone: it compares times. */
import assert from "node:assert/strict";
import { encodeInvalidation, type Invalidation, invalidationOf } from "../../../lib/core/invalidation/message.ts";
import { settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { CountingOrigin, makeGroup } from "../cluster.ts";
import { PLAIN, type Value } from "../../../lib/core/value.ts";
import { at, makePosition } from "./support.ts";

/** As many as are cheap to make; the figure for a million is in lib/core/invalidation/README.md. */
const MANY = 100_000;
const FEW = 100;
/** The most that a message may hold up the event loop, in milliseconds. */
const MOST_MS = 5;

/** A group with so many values that all have one tag, and a function that applies a message and gives its time. */
function makeFull(count: number) {
  const { clock, position } = makePosition();
  position.restart(at(0));
  const origin = new CountingOrigin();
  const { group } = makeGroup({ origin, clock, position, budgetBytes: 1_000_000_000, isHashed: true });
  const about = { ...PLAIN, tags: ["red"] };
  const times = { bornAtMs: clock.nowMs(), freshUntilMs: Infinity, staleWhileRevalidateMs: 0, staleIfErrorMs: 0 };
  const body = new Uint8Array(4);
  const fill = () => {
    const { label } = position;
    for (let i = 0; i < count; i++) {
      const value: Value = { body, contentType: "text/plain", loadMs: 0, about, ...times, label };
      group.accept([{ key: `k/${i}`, value }], "another node");
    }
  };
  const apply = (message: Partial<Invalidation>): number => {
    const data = encodeInvalidation(invalidationOf(message));
    const startMs = performance.now();
    position.take(position.label.sequence + 1, "dict", data);
    return performance.now() - startMs;
  };
  return { group, origin, position, fill, apply };
}

function least(times: readonly number[]): number {
  return Math.min(...times);
}

test("a message costs the same however many values it covers", () => {
  const messages: readonly Partial<Invalidation>[] = [
    { tags: ["red"] },
    { tags: ["red"], soft: true },
    { prefixes: ["k/"] },
    { all: true },
  ];
  const [many, few] = [makeFull(MANY), makeFull(FEW)];
  few.fill();
  many.fill();
  assert.equal(many.group.stats().mainCache.items, MANY);
  for (const message of messages) {
    // The least of some: a pause of the collector is none of the message's.
    const rounds = Array.from({ length: 5 }, () => [many.apply(message), few.apply(message)] as const);
    const [manyMs, fewMs] = [least(rounds.map(([ms]) => ms)), least(rounds.map(([, ms]) => ms))];
    assert.ok(manyMs < MOST_MS, `${JSON.stringify(message)}: ${manyMs} ms for ${MANY} values, ${fewMs} ms for ${FEW}`);
    assert.equal(many.group.stats().mainCache.items, MANY, "they are found out when somebody looks");
    for (let i = 0; i < 100; i++) assert.equal(many.group.lookup(`k/${i * 997}`), undefined);
    many.fill();
  }
});

test("a message with the most names allowed delays nothing", () => {
  const names = (what: string) => Array.from({ length: 1_000 }, (_, i) => `${what}/${i}`);
  const { apply, fill } = makeFull(1_000);
  fill();
  for (const message of [{ keys: names("k") }, { tags: names("t") }, { prefixes: names("p") }]) {
    const ms = least(Array.from({ length: 5 }, () => apply(message)));
    assert.ok(ms < MOST_MS, `${Object.keys(message)}: ${ms} ms`);
  }
});

test("a message with the most prefixes allowed delays nothing, even with many loads in flight", async () => {
  const { group, origin, apply } = makeFull(0);
  origin.gate = new Promise(() => {});
  const begin = async () => {
    for (let i = 0; i < 4_000; i++) void group.get(`some/longer/key/${i}`).catch(() => {});
    await settle();
  };
  const prefixes = Array.from({ length: 1_000 }, (_, i) => `some/longer/kez/${i}`);
  const times: number[] = [];
  for (let i = 0; i < 2; i++) {
    await begin();
    times.push(apply({ prefixes }));
  }
  assert.ok(least(times) < 4 * MOST_MS, `${least(times)} ms`);
});
