import assert from "node:assert/strict";
import fc from "fast-check";
import { Trace } from "../../../lib/core/base/trace.ts";
import { isFieldValue } from "../../../lib/core/semantics/fields.ts";
import {
  requestIdIn,
  spanNameIn,
  tracedBy,
  traceFields,
  traceIn,
  traceparentOf,
  traceRecord,
  tracestateIn,
} from "../../../lib/core/semantics/trace-context.ts";
import { test } from "../../support/test.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";
const PARENT = `00-${TRACE}-${SPAN}-01`;

test("a request id is accepted if it is safe in a log, a header and a shell", () => {
  const good = ["1", "01M8KXGH8Z44D3PW7VDRJ24SCS", "7f0c-4/+=", "a.b_c~d:e@f", "x".repeat(128)];
  for (const id of good) assert.equal(requestIdIn(id), id);
  const bad = ["", " ", "a b", "a,b", 'a"', "a\\b", "a\nb", "a\r\nx-evil: 1", "a\0", "é", "$(id)", "`id`", "{}", "<b>"];
  for (const id of [...bad, "x".repeat(129), null, undefined]) assert.equal(requestIdIn(id), undefined, String(id));
});

test("a traceparent is read by the letter of W3C Trace Context, section 3.2", () => {
  assert.deepEqual(spanNameIn(PARENT), { traceId: TRACE, spanId: SPAN, flags: 1 });
  assert.deepEqual(spanNameIn(`00-${TRACE}-${SPAN}-00`), { traceId: TRACE, spanId: SPAN, flags: 0 });
  // Flags that version 00 does not know are not passed on.
  assert.equal(traceparentOf(spanNameIn(`00-${TRACE}-${SPAN}-ff`)!), `00-${TRACE}-${SPAN}-03`);
  // A later version may have more behind, and is passed on as the one that is known.
  assert.equal(traceparentOf(spanNameIn(`cc-${TRACE}-${SPAN}-01-what-the-future`)!), PARENT);
  const bad = [
    "",
    "00",
    `ff-${TRACE}-${SPAN}-01`,
    `00-${TRACE}-${SPAN}-01-more`,
    `00-${TRACE}-${SPAN}-01.`,
    `cc-${TRACE}-${SPAN}-01.more`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${"0".repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${"0".repeat(16)}-01`,
    `00-${TRACE}-${SPAN}-1`,
    `0-${TRACE}-${SPAN}-01`,
    ` ${PARENT}`,
    `${PARENT}\n`,
    `${PARENT}, ${PARENT}`,
    `00-${TRACE}0-${SPAN}-01`,
  ];
  for (const text of bad) assert.equal(spanNameIn(text), undefined, text);
});

test("a tracestate is passed on as a list of members, or not at all", () => {
  assert.equal(tracestateIn("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"), "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
  assert.equal(tracestateIn(" a=1 ,\t, b@vendor=x y ,"), "a=1,b@vendor=x y");
  const many = (count: number) => Array.from({ length: count }, (_, i) => `k${i}=v`).join();
  assert.equal(tracestateIn(many(32)), many(32));
  const bad = [
    "",
    ",",
    "a",
    "=1",
    "A=1",
    "a=",
    "a=1=2",
    "a=1\nb=2",
    "a=\u00e9",
    many(33),
    `a=${"x".repeat(511)}`,
    null,
  ];
  for (const text of bad) assert.equal(tracestateIn(text), undefined, String(text));
});

test("a tracestate without a traceparent that names a span is ignored, and so is a missing one", () => {
  assert.deepEqual(traceIn("id", PARENT, "a=1"), new Trace("id", PARENT, "a=1"));
  assert.deepEqual(traceIn("id", "no", "a=1"), new Trace("id", undefined, undefined));
  assert.deepEqual(traceIn("no id", PARENT, "no"), new Trace(undefined, PARENT, undefined));
  assert.equal(traceIn(null, null, "a=1"), undefined);
  assert.equal(traceIn("no id", "no", "a=1"), undefined);
  assert.equal(traceIn(undefined, undefined, undefined), undefined);
});

test("the fields for the next hop replace the client's fields", () => {
  const sent = [["x-request-id", "old"], ["accept", "*/*"], ["traceparent", "broken"], ["tracestate", "a=1"]] as const;
  const fields = tracedBy(new Trace("new", PARENT), sent);
  assert.deepEqual(fields, [["accept", "*/*"], ["x-request-id", "new"], ["traceparent", PARENT]]);
  assert.equal(tracedBy(undefined, sent), sent);
  assert.deepEqual(traceRecord(new Trace("new", PARENT, "b=2")), {
    "x-request-id": "new",
    traceparent: PARENT,
    tracestate: "b=2",
  });
  assert.deepEqual(traceRecord(undefined), {});
});

test("whatever a client sends, the result is valid in a header, and is read back the same", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 600 }),
    fc.constantFrom(PARENT, "a=1", "id", `cc-${TRACE}-${SPAN}-ff-x`, "a=1,b=2", null),
  );
  fc.assert(
    fc.property(text, text, text, (id, parent, state) => {
      const trace = traceIn(id, parent, state);
      if (trace === undefined) return;
      const fields = traceFields(trace);
      assert.ok(fields.length > 0 && fields.every(([, value]) => isFieldValue(value) && !value.includes("\n")));
      assert.deepEqual(traceIn(trace.requestId, trace.traceparent, trace.tracestate), trace);
    }),
    { numRuns: 500 },
  );
});
