import assert from "node:assert/strict";
import { connectFault } from "../../../lib/core/base/connect-fault.ts";
import { test } from "../../support/test.ts";

test("a refusal may be a host that cannot be reached, and says so", () => {
  assert.equal(
    connectFault("connect ECONNREFUSED 10.0.0.1:80"),
    "connect ECONNREFUSED 10.0.0.1:80 (refused, or no way there)",
  );
  assert.equal(connectFault("connect EHOSTUNREACH 10.0.0.1:80"), "connect EHOSTUNREACH 10.0.0.1:80");
});
