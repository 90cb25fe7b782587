import assert from "node:assert/strict";
import { LiveFeed, MAX_LISTENERS, type Parts } from "../../../lib/http/status/page/live.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { type Defer, test } from "../../support/test.ts";

function feedWith(parts: Parts) {
  const clock = new ManualClock();
  const ended = new AbortController();
  const state = { parts, renders: 0, isFailing: false };
  const render = () => {
    state.renders++;
    return state.isFailing ? Promise.reject(new Error("no figures")) : Promise.resolve(state.parts);
  };
  const feed = new LiveFeed({ clock, render, ended: ended.signal });
  /** Opens a stream, whose messages are kept as they come. */
  const listen = (defer: Defer) => {
    const gone = new AbortController();
    const response = feed.answer({ method: "GET", signal: gone.signal });
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    const messages: Parts[] = [];
    const state = { isOver: false };
    const read = (async () => {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        if (value.startsWith("data: ")) messages.push(JSON.parse(value.slice(6)));
      }
      state.isOver = true;
    })();
    defer(() => reader.cancel().catch(() => {}));
    return { response, messages, state, gone, reader, read };
  };
  return { clock, ended, state, feed, listen };
}

/** A stream's chunks travel by tasks, not by promise reactions alone. */
async function arrived(): Promise<void> {
  await settle();
  await new Promise((turn) => setTimeout(turn, 0));
  await settle();
}

test("a listener gets all parts first, then those that change, and a message each second", async (defer) => {
  const { clock, state, listen } = feedWith({ a: "1", b: "1" });
  const { response, messages } = listen(defer);
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  assert.equal(response.headers.get("cache-control"), "no-store");
  await clock.advance(1_000);
  state.parts = { a: "2", b: "1" };
  await clock.advance(1_000);
  await clock.advance(1_000);
  const later = listen(defer);
  await clock.advance(1_000);
  await arrived();
  assert.deepEqual(messages, [{ a: "1", b: "1" }, { a: "2" }, {}, {}]);
  assert.deepEqual(later.messages, [{ a: "2", b: "1" }]);
});

test("while nobody listens nothing is rendered, and no timer runs", async (defer) => {
  const { clock, state, feed, listen } = feedWith({ a: "1" });
  await clock.advance(10_000);
  assert.equal(state.renders, 0);
  const { gone } = listen(defer);
  await clock.advance(1_000);
  gone.abort();
  assert.equal(feed.size, 0);
  await clock.advance(10_000);
  assert.ok(state.renders <= 2);
  assert.equal(clock.pending, 0);
});

test("a listener that comes back after all have left gets all parts again", async (defer) => {
  const { clock, listen } = feedWith({ a: "1" });
  const first = listen(defer);
  await clock.advance(1_000);
  await first.reader.cancel();
  const second = listen(defer);
  await clock.advance(1_000);
  await arrived();
  assert.deepEqual(second.messages, [{ a: "1" }]);
});

test("figures that cannot be had are one message less, and the stream goes on", async (defer) => {
  const { clock, state, listen } = feedWith({ a: "1" });
  const { messages } = listen(defer);
  state.isFailing = true;
  await clock.advance(1_000);
  state.isFailing = false;
  await clock.advance(1_000);
  await arrived();
  assert.deepEqual(messages, [{}, { a: "1" }]);
});

test("at most 32 listen; the next is refused until one leaves", (defer) => {
  const { listen, feed } = feedWith({});
  const all = Array.from({ length: MAX_LISTENERS }, () => listen(defer));
  const refused = feed.answer({ method: "GET", signal: new AbortController().signal });
  assert.equal(refused.status, 503);
  assert.equal(refused.headers.get("retry-after"), "5");
  all[0]!.gone.abort();
  assert.equal(listen(defer).response.status, 200);
});

test("a HEAD has the headers of GET and opens no stream", () => {
  const { feed } = feedWith({});
  const head = feed.answer({ method: "HEAD", signal: new AbortController().signal });
  assert.equal(head.headers.get("content-type"), "text/event-stream");
  assert.equal(head.body, null);
  assert.equal(feed.size, 0);
});

test("a listener that reads nothing is let go before it fills the memory", async () => {
  const { clock, state, feed } = feedWith({});
  feed.answer({ method: "GET", signal: new AbortController().signal });
  for (let i = 0; i < 20; i++) {
    state.parts = { a: `${i}`.padEnd(100_000) };
    await clock.advance(1_000);
  }
  assert.equal(feed.size, 0);
});

test("when the node stops every stream ends, also in the middle of a rendering, and none can be opened", async (defer) => {
  const { clock, ended, feed, listen } = feedWith({ a: "1" });
  const { read, state } = listen(defer);
  const advanced = clock.advance(1_000);
  ended.abort();
  await advanced;
  await read;
  assert.ok(state.isOver);
  assert.equal(feed.size, 0);
  assert.equal(clock.pending, 0);
  assert.equal(feed.answer({ method: "GET", signal: new AbortController().signal }).status, 503);
});
