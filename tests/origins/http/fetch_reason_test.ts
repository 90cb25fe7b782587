import assert from "node:assert/strict";
import fc from "fast-check";
import { fetchReason } from "../../../lib/origins/http/fetch-reason.ts";
import { test } from "../../support/test.ts";

const failed = (message: string) => new TypeError("fetch failed", { cause: new Error(message) });

test("a fetch's reason is what the runtimes say, without queries, fragments, logins and advice", () => {
  const cases: [error: unknown, reason: string][] = [
    [
      failed("error sending request for url (https://h/x?token=hush): client error (Connect): Connection refused"),
      "fetch failed: error sending request for url (https://h/x): client error (Connect): Connection refused",
    ],
    [
      failed("error sending request from 127.0.0.1:2 for http://h/x?a=)hush&b='hush (127.0.0.1:1): client error"),
      "fetch failed: error sending request from 127.0.0.1:2 for http://h/x (127.0.0.1:1): client error",
    ],
    [failed("for url (http://hush:hush@h/x?hush#hush): no"), "fetch failed: for url (http://h/x): no"],
    [failed("for url (http://h/x#hush): error #5"), "fetch failed: for url (http://h/x): error #5"],
    [
      new TypeError(
        'ZlibError fetching "http://h/x?token=hush". For more information, pass `verbose: true` in the second argument to fetch()',
      ),
      'ZlibError fetching "http://h/x"',
    ],
    [
      new TypeError("Invalid URL: 'http://[b/x?a=hush and=hush' with base 'http://h/x?token=hush'"),
      "the target of a redirect is no URL",
    ],
    ["a text?", "a text"],
    [undefined, ""],
  ];
  for (const [error, reason] of cases) assert.equal(fetchReason(error), reason);
});

test("a query is in no reason, whatever it holds and wherever its URL stands", () => {
  const frames: [string, string][] = [["url (", "): no"], ['url "', '". No'], ["url ", " (127.0.0.1:1): no"], ["", ""]];
  const query = fc.array(fc.constantFrom(...")\"'.,:;?#@/&=%"), { maxLength: 8 }).map((marks) => marks.join("hush"));
  fc.assert(fc.property(fc.constantFrom(...frames), query, ([before, after], text) => {
    const url = new URL(`http://h/x?hush${text}`).href;
    assert.doesNotMatch(fetchReason(failed(`${before}${url}${after}`)), /hush/);
  }));
});

test("a reason has an end, though a server can make a URL as long as it likes, and a cause its own", () => {
  const [first, second] = [new Error("a"), new Error("b")];
  first.cause = second;
  second.cause = first;
  assert.equal(fetchReason(first), "a: b: a: b");
  assert.equal(fetchReason(failed(`(http://h/${"x".repeat(1_000)}): no`)).length, 501);
  const sinceMs = performance.now();
  for (const text of ["://", "?", ")?", "#", "://a@", "?)))"]) fetchReason(failed(text.repeat(100_000)));
  assert.ok(performance.now() - sinceMs < 2_000, "in linear time");
});
