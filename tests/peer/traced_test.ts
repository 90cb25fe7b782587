/** What a request is known by travels with its ask: to peers that take it, and to no others. */
import assert from "node:assert/strict";
import { Trace } from "../../lib/core/base/trace.ts";
import { BLIND } from "../../lib/core/invalidation/label.ts";
import type { Ask } from "../../lib/core/ports.ts";
import { HEADER_BYTES, MessageType, PROTOCOL } from "../../lib/peer/wire/frames.ts";
import { readFrame } from "../../lib/peer/wire/reader.ts";
import { type Defer, test } from "../support/test.ts";
import { MemoryNetwork } from "./memory.ts";
import { record, valueOf } from "./support.ts";

const TRACE = new Trace("abc-1", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=1");

/** Two hubs; `b` remembers what its service is asked. */
async function pair(defer: Defer, protocolOfA = PROTOCOL) {
  const net = new MemoryNetwork();
  const seen: [string, Trace | undefined][] = [];
  const a = net.hub("a", { protocol: protocolOfA });
  const b = net.hub("b", {
    service: {
      lookup(_group, key, _request, _after, trace) {
        seen.push([`lookup ${key}`, trace]);
        return key.startsWith("held") ? valueOf("v") : undefined;
      },
      get(_group, key, ask) {
        seen.push([`get ${key}`, ask.trace]);
        ask.resolve(valueOf("v"));
      },
    },
  });
  defer(() => a.close());
  defer(() => b.close());
  a.setPeers([record("b", "http://b")]);
  b.setPeers([record("a", "http://a")]);
  await net.tick();
  const get = async (key: string, trace?: Trace, request?: Ask["request"]) => {
    const got = new Promise((resolve, reject) => {
      const signal = new AbortController().signal;
      a.peer("b")!.ask("dict", key, { signal, timeoutMs: 1_000, after: BLIND, trace, request, resolve, reject });
    });
    await net.tick();
    await got;
  };
  return { net, a, b, get, seen };
}

function typesIn(frames: readonly Uint8Array[]): number[] {
  const types: number[] = [];
  for (const frame of frames.slice(1)) {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
    for (let at = 0; at < frame.length; at += HEADER_BYTES + view.getUint32(at + 5, true)) types.push(frame[at]!);
  }
  return types;
}

test("the owner knows whose request an ask is for: a hit, a load, and one with header fields", async (defer) => {
  const { get, seen } = await pair(defer);
  await get("held", TRACE);
  await get("loaded", TRACE);
  await get("plain");
  await get("site", new Trace("only-an-id"), { fields: [["accept", "text/html"]] });
  assert.deepEqual(seen, [
    ["lookup held", TRACE],
    ["lookup loaded", TRACE],
    ["get loaded", TRACE],
    ["lookup plain", undefined],
    ["get plain", undefined],
    ["lookup site", new Trace("only-an-id")],
    ["get site", new Trace("only-an-id")],
  ]);
});

test("a peer of the release before gets the ask alone: to it the rest would be malformed", async (defer) => {
  const { net, get, seen } = await pair(defer, { min: 4, max: 4 });
  await get("loaded", TRACE);
  assert.deepEqual(seen, [["lookup loaded", undefined], ["get loaded", undefined]]);
  assert.ok(!typesIn(net.dialed[0]!.frames).includes(MessageType.traced));
});

test("no trace is written for a request without one", async (defer) => {
  const { net, get } = await pair(defer);
  await get("plain");
  assert.ok(!typesIn(net.dialed[0]!.frames).includes(MessageType.traced));
  await get("loaded", TRACE);
  assert.ok(typesIn(net.dialed[0]!.frames).includes(MessageType.traced));
});

test("a trace belongs to the ask behind it alone: if that ask never comes, no other ask gets its trace", async (defer) => {
  const { get, seen } = await pair(defer);
  // No frame can hold this key, but its trace stands in the frame already.
  await assert.rejects(get("\ud800", TRACE));
  await get("plain");
  assert.deepEqual(seen, [["lookup plain", undefined], ["get plain", undefined]]);
});

test("a peer's trace of a request is checked like a client's", () => {
  const traces: (Trace | undefined)[] = [];
  const read = (text: string) => {
    const payload = new TextEncoder().encode(text);
    const frame = new Uint8Array(HEADER_BYTES + payload.length);
    frame[0] = MessageType.traced;
    new DataView(frame.buffer).setUint32(5, payload.length, true);
    frame.set(payload, HEADER_BYTES);
    const asks = { onTraced: (_id: number, trace: Trace | undefined) => void traces.push(trace) };
    return readFrame(frame, asks as never, {} as never, {} as never, 0);
  };
  for (const text of ["", "\n\n", "a b\nno\na=1", "\x00", "evil\r\n\n", "id\n\n\nof a later release"]) {
    assert.equal(read(text), undefined, text);
  }
  assert.deepEqual(traces, [...new Array(5).fill(undefined), new Trace("id")]);
  assert.match(read("x".repeat(1_025)) ?? "read", /malformed traced/);
});
