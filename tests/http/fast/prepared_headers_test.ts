import assert from "node:assert/strict";
import { PreparedHeaders } from "../../../lib/http/fast/prepared-headers.ts";
import { test } from "../../support/test.ts";

test("headers are made once for each pair, and an answer cannot change those of the next", () => {
  const made: string[] = [];
  const prepared = new PreparedHeaders((type, status) => {
    made.push(`${type} ${status}`);
    return { "content-type": type, "cache-status": status };
  });
  for (let round = 0; round < 2; round++) {
    for (const type of ["text/plain", "image/png"]) {
      for (const status of ["n1; hit", "n1; hit; detail=hot"]) {
        const { headers } = new Response("body", prepared.of(type, status));
        assert.deepEqual([headers.get("content-type"), headers.get("cache-status")], [type, status]);
        headers.set("content-type", "changed");
      }
    }
  }
  assert.equal(new Set(made).size, 4);
  assert.equal(made.length, 4);
});

test("more media types than are kept still get their own headers", () => {
  const prepared = new PreparedHeaders((type, status) => ({ "content-type": type, "cache-status": status }));
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 1_000; i++) {
      const { headers } = new Response("body", prepared.of(`x/${i}`, "n1; hit"));
      assert.equal(headers.get("content-type"), `x/${i}`);
    }
  }
});
