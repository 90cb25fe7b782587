/** The pipe between a worker and the log in its supervisor's memory, beyond the contract of a log. */
import assert from "node:assert/strict";
import { UnavailableError } from "../../lib/core/errors.ts";
import { MemoryStream } from "../../lib/registry/store/memory-log.ts";
import { PipeLog, serveLog, type ToLog } from "../../lib/workers/pipe-log.ts";
import { ManualClock, settle } from "../support/clock.ts";
import { test } from "../support/test.ts";
import { Recorder } from "../registry/store/log_harnesses.ts";
import { bytesOf } from "../registry/support.ts";

/** A worker's log, the supervisor's end of it, and the messages of the worker. */
function piped() {
  const behind = new MemoryStream(new ManualClock()).open();
  const asked: ToLog[] = [];
  const log: PipeLog = new PipeLog((message) => {
    asked.push(message);
    queueMicrotask(() => serve(message));
  });
  const serve = serveLog(behind, (message) => queueMicrotask(() => log.receive(message)));
  const recorder = new Recorder();
  log.followLog(recorder);
  return { behind, log, recorder, asked };
}

test("a worker has caught up when its supervisor has, and at most two of its questions are under way", async () => {
  const { behind, log, recorder, asked } = piped();
  await settle();
  behind.hold();
  await log.publish("dict", bytesOf("one"));
  let done = 0;
  const calls = Array.from({ length: 10 }, async () => {
    await log.catchUp();
    done++;
  });
  await settle();
  calls.push(...Array.from({ length: 10 }, () => log.catchUp()));
  await settle();
  assert.deepEqual([done, recorder.told], [0, ["restart 0"]]);
  behind.release();
  await Promise.all(calls);
  assert.deepEqual(recorder.told, ["restart 0", "take 1 dict one"]);
  assert.equal(asked.filter(({ type }) => type === "catch-up").length, 2);
});

test("bytes that are no text are refused", async () => {
  const { log, recorder } = piped();
  await assert.rejects(
    log.publish("dict", new Uint8Array([0x22, 0xff, 0x22])),
    (error) => error instanceof UnavailableError && !error.isAmbiguous && /UTF-8/.test(error.message),
  );
  await settle();
  assert.deepEqual(recorder.told, ["restart 0"]);
});

test("a worker whose supervisor has ended leaves nobody waiting", async () => {
  const sent: ToLog[] = [];
  const log = new PipeLog((message) => sent.push(message));
  const caughtUp = log.catchUp();
  const published = log.publish("dict", bytesOf("one"));
  await settle();
  assert.deepEqual(sent.map(({ type }) => type).sort(), ["catch-up", "publish"]);
  log.close();
  await caughtUp;
  await assert.rejects(published, (error) => error instanceof UnavailableError && error.isAmbiguous);
});
