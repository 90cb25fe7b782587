import assert from "node:assert/strict";
import fc from "fast-check";
import { PbfReader, PbfWriter } from "pbf";
import { NotFoundError } from "../../../lib/core/errors.ts";
import { decodeGetResponse, encodeGetResponse } from "../../../lib/http/cache/groupcache.ts";
import { test } from "../../support/test.ts";
import { appWith, valueOf } from "../support.ts";

interface Decoded {
  value?: Uint8Array;
  minuteQps?: number;
}

/** Reads the message with another library. */
function decodeWithPbf(bytes: Uint8Array): Decoded {
  return new PbfReader(bytes).readFields<Decoded>((tag, result, pbf) => {
    if (tag === 1) result.value = pbf.readBytes();
    if (tag === 2) result.minuteQps = pbf.readDouble();
  }, {});
}

test("another protobuf library and our own decoder read the same from an encoded GetResponse", () => {
  const response = fc.record({
    value: fc.uint8Array({ maxLength: 400 }),
    minuteQps: fc.option(fc.double(), { nil: undefined }),
  });
  fc.assert(fc.property(response, ({ value, minuteQps }) => {
    const bytes = encodeGetResponse({ value, minuteQps });
    const expected = minuteQps === undefined ? { value } : { value, minuteQps };
    assert.deepEqual(plain(decodeWithPbf(bytes)), plain(expected));
    assert.deepEqual(plain(decodeGetResponse(bytes)), plain(expected));
  }));
});

test("an encoded GetResponse has the bytes that golang/groupcache writes", () => {
  assert.deepEqual([...encodeGetResponse({ value: new TextEncoder().encode("hi") })], [0x0a, 2, 0x68, 0x69]);
  assert.deepEqual([...encodeGetResponse({ value: new Uint8Array(0) })], [0x0a, 0]);
  const qps = encodeGetResponse({ value: new Uint8Array(0), minuteQps: 1 });
  assert.deepEqual([...qps], [0x0a, 0, 0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
});

test("decoding skips unknown fields, takes the last value, and refuses bytes that are cut off", () => {
  const writer = new PbfWriter();
  writer.writeStringField(7, "unknown");
  writer.writeBytesField(1, new Uint8Array([1]));
  writer.writeVarintField(9, 300);
  writer.writeBytesField(1, new Uint8Array([2, 3]));
  assert.deepEqual([...decodeGetResponse(writer.finish()).value], [2, 3]);
  assert.equal(decodeGetResponse(new Uint8Array(0)).value.length, 0);
  const whole = encodeGetResponse({ value: new Uint8Array(200), minuteQps: 2 });
  for (const length of [1, 2, 3, 100, 202, 204, whole.length - 1]) {
    assert.throws(() => decodeGetResponse(whole.subarray(0, length)), `cut at ${length}`);
  }
});

test("the groupcache route asks the group as owner and answers protobuf", async () => {
  const { app, g } = appWith();
  g.main.set("a b/c+d", valueOf("body"));
  const response = await app.request("http://h/_groupcache/g/a+b%2Fc%2Bd");
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "application/x-protobuf");
  assert.equal(response.headers.get("cache-status"), "n1; hit");
  const { value } = decodeWithPbf(new Uint8Array(await response.arrayBuffer()));
  assert.equal(new TextDecoder().decode(value), "body");
  assert.deepEqual(g.calls, ["getAsOwner a b/c+d"], "neither lookup nor load, which may ask a peer");

  const loaded = await app.request("http://h/_groupcache/g/x");
  assert.equal(loaded.headers.get("cache-status"), "n1; fwd=miss; stored; detail=origin");
});

test("the groupcache route finds a group under its escaped name and refuses what the other routes refuse", async () => {
  const { dict } = appWith();
  const { app } = appWith({ groups: new Map([["two words", dict]]) });
  assert.equal((await app.request("http://h/_groupcache/two+words/k")).status, 200);
  assert.equal((await app.request("http://h/_groupcache/nosuch/k")).status, 404);
  assert.equal((await app.request("http://h/_groupcache/%zz/k")).status, 400);
  assert.equal((await app.request("http://h/_groupcache/two+words/")).status, 400);
  assert.equal((await app.request("http://h/_groupcache/two+words/a%0Ab")).status, 400);
  dict.onLoad = () => Promise.reject(new NotFoundError("none"));
  assert.equal((await app.request("http://h/_groupcache/two+words/k")).status, 404);
});

function plain(decoded: Decoded): { value: number[]; minuteQps: number | undefined } {
  return { value: [...decoded.value ?? []], minuteQps: decoded.minuteQps };
}
