import assert from "node:assert/strict";
import { Gate, refusalOf } from "../../../lib/http/admin/gate.ts";
import { AdminTokens } from "../../../lib/http/admin/tokens.ts";
import { ManualClock } from "../../support/clock.ts";
import { MemoryLog } from "../../support/log.ts";
import { test } from "../../support/test.ts";

type Case = [url: string, headers: Record<string, string>];

const asked = ([url, headers]: Case) => ({ method: "POST", url, headers: new Headers(headers) });
const refusal = (each: Case, { isLoopbackOnly = true, isRead = false } = {}) =>
  refusalOf(asked(each), isLoopbackOnly, isRead);

const allowed: readonly Case[] = [
  ["http://localhost:8000/x", { host: "localhost:8000" }],
  ["http://LOCALHOST/x", { host: "LocalHost" }],
  ["http://127.0.0.1:8000/x", { host: "127.0.0.1:8000" }],
  ["http://127.8.9.10/x", { host: "127.8.9.10" }],
  ["http://[::1]:8000/x", { host: "[::1]:8000" }],
  ["http://localhost/x", {}],
  ["http://localhost/x", { "sec-fetch-site": "none" }],
  ["http://localhost/x", { "x-forward": "1", "user-agent": "curl" }],
];

const ofOthers: readonly [...Case, reason: RegExp][] = [
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
];
const ofPages: readonly Case[] = [
  ...["http://evil.test", "null", "http://localhost:3000"].map((
    origin,
  ): Case => ["http://localhost:8000/x", { origin }]),
  ...["cross-site", "same-site", "anything"].map((site): Case => ["http://localhost/x", { "sec-fetch-site": site }]),
  ["http://localhost/x", { "sec-fetch-site": "cross-site", "sec-fetch-dest": "document" }],
];
const ofOwnPage: readonly Case[] = [
  ["http://localhost:8000/x", { origin: "http://localhost:8000" }],
  ["http://localhost/x", { "sec-fetch-site": "same-origin" }],
  // From the page of another node on this machine.
  ["http://localhost/x", { "sec-fetch-site": "same-site", "sec-fetch-dest": "document" }],
];

test("without a token, operators are on the node's own machine, use its own names, and come by no proxy or web page", () => {
  for (const each of allowed) {
    assert.equal(refusal(each), undefined, JSON.stringify(each));
    assert.equal(refusal(each, { isRead: true }), undefined, JSON.stringify(each));
  }
  for (const [url, headers, reason] of ofOthers) {
    assert.match(refusal([url, headers]) ?? "", reason, JSON.stringify([url, headers]));
    assert.match(refusal([url, headers], { isRead: true }) ?? "", reason, JSON.stringify([url, headers]));
  }
  for (const each of [...ofPages, ...ofOwnPage]) {
    assert.match(refusal(each) ?? "", /not allowed for web pages/, JSON.stringify(each));
  }
});

test("the node's own page may lead to its figures, and no page of another site may", () => {
  for (const each of ofOwnPage) assert.equal(refusal(each, { isRead: true }), undefined, JSON.stringify(each));
  for (const each of ofPages) {
    assert.match(refusal(each, { isRead: true }) ?? "", /pages of other sites/, JSON.stringify(each));
  }
});

test("on a node that other machines can reach nothing is allowed, and the text says what would be", () => {
  for (const each of allowed) {
    const text = refusal(each, { isLoopbackOnly: false }) ?? "";
    assert.match(text, /--admin-token-file sets.*listens on a loopback address.*--addr 127/);
  }
});

const TOKEN = "an operator's token".replaceAll(" ", "-");
const OLD = "the-token-of-last-year";

function gated(options: { isStatsPublic?: boolean; statsToken?: string; text?: string } = {}) {
  const { isStatsPublic = false, statsToken, text = `${TOKEN}\n${OLD}\n` } = options;
  const [clock, log] = [new ManualClock(), new MemoryLog()];
  const file = { text, reads: 0, fault: undefined as Error | undefined };
  const readFile = () => {
    file.reads++;
    if (file.fault !== undefined) throw file.fault;
    return file.text;
  };
  const tokens = new AdminTokens({ readFile, clock, log });
  const gate = new Gate({ tokens, isLoopbackOnly: true, isStatsPublic, statsToken });
  const status = (headers: Record<string, string>, isStats = false) => {
    const request = asked(["http://node.test:8000/x", { host: "node.test:8000", ...headers }]);
    return (isStats ? gate.stats(request) : gate.change(request))?.status ?? 200;
  };
  return { gate, status, file, clock, log };
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

test("with a token everybody needs it, from everywhere, and a wrong one is answered as a missing one", async () => {
  const { gate, status } = gated();
  for (const isStats of [false, true]) {
    for (const token of [TOKEN, OLD]) assert.equal(status(bearer(token), isStats), 200);
    assert.equal(status({ authorization: `bearer  ${TOKEN} ` }, isStats), 200);
    // Neither a loopback name nor the lack of a proxy counts any more.
    assert.equal(status({ host: "localhost" }, isStats), 401);
    assert.equal(status({ ...bearer(TOKEN), via: "1.1 x", "x-forwarded-for": "10.0.0.1" }, isStats), 200);
    for (
      const wrong of [
        ...["", "x", TOKEN.slice(1), `${TOKEN}x`, TOKEN.toUpperCase(), "x".repeat(1_000_000)].map(bearer),
        { authorization: TOKEN },
        { authorization: `Basic ${btoa(`x:${TOKEN}`)}` },
        { authorization: `Bearer ${TOKEN}, Bearer ${TOKEN}` },
        { cookie: `token=${TOKEN}` },
      ]
    ) assert.equal(status(wrong, isStats), 401, JSON.stringify(wrong).slice(0, 80));
  }
  const answers = await Promise.all([{}, bearer("wrong")].map(async (headers) => {
    const response = gate.change(asked(["http://node.test/x", headers as Record<string, string>]))!;
    return [response.status, [...response.headers], await response.text()];
  }));
  assert.deepEqual(answers[0], answers[1]);
  assert.ok((answers[0]![1] as string[][]).some(([name, value]) => name === "www-authenticate" && value === "Bearer"));
});

test("a page of another site is refused even with the token, and a form of the node's own page is not", () => {
  const { status } = gated();
  for (const isStats of [false, true]) {
    for (const origin of ["http://evil.test", "null", "http://node.test", "http://node.test:8000.evil.test"]) {
      assert.equal(status({ ...bearer(TOKEN), origin }, isStats), 403, origin);
    }
    assert.equal(status({ ...bearer(TOKEN), "sec-fetch-site": "cross-site" }, isStats), 403);
    assert.equal(status({ ...bearer(TOKEN), "sec-fetch-site": "same-site" }, isStats), 403);
    for (const origin of ["http://node.test:8000", "https://node.test:8000"]) {
      assert.equal(status({ ...bearer(TOKEN), origin, "sec-fetch-site": "same-origin" }, isStats), 200, origin);
      assert.equal(status({ origin }, isStats), 401);
    }
  }
});

test("public statistics need no token, changes still do, and the workers' token opens the statistics only", () => {
  const open = gated({ isStatsPublic: true });
  assert.deepEqual([open.status({ origin: "http://evil.test" }, true), open.status({})], [200, 401]);
  const worker = gated({ statsToken: "of-this-machine" });
  assert.deepEqual([worker.status(bearer("of-this-machine"), true), worker.status(bearer("of-this-machine"))], [
    200,
    401,
  ]);
});

test("the file is read again within a second of its change, and a broken one locks nobody out", async () => {
  const { status, file, clock, log } = gated({ text: TOKEN });
  const next = "the-token-of-next-year";
  file.text = `\uFEFF ${next} \r\n${TOKEN}\r\n`;
  assert.equal(status(bearer(next)), 401);
  await clock.advance(1_000);
  assert.deepEqual([status(bearer(next)), status(bearer(TOKEN))], [200, 200]);
  file.text = next;
  await clock.advance(1_000);
  assert.deepEqual([status(bearer(next)), status(bearer(TOKEN))], [200, 401]);
  for (const broken of ["", "secret-but-short", `${next}\nsh0rt`]) {
    file.text = broken.replace("secret-but-short", "short-secret");
    await clock.advance(1_000);
    assert.equal(status(bearer(next)), 200);
  }
  file.fault = new Error("ENOENT: no such file");
  await clock.advance(1_000);
  for (let i = 0; i < 1_000; i++) assert.equal(status(bearer(next)), 200);
  assert.equal(file.reads, 7);
  const faults = log.lines.filter((line) => line.includes("again"));
  assert.equal(faults.length, 1);
  assert.doesNotMatch(log.lines.join(), /short-secret|sh0rt/);
});

test("guesses are counted in one line a minute, which shows none of them, and lock nobody out", async () => {
  const { status, clock, log } = gated();
  for (let i = 0; i < 5_000; i++) assert.equal(status(bearer(`guess-number-${i}-xxxxxxxx`)), 401);
  assert.equal(status(bearer(TOKEN)), 200);
  assert.deepEqual(log.lines, []);
  await clock.advance(60_000);
  assert.deepEqual(log.lines, ["warn refused 5000 requests with a wrong token for operators in the last minute"]);
  await clock.advance(600_000);
  assert.equal(log.lines.length, 1);
});

test("a file that holds no token is refused at the start, and the text shows nothing of it", () => {
  for (
    const text of [
      "",
      "\n",
      "short",
      "x".repeat(1_025),
      "secret with spaces",
      "sécret-sécret-sécret",
      `${TOKEN}\nold`,
      `${TOKEN}\n${OLD}\n${OLD}`,
    ]
  ) {
    assert.throws(() => gated({ text }), (error: Error) => {
      assert.doesNotMatch(error.message, /secret|short|xxx|operator|year/);
      return true;
    }, text.slice(0, 40));
  }
});
