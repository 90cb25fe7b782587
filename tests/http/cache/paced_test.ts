import assert from "node:assert/strict";
import { SlowRequestError } from "../../../lib/core/errors.ts";
import { paced } from "../../../lib/http/cache/paced.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

const limits = { sourceMs: 1_000, readerMs: 300 };

/** A source that gives a byte when it is told to. */
function source() {
  let give: (byte: number) => void = () => {};
  const state = { reason: undefined as unknown, give: (byte: number) => give(byte), reads: 0 };
  const stream = new ReadableStream<Uint8Array>({
    pull: (controller) =>
      new Promise((pulled) => {
        state.reads++;
        give = (byte) => {
          controller.enqueue(new Uint8Array([byte]));
          pulled();
        };
      }),
    cancel: (reason) => void (state.reason = reason),
  }, { highWaterMark: 0 });
  return { state, stream };
}

test("a stream goes through, read no faster than it is taken", async () => {
  const clock = new ManualClock();
  const bytes = new Blob(["some text"]).stream();
  assert.equal(await new Response(paced(bytes, clock, limits)).text(), "some text");
  const { state, stream } = source();
  paced(stream, clock, limits);
  await clock.advance(100);
  assert.equal(state.reads, 0);
});

test("a source that is silent for too long is cancelled, and the reader hears of it", async () => {
  const clock = new ManualClock();
  const { state, stream } = source();
  const reader = paced(stream, clock, limits).getReader();
  const first = reader.read();
  await clock.advance(900);
  state.give(7);
  assert.equal((await first).value![0], 7);
  const second = reader.read();
  const failed = assert.rejects(second, /source was silent for 1000 ms/);
  await clock.advance(1_000);
  await failed;
  assert.match(String(state.reason), /silent/);
});

test("a reader that takes nothing for too long ends the source, at its first piece too", async () => {
  for (const taken of [0, 1]) {
    const clock = new ManualClock();
    const { state, stream } = source();
    const reader = paced(stream, clock, limits).getReader();
    if (taken === 1) {
      const first = reader.read();
      await clock.advance(0);
      state.give(1);
      await first;
    }
    await clock.advance(299);
    assert.equal(state.reason, undefined);
    await clock.advance(1);
    assert.match(String(state.reason), /reader was silent for 300 ms/);
    await assert.rejects(reader.read());
  }
});

test("a reader that goes away ends the source, and no timer is left", async () => {
  const clock = new ManualClock();
  const { state, stream } = source();
  await paced(stream, clock, limits).cancel("gone");
  assert.equal(state.reason, "gone");
  await clock.advance(10_000);
  assert.equal(state.reason, "gone");
});

test("a silent source ends the body with the caller's own error", async () => {
  const clock = new ManualClock();
  const sourceError = (silentMs: number) => new SlowRequestError(`nothing for ${silentMs} ms`);
  const read = paced(source().stream, clock, { sourceMs: 1_000, sourceError }).getReader().read();
  const failed = assert.rejects(read, SlowRequestError);
  await clock.advance(1_000);
  await failed;
});
