import assert from "node:assert/strict";
import fc from "fast-check";
import { MAX_FRAME_BYTES } from "../../../lib/core/base/limits.ts";
import { MessageReader, MessageWriter, Opcode } from "../../../lib/peer/socket/rfc6455.ts";
import { test } from "../../support/test.ts";
import { unmask } from "../support.ts";

/** A frame as a server writes it: without a mask. */
function serverFrame(opcode: number, payload: Uint8Array, isFinal = true): Uint8Array {
  const n = payload.length;
  const head = n < 126
    ? [n]
    : n < 65536
    ? [126, n >> 8, n & 255]
    : [127, 0, 0, 0, 0, 0, n >> 16, n >> 8 & 255, n & 255];
  return Uint8Array.from([(isFinal ? 0x80 : 0) | opcode, ...head, ...payload]);
}

test("a message of any length is masked as the RFC says", () => {
  for (const length of [0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 1_000, 65_535, 65_536, 70_001]) {
    const payload = new Uint8Array(length).map((_, i) => i * 7);
    const message = new MessageWriter().message(Opcode.binary, payload);
    assert.deepEqual(unmask(message), { opcode: Opcode.binary, payload });
  }
});

test("a message stays as it is until its memory may be used again, as the socket may send it later", () => {
  const writer = new MessageWriter();
  const lengths = Array.from({ length: 3_000 }, (_, i) => i * 31 % 200 + (i % 500 === 7 ? 66_000 : 0));
  const payloads = lengths.map((length, i) => new Uint8Array(length).fill(i));
  const messages = payloads.map((payload) => writer.message(Opcode.binary, payload));
  messages.forEach((message, i) => assert.deepEqual(unmask(message).payload, payloads[i]));
});

test("memory is used again once it may be, and that of a very long message is not kept", () => {
  const writer = new MessageWriter();
  const buffers = [];
  for (let i = 0; i < 100; i++) {
    const payload = new Uint8Array(70_000 - 700 * i).fill(i);
    const message = writer.message(Opcode.binary, payload);
    assert.deepEqual(unmask(message).payload, payload);
    buffers.push(message.buffer);
    writer.reuse();
  }
  assert.equal(new Set(buffers).size, 1);
  const long = writer.message(Opcode.binary, new Uint8Array(600_000));
  writer.reuse();
  const next = writer.message(Opcode.binary, new Uint8Array(1));
  assert.equal(unmask(long).payload.length, 600_000);
  assert.ok(next.buffer.byteLength < 600_000);
});

test("a message that lies whole in its chunk is not copied; fragments are, as each would keep a chunk", () => {
  const read: Uint8Array[] = [];
  const reader = new MessageReader((_, payload) => read.push(payload));
  const chunk = new Uint8Array([...serverFrame(2, new Uint8Array(5).fill(1)), ...serverFrame(2, new Uint8Array(0))]);
  assert.equal(reader.read(chunk), undefined);
  assert.deepEqual(read, [new Uint8Array(5).fill(1), new Uint8Array(0)]);
  assert.ok(read.every(({ buffer }) => buffer === chunk.buffer));
  const first = new Uint8Array(serverFrame(2, new Uint8Array(3).fill(2), false));
  assert.equal(reader.read(first), undefined);
  first.fill(0);
  assert.equal(reader.read(new Uint8Array(serverFrame(0, new Uint8Array(1).fill(3)))), undefined);
  assert.deepEqual(read[2], Uint8Array.of(2, 2, 2, 3));
});

test("messages are read whole however the stream is cut, fragments and pings between them included", () => {
  const payload = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.constant(new Uint8Array(66_000).fill(5)));
  const message = fc.array(payload, { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(fc.array(message, { maxLength: 5 }), fc.array(fc.integer({ min: 1, max: 5_000 })), (messages, cuts) => {
      const frames = messages.flatMap((parts) =>
        parts.flatMap((part, i) => [
          serverFrame(i === 0 ? Opcode.binary : Opcode.continuation, part, i === parts.length - 1),
          serverFrame(Opcode.ping, new Uint8Array([i])),
        ])
      );
      const stream = Buffer.concat(frames);
      const read: Uint8Array[] = [];
      let pings = 0;
      const reader = new MessageReader((opcode, payload) => {
        if (opcode === Opcode.ping) pings++;
        else read.push(payload);
      });
      for (let at = 0, i = 0; at < stream.length; i++) {
        const size = cuts.length === 0 ? stream.length : cuts[i % cuts.length]!;
        assert.equal(reader.read(stream.subarray(at, at + size)), undefined);
        at += size;
      }
      assert.equal(pings, messages.flat().length);
      assert.deepEqual(read.map((bytes) => Buffer.from(bytes)), messages.map((parts) => Buffer.concat(parts)));
    }),
    { numRuns: 60 },
  );
});

test("frames that break the RFC or the bounds are refused, and random bytes never throw", () => {
  const read = (bytes: Uint8Array<ArrayBuffer>) => new MessageReader(() => {}).read(bytes) ?? "read";
  const huge = new Uint8Array(10);
  huge.set([0x82, 127]);
  new DataView(huge.buffer).setBigUint64(2, BigInt(MAX_FRAME_BYTES + 1));
  assert.match(read(huge), /too long/);
  huge.fill(0xff, 2);
  assert.match(read(huge), /too long/);
  assert.match(read(Uint8Array.of(0x82, 0x81, 0, 0, 0, 0, 1)), /malformed/);
  assert.match(read(Uint8Array.of(0xc2, 1, 1)), /malformed/);
  assert.match(read(Uint8Array.of(0x80, 1, 1)), /out of order/);
  assert.match(read(Uint8Array.of(0x02, 1, 1, 0x82, 1, 1)), /out of order/);
  assert.match(read(Uint8Array.of(0x09, 0)), /control frame/);
  assert.match(read(Uint8Array.of(0x89, 126, 0, 126)), /control frame/);
  const endless = Buffer.concat([serverFrame(2, new Uint8Array(1), false), Buffer.alloc(4_000, Buffer.from([0, 0]))]);
  assert.match(read(endless), /too many fragments/);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => void read(bytes)), { numRuns: 1_000 });
});
