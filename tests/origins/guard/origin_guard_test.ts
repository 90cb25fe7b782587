import assert from "node:assert/strict";
import {
  NotFoundError,
  OriginError,
  OriginTimeoutError,
  OriginUnreachableError,
  OverloadedError,
  PassThroughError,
  SlowRequestError,
} from "../../../lib/core/errors.ts";
import type { ForwardedAnswer, LoadContext } from "../../../lib/core/ports.ts";
import { type PeerRecord, type Roster, rosterOf } from "../../../lib/core/roster.ts";
import type { Answer } from "../../../lib/core/value.ts";
import { guardOf, type OriginGuard } from "../../../lib/origins/guard/origin-guard.ts";
import { type GuardPolicy, NO_GUARD } from "../../../lib/origins/guard/policy.ts";
import type { CheckedOrigin } from "../../../lib/origins/origin.ts";
import { UnansweredError } from "../../../lib/origins/unanswered.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { MemoryLog } from "../../support/log.ts";
import { test } from "../../support/test.ts";

const patient = new AbortController().signal;
const ANSWER: Answer = { body: new Uint8Array(1), contentType: "text/plain" };

/** An origin whose loads end when the test says so. */
class HeldOrigin implements CheckedOrigin {
  readonly asked: string[] = [];
  readonly ends: { resolve(answer: Answer): void; reject(error: unknown): void }[] = [];
  forward?: CheckedOrigin["forward"];
  /** The latest bound of idle connections. */
  mostIdle = Infinity;

  keepIdle(most: number): void {
    this.mostIdle = most;
  }

  isRetired = false;
  retire(): void {
    this.isRetired = true;
  }

  load(key: string, signal: AbortSignal, _context?: LoadContext): Promise<Answer> {
    this.asked.push(key);
    return new Promise((resolve, reject) => {
      this.ends.push({ resolve, reject });
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  }

  check(): Promise<string | undefined> {
    return Promise.resolve("a doubt");
  }

  close(): Promise<void> {
    this.asked.push("closed");
    return Promise.resolve();
  }
}

const peer = (name: string, more: Partial<PeerRecord> = {}): PeerRecord => ({
  name,
  url: `http://${name}`,
  incarnation: `life-of-${name}`,
  key: "A".repeat(43),
  state: "serving",
  weight: 1,
  zone: "",
  joined: "",
  version: "",
  runtime: "",
  ...more,
});
const roster = (...names: (string | PeerRecord)[]): Roster =>
  rosterOf("g", 1, names.map((name) => typeof name === "string" ? peer(name) : name));
const owners = ({ peers }: Roster) => peers.filter(({ state }) => state === "serving").map(({ name }) => name).join("");

function guarded(
  policy: Partial<GuardPolicy>,
  self = "a",
  origin = new HeldOrigin(),
  before?: { guard: OriginGuard; clock: ManualClock },
) {
  const clock = before?.clock ?? new ManualClock();
  const log = new MemoryLog();
  let shares = 0;
  const guard: OriginGuard = guardOf(origin, {
    group: "g",
    policy: { ...NO_GUARD, ...policy },
    self: { name: self, incarnation: `life-of-${self}` },
    loadTimeoutMs: 1_000,
    clock,
    log,
    onShare: () => shares++,
    before: before?.guard,
    random: () => 1,
  })!;
  return { guard, origin, clock, lines: log.lines, shares: () => shares };
}
/** From a larger share to its use: a load, what is given up, and what a roster takes to be everywhere. */
const GRACE_MS = 1_000 + 1_000 + 2_000;

test("a group that asks for no guard has none", () => {
  const origin = new HeldOrigin();
  const options = { group: "g", self: peer("a"), loadTimeoutMs: 1, clock: new ManualClock(), log: new MemoryLog() };
  assert.equal(guardOf(origin, { ...options, policy: NO_GUARD, onShare: () => {} }), undefined);
});

test("the check, the end and what an origin has besides are the origin's own", async () => {
  const { guard, origin } = guarded({ retries: 1 });
  assert.equal(await guard.check(), "a doubt");
  assert.deepEqual([guard.forward, guard.changedBy], [undefined, undefined]);
  await guard.close();
  assert.deepEqual(origin.asked, ["closed"]);
});

test("a node alone in its first list may load at once, and no more than the limit", async () => {
  const { guard, origin } = guarded({ maxConcurrent: 2 });
  const loads = ["1", "2", "3"].map((key) => guard.load(key, patient));
  await settle();
  assert.deepEqual(origin.asked, []);
  // It is not listed yet: others may be.
  assert.equal(owners(guard.ownersIn(roster("a"), true)), "a");
  assert.equal(guard.mayLoad, false);
  assert.equal(owners(guard.ownersIn(roster("a"))), "a");
  await settle();
  assert.deepEqual(origin.asked, ["1", "2"]);
  const figures = { running: 2, queued: 1, limit: 2, share: 2, refused: 0, broken: 0, breaker: null, retries: 0 };
  assert.deepEqual(guard.figures(), figures);
  origin.ends[0]!.resolve(ANSWER);
  assert.equal(await loads[0], ANSWER);
  await settle();
  assert.deepEqual(origin.asked, ["1", "2", "3"]);
});

test("a node that joins others owns nothing, and declines, until the others have long had less", async () => {
  const { guard, clock, shares } = guarded({ maxConcurrent: 8 }, "b");
  guard.ownersIn(roster("b"), true);
  guard.ownersIn(roster("a"));
  assert.equal(owners(guard.ownersIn(roster("a", "b"))), "a");
  assert.equal(guard.mayLoad, false);
  await clock.advance(GRACE_MS - 1);
  assert.deepEqual([guard.mayLoad, shares()], [false, 0]);
  await clock.advance(1);
  assert.deepEqual([guard.mayLoad, shares()], [true, 1]);
  assert.equal(owners(guard.ownersIn(roster("a", "b"))), "ab");
  assert.equal(guard.figures().limit, 4);
});

test("the origin keeps no more idle connections than this node may have requests, at each moment", async () => {
  const { guard, origin, clock } = guarded({ maxConcurrent: 4 });
  assert.equal(origin.mostIdle, 0);
  guard.ownersIn(roster("a"));
  assert.equal(origin.mostIdle, 4);
  guard.ownersIn(roster("a", "b"));
  assert.equal(origin.mostIdle, 2);
  guard.ownersIn(roster("a"));
  await clock.advance(GRACE_MS - 1);
  assert.equal(origin.mostIdle, 2);
  await clock.advance(1);
  assert.equal(origin.mostIdle, 4);
  assert.equal(guarded({ retries: 1 }).origin.mostIdle, Infinity);
});

test("an earlier life under the same name, and a list without this node, give no share", async () => {
  const { guard, clock } = guarded({ maxConcurrent: 8 });
  guard.ownersIn(roster(peer("a", { incarnation: "an earlier one" }), "b"));
  await clock.advance(GRACE_MS);
  assert.equal(guard.mayLoad, false);
  guard.ownersIn(roster("a", "b"));
  await clock.advance(GRACE_MS);
  assert.equal(guard.figures().limit, 4);
  assert.equal(owners(guard.ownersIn(roster("b"))), "b");
  assert.deepEqual([guard.mayLoad, guard.figures().limit], [false, 0]);
  // An empty list says nothing: this node goes on with what it had.
  guard.ownersIn(roster("a", "b"));
  await clock.advance(GRACE_MS);
  guard.ownersIn(roster("a"), true);
  await clock.advance(GRACE_MS);
  assert.equal(guard.figures().limit, 4);
});

test("with fewer slots than nodes only those with a slot are owners, the same on each node", async () => {
  const names = ["a", "b", "c", "d", "e"];
  const seen = new Set<string>();
  let slots = 0;
  for (const name of names) {
    const { guard, clock } = guarded({ maxConcurrent: 2 }, name);
    guard.ownersIn(roster(...names));
    await clock.advance(GRACE_MS);
    seen.add(owners(guard.ownersIn(roster(...names))));
    slots += guard.figures().limit!;
  }
  assert.equal(seen.size, 1);
  assert.equal([...seen][0]!.length, 2);
  assert.equal(slots, 2);
});

test("by another policy the requests that run still count, and the share grows after the grace period", async () => {
  const before = guarded({ maxConcurrent: 2 });
  before.guard.ownersIn(roster("a"));
  const loads = ["1", "2"].map((key) => before.guard.load(key, patient));
  await settle();
  const { guard, origin, clock } = guarded({ maxConcurrent: 3 }, "a", new HeldOrigin(), before);
  assert.deepEqual([before.origin.isRetired, origin.isRetired], [true, false], "idle connections count, too");
  guard.ownersIn(roster("a"));
  const more = ["3", "4", "5"].map((key) => guard.load(key, patient));
  await settle();
  assert.deepEqual(origin.asked, []);
  before.origin.ends[0]!.resolve(ANSWER);
  assert.equal(await loads[0], ANSWER);
  await settle();
  assert.deepEqual(origin.asked, ["3"]);
  await before.guard.close();
  await clock.advance(GRACE_MS);
  assert.deepEqual([origin.asked, guard.figures().limit], [["3", "4"], 3]);
  for (const { resolve } of [before.origin.ends[1]!, ...origin.ends]) resolve(ANSWER);
  await Promise.all([loads[1], ...more.slice(0, 2)]);
  await settle();
  assert.deepEqual(origin.asked, ["3", "4", "5"]);
});

test("those who wait are served when the limit is taken away", async () => {
  const before = guarded({ maxConcurrent: 1 });
  const load = before.guard.load("1", patient);
  await settle();
  assert.deepEqual(before.origin.asked, []);
  guarded({ retries: 1 }, "a", new HeldOrigin(), before);
  await settle();
  assert.deepEqual(before.origin.asked, ["1"]);
  before.origin.ends[0]!.resolve(ANSWER);
  assert.equal(await load, ANSWER);
});

test("draining nodes have no share", async () => {
  const { guard, clock } = guarded({ maxConcurrent: 8 });
  guard.ownersIn(roster("a", peer("b", { state: "draining" })));
  await clock.advance(GRACE_MS);
  assert.equal(guard.figures().limit, 8);
  guard.ownersIn(roster(peer("a", { state: "draining" }), "b"));
  assert.equal(guard.figures().limit, 0);
});

test("a queue that is full or slow refuses, and the refusals are counted", async () => {
  const { guard, clock } = guarded({ maxConcurrent: 1, maxQueued: 1, queueTimeoutMs: 500 });
  guard.ownersIn(roster("a"));
  void guard.load("1", patient).catch(() => {});
  const slow = assert.rejects(guard.load("2", patient), OverloadedError);
  await assert.rejects(guard.load("3", patient), OverloadedError);
  await clock.advance(500);
  await slow;
  const { running, queued, refused } = guard.figures();
  assert.deepEqual([running, queued, refused], [1, 0, 2]);
});

test("the slot of a load that was given up is kept for a second", async () => {
  const { guard, origin, clock } = guarded({ maxConcurrent: 1 });
  guard.ownersIn(roster("a"));
  const leaving = new AbortController();
  const left = assert.rejects(guard.load("1", leaving.signal), /left/);
  void guard.load("2", patient);
  await settle();
  leaving.abort(new Error("left"));
  await left;
  await clock.advance(999);
  assert.deepEqual(origin.asked, ["1"]);
  await clock.advance(1);
  assert.deepEqual(origin.asked, ["1", "2"]);
  const slow = assert.rejects(guard.load("3", patient), OriginTimeoutError);
  void guard.load("4", patient);
  origin.ends[1]!.resolve(ANSWER);
  await settle();
  origin.ends[2]!.reject(new OriginTimeoutError("its own time is over"));
  await slow;
  await clock.advance(999);
  assert.deepEqual(origin.asked, ["1", "2", "3"]);
  await clock.advance(1);
  assert.deepEqual(origin.asked, ["1", "2", "3", "4"]);
});

test("a load without an answer is tried again after a pause, and no other failure is", async () => {
  const { guard, origin, clock } = guarded({ retries: 2 });
  const load = guard.load("k", patient);
  const fail = async (error: Error, pauseMs: number) => {
    await settle();
    origin.ends.at(-1)!.reject(error);
    await clock.advance(pauseMs - 1);
    const before = origin.asked.length;
    await clock.advance(1);
    return [before, origin.asked.length];
  };
  assert.deepEqual(await fail(new UnansweredError("lost"), 50), [1, 2]);
  assert.deepEqual(await fail(new UnansweredError("lost"), 100), [2, 3]);
  origin.ends.at(-1)!.resolve(ANSWER);
  assert.equal(await load, ANSWER);
  assert.equal(guard.figures().retries, 2);
  const last = assert.rejects(guard.load("k", patient), /the third/);
  await fail(new UnansweredError("the first"), 50);
  await fail(new UnansweredError("the second"), 100);
  await settle();
  origin.ends.at(-1)!.reject(new UnansweredError("the third"));
  await last;
  for (
    const error of [
      new OriginError("500"),
      new OriginTimeoutError("slow"),
      new NotFoundError("none"),
      new OverloadedError("busy"),
      new PassThroughError("long"),
    ]
  ) {
    const before = origin.asked.length;
    const failed = assert.rejects(guard.load("k", patient), (thrown) => thrown === error);
    await settle();
    origin.ends.at(-1)!.reject(error);
    await failed;
    assert.equal(origin.asked.length, before + 1);
  }
  assert.equal(clock.pending, 0);
});

test("retries are a share of the loads: ten are saved, and each load earns a part of one", async () => {
  const { guard, origin, clock } = guarded({ retries: 1, retryBudget: 0.5 });
  const fail = async () => {
    const failed = assert.rejects(guard.load("k", patient), OriginError);
    await settle();
    origin.ends.at(-1)!.reject(new UnansweredError("lost"));
    await clock.advance(50);
    origin.ends.at(-1)!.reject(new UnansweredError("lost"));
    await failed;
  };
  for (let loads = 0; loads < 40; loads++) await fail();
  // Ten, and one for each two loads; the first load found nothing to add to.
  const { retries } = guard.figures();
  assert.ok(retries >= 28 && retries <= 30, `${retries}`);
});

test("who leaves during the pause gets no retry", async () => {
  const { guard, origin, clock } = guarded({ retries: 1 });
  const leaving = new AbortController();
  const failed = assert.rejects(guard.load("k", leaving.signal), UnansweredError);
  await settle();
  origin.ends[0]!.reject(new UnansweredError("lost"));
  await settle();
  leaving.abort(new Error("left"));
  await failed;
  await clock.advance(1_000);
  assert.deepEqual([origin.asked.length, guard.figures().retries], [1, 0]);
});

test("failures of the origin open the breaker; not found, long values and callers who leave do not", async () => {
  const { guard, origin, clock, lines } = guarded({ breakerShare: 0.5, breakerPauseMs: 1_000 });
  const load = async (error: Error | undefined, signal = patient) => {
    const ended = guard.load("k", signal).catch((thrown: Error) => thrown);
    await settle();
    const end = origin.ends.at(-1)!;
    if (error === undefined) end.resolve(ANSWER);
    else end.reject(error);
    return await ended;
  };
  const left = new AbortController();
  for (let loads = 0; loads < 20; loads++) {
    await load(loads % 2 === 0 ? new NotFoundError("none") : new PassThroughError("long"));
    const gone = guard.load("k", left.signal).catch((thrown: Error) => thrown);
    await settle();
    if (loads === 19) left.abort(new Error("left"));
    else origin.ends.at(-1)!.reject(new OverloadedError("busy"));
    await gone;
  }
  assert.equal(guard.figures().breaker, "closed");
  for (let loads = 0; loads < 20; loads++) {
    await load(loads % 2 === 0 ? new OriginError("bad") : new UnansweredError("lost"));
  }
  assert.equal(guard.figures().breaker, "open");
  assert.match(lines.at(-1)!, /the origin of g fails: 20 of 40 requests/);
  const asked = origin.asked.length;
  await assert.rejects(guard.load("k", patient), OverloadedError);
  assert.deepEqual([origin.asked.length, guard.figures().broken], [asked, 1]);
  await clock.advance(1_000);
  assert.equal(await load(undefined), ANSWER);
  assert.equal(guard.figures().breaker, "closed");
  assert.match(lines.at(-1)!, /the origin of g answers again/);
});

test("a deadline and a site's 503 are failures", async () => {
  const { guard, origin } = guarded({ breakerShare: 1 });
  for (let loads = 0; loads < 10; loads++) {
    const late = new AbortController();
    const ended = guard.load("k", late.signal).catch(() => {});
    await settle();
    if (loads % 2 === 0) late.abort(new OriginTimeoutError("deadline"));
    else origin.ends.at(-1)!.resolve({ ...ANSWER, status: 503 });
    await ended;
  }
  assert.equal(guard.figures().breaker, "open");
});

test("a breaker that a lost way has opened says so: another node may reach the origin", async () => {
  for (
    const [fault, told] of [
      [new OriginUnreachableError("refused"), OriginUnreachableError],
      [new OriginError("500"), OverloadedError],
    ] as const
  ) {
    const { guard, origin } = guarded({ breakerShare: 1, breakerPauseMs: 60_000 });
    for (let i = 0; i < 10; i++) {
      const load = guard.load("k", patient);
      await settle();
      origin.ends.at(-1)!.reject(fault);
      await assert.rejects(load, fault);
    }
    assert.equal(guard.figures().breaker, "open");
    await assert.rejects(guard.load("k", patient), told);
    assert.equal(origin.asked.length, 10);
  }
});

test("an open breaker ends the retries", async () => {
  const { guard, origin, clock } = guarded({ breakerShare: 1, retries: 5, retryBudget: 1, breakerPauseMs: 60_000 });
  const loads = Array.from({ length: 3 }, () => assert.rejects(guard.load("k", patient), UnansweredError));
  for (let fails = 0; fails < 20; fails++) {
    await settle();
    for (const { reject } of origin.ends.splice(0)) reject(new UnansweredError("lost"));
    await clock.advance(2_000);
  }
  await Promise.all(loads);
  assert.equal(guard.figures().breaker, "open");
  assert.ok(origin.asked.length <= 12, `${origin.asked.length}`);
});

test("a request that goes through holds its slot until its body has ended, and is never tried again", async () => {
  const origin = new HeldOrigin();
  const bodies: ReadableStreamDefaultController<Uint8Array>[] = [];
  let fault: Error | undefined;
  origin.forward = () => {
    if (fault !== undefined) return Promise.reject(fault);
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void bodies.push(controller) });
    return Promise.resolve({ status: 200, fields: [], body, isStorable: false });
  };
  const { guard, clock } = guarded({ maxConcurrent: 1, retries: 3 }, "a", origin);
  guard.ownersIn(roster("a"));
  const request = { method: "POST", key: "k", fields: [], body: null };
  const forward = (signal = patient): Promise<ForwardedAnswer> => guard.forward!(request, signal);
  const running = () => [guard.figures().running, guard.figures().queued];

  const first = await forward();
  const second = forward();
  await settle();
  assert.deepEqual(running(), [1, 1]);
  bodies[0]!.enqueue(new Uint8Array([1, 2]));
  bodies[0]!.close();
  assert.deepEqual([...new Uint8Array(await new Response(first.body).arrayBuffer())], [1, 2]);
  // The site may not notice at once that the reader has left.
  await (await second).body.cancel();
  assert.deepEqual(running(), [1, 0]);
  await clock.advance(1_000);
  assert.deepEqual(running(), [0, 0]);

  const broken = await forward();
  bodies[2]!.error(new Error("cut"));
  await assert.rejects(new Response(broken.body).text(), /cut/);
  assert.deepEqual(running(), [0, 0]);

  fault = new UnansweredError("lost");
  await assert.rejects(forward(), UnansweredError);
  assert.deepEqual([running(), guard.figures().retries], [[0, 0], 0]);

  fault = undefined;
  const leaving = new AbortController();
  await forward(leaving.signal);
  leaving.abort(new Error("left"));
  await clock.advance(1_000);
  assert.equal((await forward()).status, 200);
});

test("a client's fault in the middle of its request is not the origin's, and its slot is kept for a second", async () => {
  const origin = new HeldOrigin();
  origin.forward = () => Promise.reject(new SlowRequestError("silent"));
  const { guard, clock } = guarded({ maxConcurrent: 1, breakerShare: 0.1 }, "a", origin);
  guard.ownersIn(roster("a"));
  for (let i = 0; i < 20; i++) {
    const request = { method: "POST", key: "k", fields: [], body: null };
    await assert.rejects(guard.forward!(request, patient), SlowRequestError);
    assert.equal(guard.figures().running, 1);
    await clock.advance(1_000);
  }
  assert.deepEqual([guard.figures().running, guard.figures().breaker], [0, "closed"]);
});

test("answers that break off open the breaker; complete answers, and those that their client leaves, close it", async () => {
  const origin = new HeldOrigin();
  let body: ReadableStreamDefaultController<Uint8Array>;
  origin.forward = () => {
    const stream = new ReadableStream<Uint8Array>({ start: (controller) => void (body = controller) });
    return Promise.resolve({ status: 200, fields: [], body: stream, isStorable: false });
  };
  const { guard, clock } = guarded({ breakerShare: 1, breakerPauseMs: 1_000 }, "a", origin);
  const request = { method: "POST", key: "k", fields: [], body: null };
  const answered = async (end: (answer: ForwardedAnswer) => Promise<unknown>) => {
    await end(await guard.forward!(request, patient));
    return guard.figures().breaker;
  };
  const broken = ({ body: content }: ForwardedAnswer) => {
    body.error(new OriginTimeoutError("idle"));
    return assert.rejects(new Response(content).text(), OriginTimeoutError);
  };
  for (let i = 0; i < 9; i++) assert.equal(await answered(broken), "closed");
  assert.equal(await answered(({ body: content }) => content.cancel()), "closed");
  for (let i = 0; i < 100; i++) await answered(broken);
  assert.equal(guard.figures().breaker, "open");
  await clock.advance(1_000);
  // The head of one answer is enough: other requests do not wait for its end.
  assert.equal(await answered(() => Promise.resolve()), "closed");
});
