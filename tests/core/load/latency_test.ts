import assert from "node:assert/strict";
import { OriginError } from "../../../lib/core/errors.ts";
import { settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { CountingOrigin, makeCluster, makeGroup, text } from "../cluster.ts";
import { keysOfB } from "./support.ts";

const bucketsOf = ({ buckets }: { readonly buckets: Readonly<Record<string, number>> }) => buckets;

test("each question to a peer is timed, whether it is answered or fails", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const { clock, groups } = cluster;
  const a = groups.get("a")!;
  const [one, two] = keysOfB(cluster);
  await a.get(one!);
  assert.deepEqual(bucketsOf(a.stats().latency.hop), { "0.0001": 1 }, "by a clock that stands still");
  cluster.lateDeath("b", 200);
  const asked = a.get(two!);
  await clock.advance(200);
  await asked;
  assert.deepEqual(bucketsOf(a.stats().latency.hop), { "0.0001": 2, "0.25": 1 }, "b was lost, and c has answered");
  assert.equal(groups.get("b")!.stats().latency.hop.count, 0);
});

test("each load is timed, whatever its result, but not one that its callers gave up", async () => {
  const origin = new CountingOrigin();
  const { clock, group } = makeGroup({ origin });
  const load = async (key: string, tookMs: number, signal?: AbortSignal) => {
    const gate = Promise.withResolvers<void>();
    origin.gate = gate.promise;
    const got = group.get(key, signal === undefined ? {} : { signal }).then(() => {}, () => {});
    await settle();
    await clock.advance(tookMs);
    return { got, open: () => gate.resolve() };
  };
  for (const [key, tookMs] of [["good", 40], ["bad", 400]] as const) {
    origin.answer = (asked) => {
      if (asked === "bad") throw new OriginError("it failed");
      return text(asked);
    };
    const { got, open } = await load(key, tookMs);
    open();
    await got;
  }
  assert.deepEqual(bucketsOf(group.stats().latency.origin), { "0.05": 1, "0.5": 1 });
  const leaving = new AbortController();
  const { got, open } = await load("given up", 900, leaving.signal);
  leaving.abort();
  open();
  await got;
  await settle();
  assert.equal(group.stats().latency.origin.count, 2);

  const late = await load("too late", 10_000);
  late.open();
  await late.got;
  await settle();
  assert.deepEqual(bucketsOf(group.stats().latency.origin), { "0.05": 1, "0.5": 1, "10": 1 }, "the deadline ended it");
});
