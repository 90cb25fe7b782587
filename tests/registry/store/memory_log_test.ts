/** What the log in memory does beyond the contract: it is bounded, and a test can have one node lag. */
import assert from "node:assert/strict";
import { MAX_MESSAGE_BYTES } from "../../../lib/core/invalidation/message.ts";
import { MemoryStream } from "../../../lib/registry/store/memory-log.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { Recorder } from "./log_harnesses.ts";
import { bytesOf } from "../support.ts";

async function followed(stream: MemoryStream) {
  const log = stream.open();
  const recorder = new Recorder();
  log.followLog(recorder);
  await settle();
  recorder.events.length = 0;
  return { log, recorder };
}

test("a lagging node gets no messages, catches up when it goes on, and has a gap if messages were dropped", async () => {
  const stream = new MemoryStream(new ManualClock(), { maxMessages: 3 });
  const { log: other, recorder: witness } = await followed(stream);
  const { log, recorder } = await followed(stream);
  const lagsBehind = async (count: number): Promise<string[]> => {
    recorder.events.length = 0;
    log.hold();
    for (let i = 0; i < count; i++) {
      await other.publish("dict", bytesOf("x"));
      await other.catchUp();
    }
    let isThere = false;
    const caughtUp = log.catchUp().then(() => isThere = true);
    await settle();
    assert.deepEqual([recorder.events, isThere], [[], false]);
    log.release();
    await caughtUp;
    return recorder.events;
  };
  assert.deepEqual(await lagsBehind(3), ["take 1 dict x", "take 2 dict x", "take 3 dict x", "settled 3"]);
  assert.deepEqual(await lagsBehind(4), ["restart 7", "settled 7"]);
  assert.deepEqual(await lagsBehind(1), ["take 8 dict x", "settled 8"]);
  assert.equal(witness.told.length, 8, "the other one missed nothing");
});

test("no more than 16 MiB of messages are kept", async () => {
  const stream = new MemoryStream(new ManualClock());
  const { log, recorder } = await followed(stream);
  const most = 16 * 1024 * 1024 / MAX_MESSAGE_BYTES;
  const other = stream.open();
  log.hold();
  for (let i = 0; i < most; i++) await other.publish("dict", new Uint8Array(MAX_MESSAGE_BYTES));
  log.release();
  await log.catchUp();
  assert.equal(recorder.told.length, most);
  recorder.events.length = 0;
  log.hold();
  for (let i = 0; i < most + 1; i++) await other.publish("dict", new Uint8Array(MAX_MESSAGE_BYTES));
  log.release();
  await log.catchUp();
  assert.deepEqual(recorder.told, [`restart ${2 * most + 1}`]);
});

test("a published message is a copy, and each life begins later than the one before", async () => {
  const clock = new ManualClock();
  const stream = new MemoryStream(clock);
  const { log, recorder } = await followed(stream);
  const data = bytesOf("one");
  const published = log.publish("dict", data);
  data.fill(0);
  const { epoch } = await published;
  await settle();
  assert.deepEqual(recorder.told, ["take 1 dict one"]);
  assert.equal(epoch, clock.nowMs() * 1_000);
  const lives = [1, 2].map(() => {
    stream.lose();
    return stream.label.epoch;
  });
  assert.deepEqual(lives, [epoch + 1, epoch + 2], "also within one millisecond");
});

test("a node may close its log while it gets a message", async () => {
  const stream = new MemoryStream(new ManualClock());
  const log = stream.open();
  const recorder = new Recorder();
  const take = recorder.take.bind(recorder);
  recorder.take = (sequence, group, data) => {
    take(sequence, group, data);
    log.close();
  };
  log.followLog(recorder);
  await settle();
  for (let i = 0; i < 3; i++) void log.publish("dict", bytesOf("x"));
  await settle();
  assert.deepEqual(recorder.events, ["restart 0", "settled 0", "take 1 dict x"]);
});
