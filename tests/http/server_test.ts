import assert from "node:assert/strict";
import { connect } from "node:net";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import type { WSEvents } from "hono/ws";
import type { AppOptions } from "../../lib/http/app.ts";
import type { PeerDoor } from "../../lib/http/peers.ts";
import { encodeKeyPath } from "../../lib/http/key.ts";
import type { CancelSignal } from "../../lib/core/base/cancel.ts";
import { ManualClock } from "../support/clock.ts";
import { test } from "../support/test.ts";
import { anyString, isKey } from "./strings.ts";
import { webSocketUpgrade } from "../../lib/runtime/server/serve.ts";
import { appWith, onBun, openSocket, plainValue, rawRequest, serve, valueOf } from "./support.ts";

test(
  "any string travels from the client to the group unchanged, or is refused with 400",
  { timeoutMs: 60_000 },
  async (defer) => {
    const { app, g } = appWith();
    const port = serve(app.fetch, defer);
    await fc.assert(
      fc.asyncProperty(anyString.filter((key) => key.isWellFormed()), async (key) => {
        const escaped = isKey(key) ? encodeKeyPath(key) : encodeURIComponent(key);
        for (const path of [escaped, escapeEveryByte(key)]) {
          g.loadedKeys.length = 0;
          const response = await fetch(`http://127.0.0.1:${port}/cache/g/${path}`);
          const body = Buffer.from(await response.arrayBuffer());
          if (isKey(key)) {
            assert.equal(response.status, 200, body.toString());
            assert.deepEqual(g.loadedKeys, [key]);
            assert.ok(body.equals(Buffer.from(key)));
          } else {
            // The client's URL parser removes `.` and `..`: it asks for `/cache/g/` and `/cache/`.
            assert.equal(response.status, 400, body.toString());
            assert.deepEqual(g.loadedKeys, []);
          }
        }
      }),
      { numRuns: 400 },
    );
  },
);

test(
  "any target of visible ASCII is its decoded tail or a 400, on the wire as typed",
  { timeoutMs: 60_000 },
  async (defer) => {
    const { app, g } = appWith();
    const port = serve(app.fetch, defer);
    const tail = fc.string({ unit: fc.constantFrom(..."%%%2525eEfFcCaA3//+~|^\"<>{}[]`'!$&()*,;=:@_"), maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(tail, async (text) => {
        g.loadedKeys.length = 0;
        const { status } = await rawRequest(port, `/cache/g/${text}?query=1`);
        if (status === 200) assert.deepEqual(g.loadedKeys, [decodeURIComponent(text)]);
        else {
          assert.equal(status, 400);
          assert.deepEqual(g.loadedKeys, []);
        }
      }),
      { numRuns: 400 },
    );
  },
);

test("odd targets mean the same key on both runtimes, or are refused if a runtime would read another key", async (defer) => {
  const { app, dict, g } = appWith();
  const port = serve(app.fetch, defer);
  const other = "Bun's URL parser changes it before the app sees it";
  const cases: [target: string, onBun: string | number, onDeno?: string | number, why?: string][] = [
    ["/cache/dict//a//b", "/a//b"],
    ["/cache/dict/a/", "a/"],
    ["/cache/g/a%2Fb", "a/b"],
    ["/cache/g/a%2fb/c", "a/b/c"],
    ["/cache/g/a%252Fb", "a%2Fb"],
    ["/cache/g/a%5Cb", "a\\b"],
    ["/cache/g/a+b", "a+b"],
    ["/cache/g/a?b=c", 400],
    ["/cache/g/a?b#c", 400],
    ["/cache/g/a?", "a"],
    ["/cache/g/a%3Fb%23c", "a?b#c"],
    ["/cache/g/a|b^c`d{e}\"<>'", "a|b^c`d{e}\"<>'"],
    ["/cache/g/...", "..."],
    ["/cache/g/a%2F..%2Fb", 400],
    ["/cache/g/..%2Fsecret.txt", 400],
    ["/cache/g/..%5Csecret.txt", 400],
    ["/cache/g/%252e%252e%252fsecret.txt", 400],
    ["/cache/g/..;x=1%2Fsecret.txt", 400],
    ["/define/..%2Fsecret.txt", 400],
    ["/_groupcache/g/..%2Fsecret.txt", 400],
    ["http://other.test/cache/g/a", "a"],
    ["/define/a/b%20c", "a/b c"],
    ["/cache/g/" + Buffer.from("ä€😀").toString("latin1"), "ä€😀"],
    ["/cache/g/.", 400],
    ["/cache/g/..", 400],
    ["/cache/g/%2e", 400],
    ["/cache/g/%2E.", 400],
    ["/cache/g/a#b", 400],
    ["/cache/g/a%", 400],
    ["/cache/g/%2", 400],
    ["/cache/g/%zz", 400],
    ["/cache/g/%c3%28", 400],
    ["/cache/g/a%0d%0ab", 400],
    ["/cache/g/%00", 400],
    ["/cache/g/", 400],
    ["/cache/g", 400],
    ["/cache?g/a", 400],
    ["/cache/g?/a", 400],
    ["/define?a", 400],
    ["//cache/g/a", 404],
    ["/cache//k", 404],
    ["/cache/g/a/../b", "b", 400, other],
    ["/cache/g/a/%2e%2e/b", "b", 400, other],
    ["/cache/g/a/./b", "a/b", 400, other],
    ["/cache/g/a\\b", "a/b", 400, other],
    ["/cache/g/\xe4", "\ufffd", 400, "Bun decodes bytes that are no UTF-8 before the app sees them"],
  ];
  for (const [target, bunOutcome, denoOutcome, why] of cases) {
    dict.loadedKeys.length = g.loadedKeys.length = 0;
    const { status, body } = await rawRequest(port, target);
    const expected = onBun ? bunOutcome : denoOutcome ?? bunOutcome;
    const actual = status === 200 ? [...dict.loadedKeys, ...g.loadedKeys].join(" and ") : status;
    assert.equal(actual, expected, `${target}: ${why ?? body}`);
  }
});

test("a Host that is none is refused, whatever path a runtime would read out of it", async (defer) => {
  const { app, g } = appWith();
  const port = serve(app.fetch, defer);
  const get = (host: string, target = "/cache/g/a%2Fb") => rawRequest(port, target, "GET", host);
  for (const host of ["h", "H.test", "h_1:8000", "127.0.0.1:1", "[::1]:3", "h:99999"]) {
    g.loadedKeys.length = 0;
    // A second time, too: the one before is remembered.
    for (let i = 0; i < 2; i++) assert.equal((await get(`Host: ${host}\r\n`)).status, 200, host);
    assert.deepEqual(g.loadedKeys, ["a/b", "a/b"]);
  }
  g.loadedKeys.length = 0;
  const bad = ["x/stats?", "x/stats#", "x/", "x?", "a b", "u@h", "u:p@h", "", "h:", "h:x", "h:123456", "[::1", "a,b"];
  for (const host of [...bad, "h\\x", "%68", "h\xe4", "x".repeat(300), "[/stats?]"]) {
    const { status, body } = await get(`Host: ${host}\r\n`);
    assert.equal(status, 400, `${host}: ${body}`);
    assert.doesNotMatch(body, /groups|gets/);
    assert.equal((await get(`Host: ${host}\r\n`, "http://h.test/cache/g/k")).status, 400, host);
  }
  assert.equal((await get("Host: h\r\nHost: i\r\n")).status, 400);
  // HTTP/1.0 has no Host, and health checks still speak it.
  const bare = openSocket(port, defer);
  const answered = new Promise<string>((resolve) => bare.once("data", (data) => resolve(data.toString("latin1"))));
  bare.write("GET /healthz HTTP/1.0\r\n\r\n");
  assert.match(await answered, /^HTTP\/1\.[01] 200 /);
  assert.deepEqual(g.loadedKeys, []);
});

test("the longest key passes with every byte escaped, and a longer one is refused", async (defer) => {
  const { app, g } = appWith();
  const port = serve(app.fetch, defer);
  const longest = "a".repeat(1_024);
  assert.equal((await rawRequest(port, `/cache/g/${escapeEveryByte(longest)}`)).status, 200);
  assert.deepEqual(g.loadedKeys, [longest]);
  assert.equal((await rawRequest(port, `/cache/g/${escapeEveryByte(longest + "a")}`)).status, 400);
});

test("HEAD answers as GET does, without the body", async (defer) => {
  const { app, dict, g } = appWith();
  const port = serve(app.fetch, defer);
  dict.main.set("piston", valueOf("a disk"));
  g.onLoad = () => Promise.reject(new Error("broken"));
  for (
    const target of ["/define/piston", "/cache/dict/cold", "/cache/g/k", "/healthz", "/readyz", "/nosuch", "/define/"]
  ) {
    const get = await rawRequest(port, target);
    const head = await rawRequest(port, target, "HEAD");
    assert.equal(head.status, get.status, target);
    assert.equal(head.body, "");
    assert.notEqual(get.body, "");
    for (const name of ["content-type", "content-length", "cache-status", "x-content-type-options"]) {
      assert.equal(head.headers.get(name), get.headers.get(name), `${name} of ${target}`);
    }
    assert.equal(get.headers.get("content-length"), String(Buffer.byteLength(get.body)));
  }
});

test("bodies arrive byte for byte, empty ones and large ones too", async (defer) => {
  const { app, g } = appWith();
  const port = serve(app.fetch, defer);
  const large = new Uint8Array(3_000_000).map((_, i) => i * 31);
  for (const body of [new Uint8Array(0), new Uint8Array([0, 255, 128, 10]), large]) {
    g.main.set("k", plainValue(body, "application/octet-stream"));
    for (let times = 0; times < 2; times++) {
      const response = await fetch(`http://127.0.0.1:${port}/cache/g/k`);
      assert.ok(Buffer.from(await response.arrayBuffer()).equals(body));
      assert.equal(response.headers.get("content-length"), String(body.length));
    }
  }
});

test("a body sent in one chunk arrives byte for byte, and HEAD has its length", async (defer) => {
  // Only Deno is faster so: see lib/runtime/start/settings.ts.
  const { app, g } = appWith({ isChunkedTextFaster: !onBun });
  const port = serve(app.fetch, defer);
  const chunkedFrom = 223;
  const chunkedTo = 16_384;
  for (const size of [0, 1, chunkedFrom - 1, chunkedFrom, 4_096, 4_097, chunkedTo, chunkedTo + 1]) {
    const isChunked = !onBun && size >= chunkedFrom && size <= chunkedTo;
    for (const byte of ["a".charCodeAt(0), 0xff]) {
      const value = { ...valueOf(""), body: new Uint8Array(size).fill(byte) };
      g.main.set("held", value);
      g.onLoad = () => Promise.resolve({ value, source: "peer", stored: false });
      for (const key of ["held", "loaded"]) {
        const label = `${key}, ${size} bytes of ${byte}`;
        const { headers } = await rawRequest(port, `/cache/g/${key}`);
        assert.equal(headers.get("transfer-encoding"), isChunked ? "chunked" : undefined, label);
        assert.equal(headers.get("content-length"), isChunked ? undefined : String(size), label);
        const response = await fetch(`http://127.0.0.1:${port}/cache/g/${key}`);
        assert.ok(Buffer.from(await response.arrayBuffer()).equals(value.body), label);
        const head = await rawRequest(port, `/cache/g/${key}`, "HEAD");
        assert.equal(head.headers.get("content-length"), String(size), label);
        assert.equal(head.headers.get("transfer-encoding"), undefined, label);
      }
    }
  }
});

test("a client that hangs up cancels its own load, and not that of another", async (defer) => {
  const clock = new ManualClock();
  const { app, g, log } = appWith({ clock });
  const port = serve(app.fetch, defer);
  const signals = new Map<string, PromiseWithResolvers<CancelSignal>>(
    ["leaves", "stays"].map((key) => [key, Promise.withResolvers()]),
  );
  const release = Promise.withResolvers<void>();
  g.onLoad = (key, signal) => {
    signals.get(key)!.resolve(signal);
    const gone = new Promise<never>((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    const value = valueOf(key);
    return Promise.race([gone, release.promise.then(() => ({ value, source: "peer" as const, stored: false }))]);
  };
  const stays = rawRequest(port, "/cache/g/stays");
  const socket = openSocket(port, defer);
  socket.write("GET /cache/g/leaves HTTP/1.1\r\nHost: h.test\r\n\r\n");
  const leaving = await signals.get("leaves")!.promise;
  const staying = await signals.get("stays")!.promise;
  const aborted = new Promise<void>((resolve) => {
    if (leaving.aborted) resolve();
    else leaving.addEventListener("abort", () => resolve(), { once: true });
  });
  await clock.advance(200);
  socket.destroy();
  await aborted;
  assert.equal(staying.aborted, false);
  release.resolve();
  assert.equal((await stays).body, "stays");
  assert.deepEqual(log.lines, []);
});

/** A door that lets all in that do not say "stranger"; it thinks for a moment. */
async function openDoor(events: WSEvents = {}): Promise<NonNullable<AppOptions["peers"]>> {
  const door: PeerDoor = {
    challenge: () => Promise.resolve({ "muster-challenge": "x" }),
    admit: async (fields) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return fields.has("stranger") ? undefined : events;
    },
  };
  return { door, upgrade: await webSocketUpgrade() };
}

test("the peers' path upgrades WebSockets, and answers 426 to all other requests", async (defer) => {
  const { app, log } = appWith({
    peers: await openDoor({ onMessage: (event, socket) => socket.send(`echo ${event.data}`) }),
  });
  const port = serve(app.fetch, defer);

  const socket = new WebSocket(`ws://127.0.0.1:${port}/_peer`);
  const closed = new Promise((resolve) => socket.onclose = resolve);
  const message = await new Promise((resolve, reject) => {
    socket.onopen = () => socket.send("hello");
    socket.onmessage = (event) => resolve(event.data);
    socket.onerror = reject;
  });
  assert.equal(message, "echo hello");
  socket.close();
  await closed;

  const plain = await rawRequest(port, "/_peer");
  assert.equal(plain.status, 426);
  assert.equal(plain.headers.get("upgrade"), "websocket");
  assert.equal(plain.headers.get("muster-challenge"), "x");
  assert.equal((await rawRequest(port, "/_peer", "POST")).status, 405);

  const wants = "Host: h\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n";
  const key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  for (const head of [`GET /_peer HTTP/1.1\r\n${wants}`, `HEAD /_peer HTTP/1.1\r\n${wants}${key}`]) {
    const raw = connect(port, "127.0.0.1");
    defer(() => raw.destroy());
    raw.write(`${head}\r\n`);
    const answer = await new Promise((resolve) => raw.once("data", (data) => resolve(data.toString("latin1"))));
    assert.match(answer as string, /^HTTP\/1\.1 426 /, head);
  }
  assert.deepEqual(log.lines, []);
});

test("a client that leaves while its upgrade is being decided upon writes no line to the log", async (defer) => {
  const asked = Promise.withResolvers<AbortSignal>();
  const decided = Promise.withResolvers<WSEvents>();
  const { app, log } = appWith({
    peers: {
      door: {
        challenge: () => Promise.resolve({}),
        admit: (_, gone) => {
          asked.resolve(gone);
          return decided.promise;
        },
      },
      upgrade: await webSocketUpgrade(),
    },
  });
  const port = serve(app.fetch, defer);
  const raw = openSocket(port, defer);
  raw.write(
    "GET /_peer HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  const gone = await asked.promise;
  raw.destroy();
  if (!gone.aborted) await new Promise((resolve) => gone.addEventListener("abort", resolve));
  decided.resolve({ onOpen: () => assert.fail("nobody is there") });
  assert.equal((await rawRequest(port, "/healthz")).status, 200);
  assert.deepEqual(log.lines, []);
});

test("a broken handshake is the client's fault, and writes no line to the log", async (defer) => {
  const { app, log } = appWith({ peers: await openDoor() });
  const port = serve(app.fetch, defer);
  const key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  const wants = `Upgrade: websocket\r\n${key}`;
  const upgrade = "Connection: Upgrade\r\n";
  const badHosts = ["a b", "%zz", "a:99999", "[::1", "", "a#b"];
  const cases: [head: string, status: number][] = [
    [`Host: h\r\n${wants}`, 426],
    [`Host: h\r\n${wants}Connection: close\r\n`, 426],
    [`Host: h\r\n${wants}Connection: no-upgrade\r\n`, 426],
    [`Host: h\r\n${wants}Connection: keep-alive,upgrade\r\n`, 101],
    ...badHosts.map((host): [string, number] => [`Host: ${host}\r\n${wants}${upgrade}`, 400]),
    [`Host: [::1]:8000\r\n${wants}${upgrade}`, 101],
    [`Host: h\r\n${wants}${upgrade}Stranger: yes\r\n`, 403],
  ];
  for (const [head, status] of cases) {
    const raw = openSocket(port, defer);
    raw.write(`GET /_peer HTTP/1.1\r\n${head}\r\n`);
    const answer = await new Promise<string>((resolve) => raw.once("data", (data) => resolve(data.toString("latin1"))));
    assert.equal(Number(answer.split(" ")[1]), status, head);
  }
  assert.deepEqual(log.lines, []);
});

function escapeEveryByte(text: string): string {
  return [...Buffer.from(text)].map((byte) => "%" + byte.toString(16).padStart(2, "0")).join("");
}
