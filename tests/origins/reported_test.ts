import assert from "node:assert/strict";
import { NotFoundError, OriginError, OriginTimeoutError, RequestBodyError } from "../../lib/core/errors.ts";
import type { CheckedOrigin } from "../../lib/origins/origin.ts";
import { invalidationOf } from "../../lib/core/invalidation/message.ts";
import { reported } from "../../lib/origins/reported.ts";
import { ManualClock } from "../support/clock.ts";
import { MemoryLog } from "../support/log.ts";
import { test } from "../support/test.ts";

test("an origin that fails is reported at once, and then counted for a while", async () => {
  const [clock, log] = [new ManualClock(), new MemoryLog()];
  let error: Error = new OriginError("connection refused");
  const failing: CheckedOrigin = {
    load: () => Promise.reject(error),
    check: () => Promise.resolve(undefined),
    close: () => Promise.resolve(),
  };
  const origin = reported(failing, "dict", { clock, log });
  const signal = new AbortController().signal;
  for (let i = 0; i < 10; i++) await assert.rejects(origin.load(`k${i}`, signal), error);
  assert.deepEqual(log.lines, ['warn the origin of dict failed: connection refused (key "k0")']);
  await clock.advance(5_000);
  await assert.rejects(origin.load("k", signal), error);
  assert.match(log.lines[1]!, /key "k", and 9 more failed since/);
  await clock.advance(5_000);
  error = new NotFoundError("no such word");
  await assert.rejects(origin.load("k", signal), error);
  await assert.rejects(origin.load("k", AbortSignal.abort()), error);
  assert.equal(log.lines.length, 2, "what is not there is no failure");
});

test("of a site, a request that could not pass through is reported too, and no key's query", async () => {
  const [clock, log] = [new ManualClock(), new MemoryLog()];
  const error = new OriginError("connection refused");
  const site: CheckedOrigin = {
    load: () => Promise.reject(error),
    forward: () => Promise.reject(error),
    changedBy: (key) => invalidationOf({ keys: [key, "other"] }),
    check: () => Promise.resolve(undefined),
    close: () => Promise.resolve(),
  };
  const origin = reported(site, "web", { clock, log });
  const { signal } = new AbortController();
  const request = { method: "POST", key: "a?token=hush", fields: [], body: null };
  await assert.rejects(origin.forward!(request, signal), error);
  await clock.advance(5_000);
  await assert.rejects(origin.load("b?token=hush", signal), error);
  await assert.rejects(origin.forward!(request, AbortSignal.abort()), error);
  assert.deepEqual(log.lines, [
    'warn the origin of web failed: connection refused (key "a")',
    'warn the origin of web failed: connection refused (key "b")',
  ]);
  assert.deepEqual(origin.changedBy!("k", [])?.keys, ["k", "other"]);
});

test("a forwarded request counts by the end of its answer, and a broken answer is reported once", async () => {
  const [clock, log] = [new ManualClock(), new MemoryLog()];
  let status = 200;
  let fault: Error | undefined;
  const site: CheckedOrigin = {
    load: () => Promise.reject(new OriginError("unused")),
    forward() {
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => fault === undefined ? controller.close() : controller.error(fault),
      });
      return Promise.resolve({ status, fields: [], body, isStorable: false });
    },
    check: () => Promise.resolve(undefined),
    close: () => Promise.resolve(),
  };
  const told: string[] = [];
  const health = { succeeded: () => void told.push("well"), failed: (reason: string) => void told.push(reason) };
  const origin = reported(site, "web", { clock, log }, undefined, health);
  const send = async (signal = new AbortController().signal) => {
    const { body } = await origin.forward!({ method: "POST", key: "a?x", fields: [], body: null }, signal);
    return await new Response(body).text();
  };
  await send();
  status = 503;
  await send();
  status = 200;
  fault = new OriginTimeoutError("it was idle for 60000 ms");
  await assert.rejects(send(), fault);
  await assert.rejects(send(AbortSignal.abort()), fault);
  fault = new RequestBodyError("the client went away");
  await assert.rejects(send(), fault);
  assert.deepEqual(told, ["well", "it answered with the status 503", "it was idle for 60000 ms"]);
  assert.deepEqual(log.lines, ['warn the origin of web failed: it was idle for 60000 ms (key "a")']);
});
