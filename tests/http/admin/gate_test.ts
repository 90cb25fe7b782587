import assert from "node:assert/strict";
import { refusalOf } from "../../../lib/http/admin/gate.ts";
import { test } from "../../support/test.ts";

type Case = [url: string, headers: Record<string, string>];

const refusal = ([url, headers]: Case, isLoopbackOnly = true) =>
  refusalOf({ url, headers: new Headers(headers) }, isLoopbackOnly);

const allowed: readonly Case[] = [
  ["http://localhost:8000/x", { host: "localhost:8000" }],
  ["http://LOCALHOST/x", { host: "LocalHost" }],
  ["http://127.0.0.1:8000/x", { host: "127.0.0.1:8000" }],
  ["http://127.8.9.10/x", { host: "127.8.9.10" }],
  ["http://[::1]:8000/x", { host: "[::1]:8000" }],
  ["http://localhost/x", {}],
  // A form of the page itself comes with an Origin; until there is one, no page may.
  ["http://localhost/x", { "sec-fetch-site": "none" }],
  ["http://localhost/x", { "x-forward": "1", "user-agent": "curl" }],
];

const refused: readonly [...Case, reason: RegExp][] = [
  ["http://example.org/x", { host: "example.org" }, /whose Host is localhost/],
  ["http://localhost.example.org/x", { host: "localhost.example.org" }, /whose Host/],
  ["http://127.0.0.1.example.org/x", { host: "127.0.0.1.example.org" }, /whose Host/],
  ["http://10.0.0.1/x", { host: "10.0.0.1" }, /whose Host/],
  ["http://0.0.0.0/x", { host: "0.0.0.0" }, /whose Host/],
  ["http://[::]/x", { host: "[::]" }, /whose Host/],
  // An absolute request target, which wins over Host.
  ["http://localhost/x", { host: "example.org" }, /whose Host/],
  ["http://example.org/x", { host: "localhost" }, /whose Host/],
  ["http://localhost/x", { host: "localhost@example.org" }, /whose Host/],
  ["http://localhost/x", { host: "a b" }, /whose Host/],
  // Bun's URL of a request whose Host is unusable.
  ["/x", {}, /whose Host/],
  ...["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "x-forwarded-anything", "X-Real-IP", "CDN-Loop"].map(
    (name): [...Case, RegExp] => [
      "http://localhost/x",
      { [name]: "127.0.0.1" },
      new RegExp(`without a proxy .*${name.toLowerCase()}`),
    ],
  ),
  ...["http://evil.test", "null", "http://localhost:8000", "http://localhost:3000"].map(
    (origin): [...Case, RegExp] => ["http://localhost:8000/x", { origin }, /not allowed for web pages/],
  ),
  ...["cross-site", "same-site", "same-origin", "anything"].map(
    (site): [...Case, RegExp] => ["http://localhost/x", { "sec-fetch-site": site }, /not allowed for web pages/],
  ),
];

test("a change is allowed on the node's own machine, for its own names, without a proxy or a web page", () => {
  for (const each of allowed) assert.equal(refusal(each), undefined, JSON.stringify(each));
  for (const [url, headers, reason] of refused) {
    assert.match(refusal([url, headers]) ?? "", reason, JSON.stringify([url, headers]));
  }
});

test("on a node that other machines can reach nothing is allowed, and the text says what would be", () => {
  for (const each of allowed) assert.match(refusal(each, false) ?? "", /listens on a loopback address.*--addr 127/);
});
