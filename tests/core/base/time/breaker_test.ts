import assert from "node:assert/strict";
import { Breaker } from "../../../../lib/core/base/time/breaker.ts";
import { test } from "../../../support/test.ts";

const pause = { firstMs: 250, mostMs: 5_000 };

test("a slow failure opens a breaker for the first pause, and every caller is refused", () => {
  const breaker = new Breaker({ pause });
  assert.equal(breaker.admit(0), true);
  breaker.failed(0, 200);
  assert.deepEqual([200, 300, 449].map((nowMs) => breaker.admit(nowMs)), [false, false, false]);
  assert.equal(breaker.admit(450), true);
});

test("a failure within 100 ms costs no time: the breaker stays closed", () => {
  const breaker = new Breaker({ pause });
  for (let nowMs = 0; nowMs < 1_000; nowMs += 99) {
    assert.equal(breaker.admit(nowMs), true);
    breaker.failed(nowMs, nowMs + 99);
  }
});

test("with slowMs 0 every failure counts", () => {
  const breaker = new Breaker({ slowMs: 0, pause });
  breaker.failed(10, 10);
  assert.deepEqual([breaker.admit(259), breaker.admit(260)], [false, true]);
});

test("when the pause is over one probe is admitted; the others are refused until it ends", () => {
  const breaker = new Breaker({ pause });
  breaker.failed(0, 200);
  assert.deepEqual([450, 450, 500].map((nowMs) => breaker.admit(nowMs)), [true, false, false]);
  breaker.succeeded(510);
  assert.deepEqual([breaker.admit(510), breaker.admit(510)], [true, true], "closed");
});

test("each failed probe doubles the pause, up to the longest one", () => {
  const breaker = new Breaker({ pause });
  let nowMs = 200;
  breaker.failed(0, nowMs);
  const pausesMs: number[] = [];
  for (let i = 0; i < 7; i++) {
    const failedAtMs = nowMs;
    while (!breaker.admit(nowMs)) nowMs += 10;
    pausesMs.push(nowMs - failedAtMs);
    breaker.failed(nowMs, nowMs += 200);
  }
  assert.deepEqual(pausesMs, [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
});

test("a probe that fails quickly admits the next caller at once", () => {
  const breaker = new Breaker({ pause });
  breaker.failed(0, 200);
  assert.equal(breaker.admit(450), true);
  breaker.failed(450, 460);
  assert.deepEqual([breaker.admit(460), breaker.admit(460)], [true, false], "as the next probe");
});

test("a probe that never ends makes way for another after the longest pause", () => {
  const breaker = new Breaker({ pause });
  breaker.failed(0, 200);
  assert.deepEqual([450, 5_449, 5_450].map((nowMs) => breaker.admit(nowMs)), [true, false, true]);
});

test("calls that failed together count as one failure", () => {
  const breaker = new Breaker({ pause });
  for (let i = 0; i < 10; i++) breaker.failed(i, 200);
  assert.deepEqual([breaker.admit(449), breaker.admit(450)], [false, true]);
  // A call that began before the probe does not end the probe's time.
  breaker.failed(10, 460);
  assert.equal(breaker.admit(460), false);
});

test("tolerated failures in a row do not open a breaker, a success forgets them", () => {
  const breaker = new Breaker({ tolerated: 1, pause });
  breaker.failed(0, 200);
  assert.equal(breaker.admit(200), true);
  breaker.succeeded(300);
  breaker.failed(300, 500);
  assert.equal(breaker.admit(500), true);
  breaker.failed(500, 700);
  assert.deepEqual([breaker.admit(949), breaker.admit(950)], [false, true]);
});

test("a breaker knows whether anything succeeded since a moment", () => {
  const breaker = new Breaker();
  assert.equal(breaker.hasSucceededSince(0), false);
  breaker.succeeded(10);
  assert.deepEqual([breaker.hasSucceededSince(9), breaker.hasSucceededSince(10)], [true, false]);
});
