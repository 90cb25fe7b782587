import assert from "node:assert/strict";
import { Cancel } from "../../../lib/core/base/cancel.ts";
import { test } from "../../support/test.ts";

test("a cancel tells each listener once, and its AbortSignal agrees, whenever it is made", () => {
  const cancel = new Cancel();
  const heard: string[] = [];
  const gone = () => heard.push("gone");
  cancel.addEventListener("abort", gone);
  cancel.addEventListener("abort", { handleEvent: () => heard.push("object") });
  cancel.addEventListener("abort", () => heard.push("function"));
  cancel.removeEventListener("abort", gone);
  const early = cancel.abortSignal();
  assert.equal(early.aborted, false);
  cancel.throwIfAborted();
  cancel.abort(new Error("first"));
  cancel.abort(new Error("second"));
  assert.deepEqual(heard, ["object", "function"]);
  assert.throws(() => cancel.throwIfAborted(), /first/);
  assert.match(String(early.reason), /first/);
  const late = new Cancel();
  late.abort(new Error("before"));
  assert.match(String(late.abortSignal().reason), /before/);
});
