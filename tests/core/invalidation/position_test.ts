import assert from "node:assert/strict";
import { areSame, BLIND, type Label } from "../../../lib/core/invalidation/label.ts";
import type { Invalidation } from "../../../lib/core/invalidation/message.ts";
import { LogPosition, type LogReader } from "../../../lib/core/invalidation/position.ts";
import type { Log } from "../../../lib/core/base/log.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { at, encode, EPOCH, makePosition, now, SilentLog } from "./support.ts";

/** Writes down what one group is told, with where the node is then. */
class Listener implements LogReader {
  readonly heard: string[] = [];
  readonly #position: LogPosition;

  constructor(position: LogPosition) {
    this.#position = position;
  }

  restarted({ epoch, sequence }: Label): void {
    this.#hear(`restarted ${epoch}/${sequence}`);
  }

  moved(): void {
    this.#hear("moved");
  }

  told({ sequence }: Label, message: Invalidation | undefined): void {
    this.#hear(`told ${sequence} ${message === undefined ? "nonsense" : message.keys.join()}`);
  }

  touched(): void {
    this.#hear(this.#position.isAway ? "away" : "in touch");
  }

  #hear(what: string): void {
    this.heard.push(`${what} at ${this.#position.label.sequence}`);
  }

  take(): string[] {
    return this.heard.splice(0);
  }
}

function withListener(position: LogPosition, group = "dict"): Listener {
  const listener = new Listener(position);
  position.add(group, listener);
  return listener;
}

const key = (name: string) => encode({ keys: [name] });

test("each message goes to its group, in the order of the log, and all groups advance with it", () => {
  const { position, clock } = makePosition();
  const [one, other] = [withListener(position, "one"), withListener(position, "other")];
  position.restart(at(0));
  assert.deepEqual([one.take(), other.take()], [["restarted 7/0 at 0"], ["restarted 7/0 at 0"]]);
  position.take(1, "one", key("a"));
  position.take(2, "other", key("b"));
  position.take(3, "nobody", key("c"));
  position.take(7, "one", key("d"));
  assert.deepEqual(one.take(), [
    "moved at 1",
    "told 1 a at 1",
    "moved at 2",
    "moved at 3",
    "moved at 7",
    "told 7 d at 7",
  ]);
  assert.deepEqual(other.take(), ["moved at 1", "moved at 2", "told 2 b at 2", "moved at 3", "moved at 7"]);
  assert.ok(areSame(position.label, at(7)));
  position.settled(7, clock.nowMs());
  assert.deepEqual(one.take(), ["in touch at 7"], "there is nothing new");
});

test("values checked at one position share one label", () => {
  const { position, clock } = makePosition();
  assert.equal(position.label, BLIND);
  position.restart(at(0));
  const start = position.label;
  position.settled(0, clock.nowMs());
  position.away();
  assert.equal(position.label, start);
  position.take(1, "dict", key("a"));
  assert.notEqual(position.label, start);
});

test("settled moves a node on without a message, and never back", () => {
  const moves: number[] = [];
  const { position, clock } = makePosition({ onMoved: ({ sequence }) => moves.push(sequence) });
  const listener = withListener(position);
  position.restart(at(2));
  position.settled(5, clock.nowMs());
  position.settled(5, clock.nowMs());
  position.settled(3, clock.nowMs());
  assert.deepEqual(listener.take(), [
    "restarted 7/2 at 2",
    "moved at 5",
    "in touch at 5",
    "in touch at 5",
    "in touch at 5",
  ]);
  assert.deepEqual(moves, [2, 5]);
  assert.ok(areSame(position.label, at(5)));
});

test("a label counts by its number in this life of the log; one of another life is before all", () => {
  const { position } = makePosition();
  position.restart(at(5));
  assert.equal(position.numberOf(at(0)), 0);
  assert.equal(position.numberOf(at(5)), 5);
  assert.equal(position.numberOf(at(9)), 9, "of a node that is ahead");
  for (const epoch of [EPOCH - 1, EPOCH + 1]) assert.equal(position.numberOf(at(9, epoch)), -1);
  assert.equal(position.numberOf(BLIND), -1);
});

test("values loaded before the first contact are kept if this life of the log has had no message", () => {
  const { position } = makePosition();
  assert.equal(position.numberOf(BLIND), 0);
  position.restart(at(0));
  assert.equal(position.numberOf(BLIND), 0);
  position.take(1, "dict", key("a"));
  assert.equal(position.numberOf(BLIND), 0, "covered by message 1, but not by its label alone");
  // The log has been made anew: what was blind in its earlier life cannot be vouched for.
  position.restart(at(0, EPOCH + 1));
  assert.equal(position.numberOf(BLIND), -1);
  assert.equal(position.numberOf(at(0)), -1);
});

test("values loaded before the first contact are not kept if messages were missed", () => {
  const { position } = makePosition();
  position.restart(at(1));
  assert.equal(position.numberOf(BLIND), -1);
  // A later gap does not bring it back.
  position.restart(at(0, EPOCH + 1));
  assert.equal(position.numberOf(BLIND), -1);
});

test("a node has the labels that it applied, and none of another life of the log", () => {
  const { position } = makePosition();
  assert.ok(position.has(BLIND));
  assert.equal(position.has(at(0)), false, "it does not know that life");
  position.restart(at(3));
  assert.equal(position.has(BLIND), false, "out of touch, it does not know what stands in the log now");
  position.settled(3, 0);
  assert.ok(position.has(BLIND) && position.has(at(0)) && position.has(at(3)));
  assert.equal(position.has(at(4)), false);
  for (const epoch of [EPOCH - 1, EPOCH + 1]) assert.equal(position.has(at(1, epoch)), false);
});

test("an applied label is reached at once, without a look at the log", () => {
  const { position, log, clock } = makePosition();
  position.restart(at(3));
  position.settled(3, 0);
  assert.equal(position.reach(at(3), 250), true);
  assert.equal(position.reach(BLIND, 250), true);
  assert.deepEqual([log.looks, clock.pending], [0, 0]);
});

test("a label that is not applied yet makes the call wait, and starts a look at the log", async () => {
  const { position, log, clock } = makePosition();
  position.restart(at(0));
  const [four, five, six] = [4, 5, 6].map((sequence) => position.reach(at(sequence), 250));
  assert.equal(log.looks, 3);
  position.take(3, "dict", key("a"));
  assert.deepEqual(await Promise.all([four, five, six].map((one) => now(one!))), ["waits", "waits", "waits"]);
  position.take(5, "dict", key("a"));
  assert.deepEqual(await Promise.all([four, five, six].map((one) => now(one!))), [true, true, "waits"]);
  position.settled(6, clock.nowMs());
  assert.equal(await now(six!), true);
  assert.equal(clock.pending, 0, "no timer is left");
});

test("a log that delivers at once ends the wait", async () => {
  const clock = new ManualClock();
  const log = new SilentLog();
  const position = new LogPosition({ clock, log });
  log.catchUp = async () => position.take(4, "dict", key("a"));
  position.restart(at(0));
  assert.equal(await now(position.reach(at(4), 250)), true);
  assert.equal(clock.pending, 0);
});

test("the wait for a label that cannot be reached times out", async () => {
  const { position, clock } = makePosition();
  position.restart(at(0));
  const waits = position.reach(at(1), 250);
  await clock.advance(249);
  assert.equal(await now(waits), "waits");
  await clock.advance(1);
  assert.equal(await now(waits), false);
  position.take(1, "dict", key("a"));
  assert.equal(position.reach(at(1), 250), true);
});

test("a label of another life is reached when the node is in that life, not by a larger number", async () => {
  const { position } = makePosition();
  position.restart(at(0));
  const next = position.reach(at(2, EPOCH + 1), 250);
  const former = position.reach(at(2, EPOCH - 1), 250);
  position.take(9, "dict", key("a"));
  assert.deepEqual([await now(next), await now(former)], ["waits", false], "no node comes to a former one any more");
  position.restart(at(2, EPOCH + 1));
  assert.equal(await now(next), true);
});

test("without a log no further label is reached, and no call waits", async () => {
  const clock = new ManualClock();
  const position = new LogPosition({ clock });
  assert.equal(position.reach(BLIND, 250), true);
  assert.equal(await now(position.reach(at(1), 250)), false);
  assert.equal(clock.pending, 0);
});

test("only a bounded number of calls wait at once", async () => {
  const { position, log } = makePosition();
  position.restart(at(0));
  const waits = Array.from({ length: 20_000 }, () => position.reach(at(1), 250));
  assert.equal(await now(position.reach(at(1), 250)), false);
  assert.equal(log.looks, 20_000);
  position.take(1, "dict", key("a"));
  assert.ok((await Promise.all(waits)).every((isReached) => isReached));
  assert.equal(await now(position.reach(at(2), 250)), "waits", "there is room again");
});

test("each start and each loss of contact is reported", () => {
  let contacts = 0;
  const { position, clock } = makePosition({ onContact: () => contacts++ });
  const listener = withListener(position);
  assert.ok(position.isAway, "before the first contact");
  position.away();
  position.restart(at(0));
  assert.ok(position.isAway, "not all is told yet");
  position.settled(0, clock.nowMs());
  assert.equal(position.isAway, false);
  position.settled(0, clock.nowMs());
  assert.equal(contacts, 1);
  position.away();
  assert.ok(position.isAway);
  position.settled(0, clock.nowMs());
  assert.equal(contacts, 2);
  const heard = ["away at 0", "restarted 7/0 at 0", "in touch at 0", "in touch at 0", "away at 0", "in touch at 0"];
  assert.deepEqual(listener.take(), heard);
});

test("a node is blind since it sent the last question that was answered", async () => {
  const { position, clock } = makePosition();
  await clock.advance(100);
  assert.equal(position.blindMs, 100, "since it began");
  position.restart(at(0));
  position.settled(0, clock.nowMs() - 30);
  assert.equal(position.blindMs, 30);
  await clock.advance(20);
  position.settled(0, clock.nowMs() - 60);
  assert.equal(position.blindMs, 50, "an answer that was overtaken says nothing new");
  position.away();
  await clock.advance(1_000);
  assert.equal(position.blindMs, 1_050);
});

test("a node with its own log, or with none, is never blind", async () => {
  const own = makePosition({ log: new SilentLog(true) });
  const none = new LogPosition({ clock: own.clock });
  await own.clock.advance(10_000);
  own.position.away();
  assert.deepEqual([own.position.blindMs, none.blindMs, none.isAway], [0, 0, false]);
});

test("an unreadable message is skipped, and each complaint is logged once", () => {
  const said: string[] = [];
  const warn = (line: string) => void said.push(line);
  const say: Log = { debug: warn, info: warn, warn, error: warn };
  const { position } = makePosition({ say });
  const listener = withListener(position);
  position.restart(at(0));
  listener.take();
  const nonsense = new TextEncoder().encode("flush");
  position.take(1, "dict", nonsense);
  position.take(2, "dict", nonsense);
  position.take(3, "dict", key("a"));
  assert.deepEqual(listener.take().filter((line) => line.startsWith("told")), [
    "told 1 nonsense at 1",
    "told 2 nonsense at 2",
    "told 3 a at 3",
  ]);
  assert.deepEqual(said, ["cannot read invalidation 1 of dict: it is not JSON"]);
  position.take(4, "dict", new TextEncoder().encode("{}"));
  assert.equal(said.length, 2);
  assert.match(said[1]!, /invalidation 4 of dict: it covers nothing/);
  for (let i = 0; i < 100; i++) position.take(5 + i, "dict", new TextEncoder().encode(`{"field${i}":1}`));
  assert.equal(said.length, 8, "anybody may publish: the complaints are bounded");
  assert.ok(areSame(position.label, at(104)));
});

test("a group that is added late gets the messages from then on, and a removed one gets none", () => {
  const { position } = makePosition();
  position.restart(at(0));
  position.take(1, "late", key("a"));
  const late = withListener(position, "late");
  position.take(2, "late", key("b"));
  assert.deepEqual(late.take(), ["moved at 2", "told 2 b at 2"]);
  assert.throws(() => withListener(position, "late"), new TypeError("Cannot tell the log to late twice"));
  position.remove("late");
  position.take(3, "late", key("c"));
  position.away();
  position.restart(at(9));
  assert.deepEqual(late.take(), []);
  withListener(position, "late");
});
