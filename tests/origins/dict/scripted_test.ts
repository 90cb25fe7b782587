/** The DICT origin against servers that are slow, rude or gone. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createServer } from "node:net";
import { once } from "node:events";
import process from "node:process";
import { NotFoundError, OriginError, OriginTimeoutError, OverloadedError } from "../../../lib/core/errors.ts";
import { DictOrigin } from "../../../lib/origins/dict/dict-origin.ts";
import { LineReader } from "../../../lib/origins/dict/lines.ts";
import { ManualClock } from "../../support/clock.ts";
import { type Defer, test } from "../../support/test.ts";
import { until } from "../../support/until.ts";
import { answer, type Client, type Script, type ScriptedServer, serveDict } from "./dict-server.ts";

const never = new AbortController().signal;

interface Setting {
  server: ScriptedServer;
  clock: ManualClock;
  origin: DictOrigin;
  /** The definition as text. */
  get(word: string, signal?: AbortSignal): Promise<string>;
}

async function setting(defer: Defer, script: Script): Promise<Setting> {
  const server = await serveDict(defer, script);
  const clock = new ManualClock();
  const origin = new DictOrigin({ host: "127.0.0.1", port: server.port, database: "db" }, { clock });
  defer(() => origin.close());
  const get = async (word: string, signal = never) => {
    return Buffer.from((await origin.load(word, signal)).body).toString("latin1");
  };
  return { server, clock, origin, get };
}

/** Fails with an OriginError that is not the one for slowness. */
async function assertOriginFails(promise: Promise<unknown>, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error: Error) => {
    assert.ok(error instanceof OriginError, String(error));
    assert.ok(!(error instanceof OriginTimeoutError), String(error));
    assert.match(error.message, message);
    return true;
  });
}

const defines = (server: ScriptedServer) => server.lines.filter((line) => line.startsWith("DEFINE"));

test("a DICT command quotes its word as RFC 2229 says, special characters outside of the strings", async (defer) => {
  const { server, get } = await setting(defer, { define: (_, client) => client.say(answer("x")) });
  for (const word of ["piston", "hot dog", "o'clock", 'say "hi"', "back\\slash", "über"]) {
    assert.equal(await get(word), "x\n");
  }
  assert.deepEqual(server.lines, [
    'CLIENT "muster"',
    'DEFINE db "piston"',
    'DEFINE db "hot dog"',
    `DEFINE db "o'clock"`,
    'DEFINE db "say "\\""hi"\\"',
    'DEFINE db "back"\\\\"slash"',
    'DEFINE db "über"',
  ]);
});

test("a word with a line break or another control character never reaches the socket", async (defer) => {
  const { server, get } = await setting(defer, { define: (_, client) => client.say(answer("x")) });
  const words = ["a\r\nSHUTDOWN", "a\nb", "a\rb", "a\0b", "\x7f", "\x85", "\u2028", "\ud800", "w".repeat(1024), ""];
  for (const word of words) await assert.rejects(get(word), NotFoundError, JSON.stringify(word));
  assert.equal(server.clients.length, 0);
  assert.equal(await get("w".repeat(1008)), "x\n");
  assert.equal(server.lines[1]!.length + 2, 1022);
});

test("only a line that starts with two dots loses one, and bytes stay as they are", async (defer) => {
  const text = "..two\r\n.22\r\n...\r\nbytes \x80\xff\r\nbare\n  indented \r\n";
  const { get } = await setting(defer, {
    define: (_, client) => client.say(Uint8Array.from(answer(text), (char) => char.charCodeAt(0))),
  });
  assert.equal(await get("x"), ".two\n.22\n..\nbytes \x80\xff\nbare\n  indented \n\n");
});

test("an answer that arrives byte by byte is the same, and the first of several definitions counts", async (defer) => {
  const text = `150 2 definitions\r\n151 "a" x "X"\r\nfirst\r\n.\r\n151 "a" y "Y"\r\n250 ok\r\n.\r\n250 ok\r\n`;
  const { get } = await setting(defer, {
    define: (_, client) => {
      for (const char of text) client.say(char);
    },
  });
  assert.deepEqual(await Promise.all([get("a"), get("b"), get("c")]), ["first\n", "first\n", "first\n"]);
});

test("a server that does not know CLIENT is asked all the same", async (defer) => {
  const { get } = await setting(defer, { client: "500 what\r\n", define: (_, client) => client.say(answer("x")) });
  assert.equal(await get("a"), "x\n");
});

test("a server that is not available or answers nonsense has failed, and is left", async (defer) => {
  const cases: [string, Partial<Script>, RegExp][] = [
    ["420 greeting", { greeting: "420 later\r\n" }, /not available: 420/],
    ["421 greeting", { greeting: "421 shutting down\r\n" }, /not available: 421/],
    ["530 greeting", { greeting: "530 denied\r\n" }, /refuses this node: 530 denied/],
    ["531 greeting", { greeting: "531 denied, see SHOW INFO\r\n" }, /refuses this node: 531/],
    ["532 greeting", { greeting: "532 unknown mechanism\r\n" }, /refuses this node: 532/],
    ["foreign greeting", { greeting: "HTTP/1.1 400 Bad Request\r\n" }, /nonsense/],
    ["420 answer", { define: (_, client) => client.say("420 busy\r\n") }, /not available: 420/],
    ["421 answer", { define: (_, client) => client.say("421 down\r\n") }, /not available: 421/],
    ["nonsense", { define: (_, client) => client.say("hello\r\n") }, /nonsense: "hello"/],
    ["no code", { define: (_, client) => client.say("1500 x\r\n") }, /nonsense/],
    ["no text", { define: (_, client) => client.say("150 1\r\n250 ok\r\n") }, /nonsense: "250 ok"/],
    ["250 only", { define: (_, client) => client.say("250 ok\r\n") }, /nonsense/],
    ["421 inside", { define: (_, client) => client.say('150 1\r\n151 "a" b "c"\r\nx\r\n.\r\n421 x\r\n') }, /421/],
  ];
  for (const [name, script, message] of cases) {
    const { server, get } = await setting(defer, { define: () => {}, ...script });
    await assertOriginFails(get(name), message);
    await server.until(() => server.open() === 0);
  }
});

test("an error status about one word fails that word only", async (defer) => {
  const { server, get } = await setting(defer, {
    define: (word, client) => client.say(word === "bad" ? "501 syntax error\r\n" : answer(word)),
  });
  const [a, bad, b] = await Promise.allSettled([get("a"), get("bad"), get("b")]);
  assert.deepEqual([a, b].map((result) => (result as { value?: string }).value), ["a\n", "b\n"]);
  await assertOriginFails(Promise.reject((bad as PromiseRejectedResult).reason), /501 syntax error/);
  assert.equal(server.clients.length, 1);
});

test("a new connection that ends before the answer is a failure, at once and without a second try", async (defer) => {
  const ways: ((client: Client) => void)[] = [
    (client) => client.socket.destroy(),
    (client) => client.socket.end(),
    (client) => client.socket.end('150 1\r\n151 "a" b "c"\r\nhalf of'),
  ];
  for (const way of ways) {
    const { server, get } = await setting(defer, { define: (_, client) => way(client) });
    await assertOriginFails(get("a"), /closed|broke/);
    await server.until(() => server.open() === 0);
    assert.equal(defines(server).length, 1);
  }
});

test("a server that is not there has failed at once; the check warns and does not throw", async (defer) => {
  const free = createServer().listen(0, "127.0.0.1");
  await once(free, "listening");
  const { port } = free.address() as { port: number };
  await new Promise((resolve) => free.close(resolve));
  const origin = new DictOrigin({ host: "127.0.0.1", port, database: "*" }, { clock: new ManualClock() });
  defer(() => origin.close());
  await assertOriginFails(origin.load("a", never), /broke|closed/);
  assert.match((await origin.check())!, new RegExp(`^dict://127\\.0\\.0\\.1:${port} cannot be asked now`));
});

test("no answer within ten seconds is a timeout, and the next word goes over another connection", async (defer) => {
  const { server, clock, get } = await setting(defer, {
    define: (word, client) => word === "slow" ? client.say("150 1 coming\r\n") : client.say(answer(word)),
  });
  const slow = get("slow");
  const behind = get("behind");
  slow.catch(() => {});
  behind.catch(() => {});
  await server.until(() => defines(server).length === 2);
  await clock.advance(9_999);
  await clock.advance(1);
  await assert.rejects(slow, OriginTimeoutError);
  await assert.rejects(behind, OriginTimeoutError);
  await server.until(() => server.open() === 0);
  assert.equal(await get("next"), "next\n");
  assert.equal(server.clients.length, 2);
});

test("a word that is asked behind one that is never answered is asked again elsewhere, once", async (defer) => {
  const silent = new Set<Client>();
  const { server, clock, get } = await setting(defer, {
    define: (word, client) => {
      if (word.startsWith("stuck")) silent.add(client);
      if (!silent.has(client)) client.say(answer(word));
    },
  });
  await get("first");
  const stuck = get("stuck");
  stuck.catch(() => {});
  await server.until(() => defines(server).length === 2);
  await clock.advance(9_000);
  const behind = get("behind");
  const stuckToo = get("stuck too");
  stuckToo.catch(() => {});
  await server.until(() => defines(server).length === 4);
  await clock.advance(1_000);
  await assert.rejects(stuck, OriginTimeoutError);
  assert.equal(await behind, "behind\n");
  assert.equal(server.clients.length, 2);
  await server.until(() => defines(server).length === 6);
  await clock.advance(9_000);
  await assert.rejects(stuckToo, OriginTimeoutError);
});

test("a load has the time that its group gives it, on its connection, too", async (defer) => {
  const held: (() => void)[] = [];
  const server = await serveDict(defer, { define: (word, client) => held.push(() => client.say(answer(word))) });
  const clock = new ManualClock();
  const options = { host: "127.0.0.1", port: server.port, database: "db" };
  const origin = new DictOrigin(options, { clock, loadTimeoutMs: 60_000 });
  defer(() => origin.close());
  const slow = origin.load("slow", never);
  await server.until(() => held.length === 1);
  await clock.advance(59_999);
  held[0]!();
  assert.equal(Buffer.from((await slow).body).toString(), "slow\n");
  const late = origin.load("late", never);
  late.catch(() => {});
  await server.until(() => held.length === 2);
  await clock.advance(60_000);
  await assert.rejects(late, OriginTimeoutError);
});

test("a server that takes the connection and says nothing is a timeout", async (defer) => {
  const { server, clock, get } = await setting(defer, { greeting: "", define: () => {} });
  const word = get("a");
  word.catch(() => {});
  await server.until(() => server.clients.length === 1);
  // The client has seen its connection, too: only the word and the greeting are waited for.
  await until(() => clock.pending === 2, 5_000, () => `${clock.pending}`);
  await clock.advance(5_000);
  await assert.rejects(word, OriginTimeoutError);
});

test("one word's cancellation leaves those before and behind it on the connection alone", async (defer) => {
  const held: (() => void)[] = [];
  const { server, get } = await setting(defer, {
    define: (word, client) => held.push(() => client.say(answer(word))),
  });
  const controller = new AbortController();
  const words = [get("a"), get("gone", controller.signal), get("b")];
  words[1]!.catch(() => {});
  await server.until(() => held.length === 3);
  controller.abort(new Error("nobody waits"));
  await assert.rejects(words[1]!, /nobody waits/);
  for (const release of held) release();
  assert.deepEqual([await words[0], await words[2]], ["a\n", "b\n"]);
  assert.equal(server.clients.length, 1);
  await assert.rejects(get("c", controller.signal), /nobody waits/);
  assert.equal(defines(server).length, 3);
});

test("a word that is cancelled before the greeting is never asked", async (defer) => {
  const { server, get } = await setting(defer, { greeting: "", define: (word, client) => client.say(answer(word)) });
  const controller = new AbortController();
  const gone = get("gone", controller.signal);
  const kept = get("kept");
  gone.catch(() => {});
  await server.until(() => server.clients.length === 1);
  controller.abort(new Error("nobody waits"));
  await assert.rejects(gone, /nobody waits/);
  server.clients[0]!.say("220 at last\r\n");
  assert.equal(await kept, "kept\n");
  assert.deepEqual(defines(server), ['DEFINE db "kept"']);
});

test("a cancelled word whose answer never comes does not hold its connection for ever", async (defer) => {
  const { server, clock, get } = await setting(defer, {
    define: (word, client) => word === "stuck" || client.say(answer(word)),
  });
  const controller = new AbortController();
  await get("first");
  const stuck = get("stuck", controller.signal);
  stuck.catch(() => {});
  await server.until(() => defines(server).length === 2);
  controller.abort();
  await clock.advance(10_000);
  await server.until(() => server.open() === 0);
  assert.equal(await get("next"), "next\n");
});

test("words lost on a kept connection that the server had closed are asked once more on a new one", async (defer) => {
  const { server, get } = await setting(defer, {
    define: (word, client) =>
      client.number === 1 && word !== "first" ? client.socket.destroy() : client.say(answer(word)),
  });
  assert.equal(await get("first"), "first\n");
  assert.deepEqual(await Promise.all([get("a"), get("b")]), ["a\n", "b\n"]);
  assert.equal(server.clients.length, 2);
});

test("words lost on many kept connections at once are all asked again", async (defer) => {
  let restarted = false;
  const held: (() => void)[] = [];
  const { server, get } = await setting(defer, {
    define: (word, client) => {
      if (!restarted) held.push(() => client.say(answer(word)));
      else if (client.number <= 4) client.socket.destroy();
      else client.say(answer(word));
    },
  });
  const words = Array.from({ length: 256 }, (_, i) => `w${i}`);
  const first = Promise.all(words.map((word) => get(word)));
  await server.until(() => held.length === 256);
  for (const release of held) release();
  await first;
  restarted = true;
  assert.deepEqual(await Promise.all(words.map((word) => get(word))), words.map((word) => `${word}\n`));
  await server.until(() => server.open() <= 4);
});

test("a word lost on one kept connection is not tried on another kept one", async (defer) => {
  let restarted = false;
  const held: (() => void)[] = [];
  const { server, get } = await setting(defer, {
    define: (word, client) => {
      if (!restarted) held.push(() => client.say(answer(word)));
      else if (client.number <= 2) client.socket.destroy();
      else client.say(answer(word));
    },
  });
  const first = Promise.all(Array.from({ length: 17 }, (_, i) => get(`w${i}`)));
  await server.until(() => held.length === 17);
  for (const release of held) release();
  await first;
  assert.equal(server.clients.length, 2);
  restarted = true;
  assert.equal(await get("a"), "a\n");
  assert.equal(server.clients.length, 3);
});

test("a word that is lost on the new connection too has failed", async (defer) => {
  const { server, get } = await setting(defer, {
    define: (word, client) => word === "first" ? client.say(answer(word)) : client.socket.destroy(),
  });
  await get("first");
  await assertOriginFails(get("a"), /closed|broke/);
  assert.deepEqual(defines(server), ['DEFINE db "first"', 'DEFINE db "a"', 'DEFINE db "a"']);
});

test("a kept connection that ends in the middle of an answer is not asked again", async (defer) => {
  const { server, get } = await setting(defer, {
    define: (word, client) => word === "first" ? client.say(answer(word)) : client.socket.end("150 1\r\n"),
  });
  await get("first");
  await assertOriginFails(get("a"), /closed|broke/);
  assert.equal(server.clients.length, 1);
});

test("words that a server refuses on a kept connection, as it goes away, are asked once more on a new one", async (defer) => {
  for (const status of ["420 later", "421 shutting down"]) {
    const { server, get } = await setting(defer, {
      define: (word, client) =>
        client.number === 1 && word !== "first" ? client.say(`${status}\r\n`) : client.say(answer(word)),
    });
    assert.equal(await get("first"), "first\n");
    assert.deepEqual(await Promise.all([get("a"), get("b")]), ["a\n", "b\n"], status);
    assert.equal(server.clients.length, 2);
  }
});

test("a word that a server refuses on the new connection too, as it goes away, has failed", async (defer) => {
  const { server, get } = await setting(defer, {
    define: (word, client) => client.say(word === "first" ? answer(word) : "421 shutting down\r\n"),
  });
  await get("first");
  await assertOriginFails(get("a"), /not available: 421/);
  assert.deepEqual(defines(server), ['DEFINE db "first"', 'DEFINE db "a"', 'DEFINE db "a"']);
});

test("a kept connection that the server closes is replaced without a word being lost", async (defer) => {
  const { server, get } = await setting(defer, { define: (word, client) => client.say(answer(word)) });
  for (let round = 1; round <= 3; round++) {
    assert.equal(await get("a"), "a\n");
    server.clients.at(-1)!.socket.end();
    await server.until(() => server.open() === 0);
  }
  assert.equal(server.clients.length, 3);
});

test("connections, words on them and words that wait are bounded", async (defer) => {
  const { server, origin, get } = await setting(defer, { define: () => {} });
  const most = 4 * 64 + 1_024;
  const all = Array.from({ length: most }, (_, i) => get(`w${i}`));
  const settled = Promise.allSettled(all);
  await assert.rejects(get("one more"), OverloadedError);
  await server.until(() => defines(server).length === 4 * 64);
  assert.equal(server.clients.length, 4);
  await origin.close();
  for (const result of await settled) {
    assert.ok(result.status === "rejected" && result.reason instanceof OriginError);
  }
  await server.until(() => server.open() === 0);
  await assertOriginFails(get("late"), /closed/);
});

test("words that wait are sent when others are answered, in their order", async (defer) => {
  const held: (() => void)[] = [];
  let hold = true;
  const { server, get } = await setting(defer, {
    define: (word, client) => hold ? held.push(() => client.say(answer(word))) : client.say(answer(word)),
  });
  const words = Array.from({ length: 400 }, (_, i) => `w${i}`);
  const all = words.map((word) => get(word));
  await server.until(() => held.length === 256);
  hold = false;
  for (const release of held) release();
  assert.deepEqual(await Promise.all(all), words.map((word) => `${word}\n`));
  assert.equal(server.clients.length, 4);
});

test("an answer over 16 MiB or a line over 1 MiB is a failure, and the connection is left", async (defer) => {
  const line = "x".repeat(1023) + "\n";
  const { server, get } = await setting(defer, {
    define: (word, client) => {
      client.say('150 1\r\n151 "a" b "c"\r\n');
      if (word === "line") client.say("y".repeat(1024 * 1024 + 1));
      else for (let i = 0; i < 17; i++) client.say(line.repeat(1024));
    },
  });
  await assertOriginFails(get("answer"), /more than 16777216 bytes/);
  await assertOriginFails(get("line"), /a line of more than 1048576 bytes/);
  await server.until(() => server.open() === 0);
});

test("an answer of 6 MiB in the shortest lines costs its bytes, not an object for each line", async (defer) => {
  const mib = 1024 * 1024;
  const { get } = await setting(defer, {
    define: (_, client) => {
      client.say('150 1\r\n151 "a" b "c"\r\n');
      for (let i = 0; i < 6; i++) client.say("\n".repeat(mib));
      client.say(".\r\n250 ok\r\n");
    },
  });
  const before = process.memoryUsage().rss;
  let most = before;
  const watch = setInterval(() => most = Math.max(most, process.memoryUsage().rss), 5);
  defer(() => clearInterval(watch));
  assert.equal(await get("a"), "\n".repeat(6 * mib));
  most = Math.max(most, process.memoryUsage().rss);
  // The server's own bytes, the definition and its buffer. With an object for each line it was 640 MiB on Bun, 1,450 on Deno.
  assert.ok(most - before < 250 * mib, `${Math.round((most - before) / mib)} MiB`);
});

test("a line that comes in the smallest pieces is read in one pass", () => {
  const bytes = new Uint8Array(1024 * 1024).fill(0x78);
  const reader = new LineReader();
  const lines: number[] = [];
  const take = (_: Uint8Array, start: number, end: number) => lines.push(end - start) > 0;
  const sinceMs = performance.now();
  for (let at = 0; at < bytes.length; at += 16) reader.push(bytes.subarray(at, at + 16), take);
  reader.push(Uint8Array.of(0x0d, 0x0a), take);
  assert.deepEqual(lines, [bytes.length]);
  // Measured 20 to 60 ms; copying all that came before with each piece took 8 s and more.
  assert.ok(performance.now() - sinceMs < 2_000);
});

test("a definition over the group's longest value is a failure of its own, and the connection stays", async (defer) => {
  const server = await serveDict(defer, { define: (word, client) => client.say(answer(word)) });
  const options = { host: "127.0.0.1", port: server.port, database: "db" };
  const origin = new DictOrigin(options, { clock: new ManualClock(), valueBytesMax: 3 });
  defer(() => origin.close());
  assert.equal((await origin.load("ab", never)).body.length, 3);
  await assertOriginFails(origin.load("abc", never), /longer than the longest value, which has 3 bytes/);
  assert.equal(server.clients.length, 1);
});

test("a connection without words is closed after five minutes, with a goodbye", async (defer) => {
  const { server, clock, get } = await setting(defer, { define: (word, client) => client.say(answer(word)) });
  await get("a");
  await clock.advance(299_999);
  assert.equal(server.open(), 1);
  await clock.advance(1);
  await server.until(() => server.open() === 0);
  assert.equal(server.lines.at(-1), "QUIT");
  assert.equal(clock.pending, 0);
});
