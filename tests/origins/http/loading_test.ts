/** What bodies of several loads may hold together. */
import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { OverloadedError } from "../../../lib/core/errors.ts";
import { LoadingBytes } from "../../../lib/core/load/loading-bytes.ts";
import { collect, type Exchanged } from "../../../lib/origins/http/client.ts";
import { readWhole } from "../../../lib/origins/http/answer.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

/** An answer in chunks of 40 bytes; tells how many were read, and whether the rest was given up. */
function answer(chunks: number, length?: number) {
  const seen = { read: 0, isDestroyed: false };
  async function* body() {
    for (; seen.read < chunks; seen.read++) yield new Uint8Array(40);
  }
  const told = Object.assign(body(), { destroy: () => seen.isDestroyed = true });
  const fields = length === undefined ? [] : [["content-length", String(length)] as const];
  return { seen, exchanged: { body: told as unknown as IncomingMessage, fields } as unknown as Exchanged };
}

function make() {
  const clock = new ManualClock();
  return {
    clock,
    all: new LoadingBytes({ clock, maxBytes: 100, maxWaitMs: 1_000 }),
    signal: new AbortController().signal,
  };
}

test("a body of a known length waits for its room before it is read", async () => {
  const { all, signal } = make();
  const [one, two] = [all.begin(), all.begin()];
  one.hold(60, signal);
  const { seen, exchanged } = answer(2, 80);
  const read = readWhole(collect(exchanged, 1_000, { loading: two, signal }), exchanged, "it", signal);
  await settle();
  assert.deepEqual([seen.read, all.bytes], [0, 60]);
  one.end();
  assert.equal((await read)!.length, 80);
  assert.equal(all.bytes, 80, "until its load ends");
  two.end();
  assert.equal(all.bytes, 0);
});

test("a body that finds no room for its next bytes is given up, and the client is told to come again", async () => {
  const { all, signal } = make();
  const [one, two] = [all.begin(), all.begin()];
  one.hold(50, signal);
  const { seen, exchanged } = answer(9);
  const read = readWhole(collect(exchanged, 1_000, { loading: two, signal }), exchanged, "it", signal);
  await assert.rejects(read, OverloadedError);
  assert.ok(seen.isDestroyed);
  assert.ok(seen.read < 3);
});

test("a body that has waited too long for its room is given up", async () => {
  const { all, clock, signal } = make();
  all.begin().hold(100, signal);
  const { seen, exchanged } = answer(1);
  const read = readWhole(collect(exchanged, 1_000, { loading: all.begin(), signal }), exchanged, "it", signal);
  const refused = assert.rejects(read, OverloadedError);
  await clock.advance(1_000);
  await refused;
  assert.ok(seen.isDestroyed);
});
