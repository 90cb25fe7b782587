import assert from "node:assert/strict";
import { OverloadedError } from "../../../lib/core/errors.ts";
import { type AnswerPort, LongAnswers, MAX_WHOLE_BYTES } from "../../../lib/http/fast/long-answers.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

const MIB = 2 ** 20;
const get = () => new Request("http://node/cache/big/key");

function made(isSliced: boolean) {
  const clock = new ManualClock();
  const answered = new Set<Request>();
  const hurried: Request[] = [];
  const port: AnswerPort = {
    isSliced,
    isAnswered: (request) => answered.has(request),
    hurry: (request) => hurried.push(request),
    mayBeSilent() {},
  };
  return { answers: new LongAnswers(port, clock), clock, answered, hurried };
}

async function bytesOf(body: BodyInit): Promise<Uint8Array> {
  return new Uint8Array(await new Response(body).arrayBuffer());
}

test("a long body arrives byte for byte in slices; a short one, and that of a HEAD, is the very same object", async () => {
  const { answers } = made(true);
  const long = new Uint8Array(MIB + 77).map((_, i) => i % 251);
  const short = new Uint8Array(MAX_WHOLE_BYTES);
  assert.equal(answers.bodyOf(short, get()), short);
  assert.equal(answers.bodyOf(long, new Request("http://node/", { method: "HEAD" })), long);
  const part = answers.bodyOf(long.subarray(5, MIB), get());
  assert.deepEqual(await bytesOf(answers.bodyOf(long, get())), long);
  assert.deepEqual(await bytesOf(part), long.subarray(5, MIB));
  assert.equal(answers.sendingBytes, 0);
});

test("a client that takes nothing for 30 s loses its answer, and the value is free; one that takes some keeps it", async () => {
  const { answers, clock } = made(true);
  const stalled = (answers.bodyOf(new Uint8Array(2 * MIB), get()) as ReadableStream<Uint8Array>).getReader();
  const slow = (answers.bodyOf(new Uint8Array(3 * MIB), get()) as ReadableStream<Uint8Array>).getReader();
  await stalled.read();
  await slow.read();
  assert.equal(answers.sendingBytes, 5 * MIB);
  for (let s = 0; s < 40; s += 20) {
    await clock.advance(20_000);
    await slow.read();
  }
  assert.equal(answers.sendingBytes, 3 * MIB);
  await assert.rejects(stalled.read(), /taken nothing/);
  await slow.cancel();
  assert.equal(answers.sendingBytes, 0);
});

test("over 256 MiB of values the answers that stall make room; with none, the next is refused", async () => {
  const { answers, clock } = made(true);
  const values = Array.from({ length: 16 }, () => new Uint8Array(16 * MIB));
  const readers = values.map((value) => (answers.bodyOf(value, get()) as ReadableStream<Uint8Array>).getReader());
  // The same value again takes nothing more.
  void (answers.bodyOf(values[3]!, get()) as ReadableStream).cancel();
  assert.equal(answers.sendingBytes, 256 * MIB);
  assert.throws(() => answers.bodyOf(new Uint8Array(16 * MIB), get()), OverloadedError);
  await clock.advance(1_000);
  await Promise.all(readers.slice(1).map((reader) => reader.read()));
  const next = answers.bodyOf(new Uint8Array(16 * MIB), get());
  await assert.rejects(readers[0]!.read(), /taken nothing/);
  assert.equal(answers.sendingBytes, 256 * MIB);
  await (next as ReadableStream).cancel();
  assert.equal((await readers[1]!.read()).done, false);
});

test("whole answers are looked after until the server has sent them, and hurried when there is no room", async () => {
  const { answers, clock, answered, hurried } = made(false);
  const requests = Array.from({ length: 16 }, get);
  for (const request of requests) answers.bodyOf(new Uint8Array(16 * MIB), request);
  assert.throws(() => answers.bodyOf(new Uint8Array(16 * MIB), get()), OverloadedError);
  assert.deepEqual(hurried, []);
  await clock.advance(1_000);
  assert.throws(() => answers.bodyOf(new Uint8Array(16 * MIB), get()), OverloadedError);
  assert.equal(hurried.length, 16);
  answered.add(requests[7]!);
  const body = new Uint8Array(16 * MIB);
  assert.equal(answers.bodyOf(body, requests[7]!), body);
  for (const request of requests) answered.add(request);
  await clock.advance(1_000);
  assert.equal(answers.sendingBytes, 0);
});
