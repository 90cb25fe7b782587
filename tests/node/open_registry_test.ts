import assert from "node:assert/strict";
import { serviceFault } from "../../lib/node/open-registry.ts";
import { test } from "../support/test.ts";

test("the URL of a NATS server is no peer's, however its address is written", () => {
  const bundled = { kind: "embedded", port: 4222, storeDir: ".muster/nats" } as const;
  const named = { kind: "urls", urls: ["nats://user:word@nats.example:80", "tls://[fd00::1]:4222"] } as const;
  for (const host of ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "127.1", "2130706433", "127.0.0.2"]) {
    for (const scheme of ["http", "https"]) assert.ok(serviceFault(`${scheme}://${host}:4222`, bundled), host);
  }
  for (const url of ["http://nats.example", "http://NATS.example:80", "http://[fd00:0::1]:4222"]) {
    assert.ok(serviceFault(url, named), url);
  }
  for (const url of ["http://127.0.0.1:8000", "http://10.0.0.1:4222"]) {
    assert.equal(serviceFault(url, bundled), undefined);
  }
  for (const url of ["http://nats.example:8000", "http://localhost:4222"]) {
    assert.equal(serviceFault(url, named), undefined);
  }
  assert.equal(serviceFault("http://127.0.0.1:4222", { kind: "off" }), undefined);
});
