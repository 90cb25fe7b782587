/** The DICT origin against a real dictd. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { ConfigError, NotFoundError, OriginError } from "../../../lib/core/errors.ts";
import { DictOrigin } from "../../../lib/origins/dict/dict-origin.ts";
import { ManualClock } from "../../support/clock.ts";
import { DICTD_PROGRAMS, dictPrints, startDictd } from "../../support/dictd.ts";
import { type Defer, test } from "../../support/test.ts";

const needs = { programs: DICTD_PROGRAMS };
const never = new AbortController().signal;

function originAt(defer: Defer, port: number, database: string): DictOrigin {
  const origin = new DictOrigin({ host: "127.0.0.1", port, database }, { clock: new ManualClock() });
  defer(() => origin.close());
  return origin;
}

async function textOf(origin: DictOrigin, word: string): Promise<string> {
  return Buffer.from((await origin.load(word, never)).body).toString("latin1");
}

test("a definition is what the dict client prints, for gcide's piston and others", needs, async (defer) => {
  const { port } = await startDictd(defer);
  const gcide = originAt(defer, port, "gcide");
  const piston = await gcide.load("piston", never);
  assert.equal(piston.contentType, "text/plain; charset=utf-8");
  assert.match(new TextDecoder().decode(piston.body), /^Piston \\Pis"ton\\, n\. [^]*\[1913 Webster\]\n$/);
  // zebra has several definitions, of which the first counts.
  for (const word of ["piston", "zebra", "set", "run", "coup d'etat", "hot", "A"]) {
    assert.equal(await textOf(gcide, word), await dictPrints(port, "gcide", word), word);
  }
  const wn = originAt(defer, port, "wn");
  for (const word of [".22", "'hood", "hot dog", "o'clock", "able", "well-known", "PISTON"]) {
    assert.equal(await textOf(wn, word), await dictPrints(port, "wn", word), word);
  }
});

test("all databases are asked with *, and the first one's definition is the value", needs, async (defer) => {
  const { port } = await startDictd(defer);
  assert.equal(await textOf(originAt(defer, port, "*"), "piston"), await dictPrints(port, "gcide", "piston"));
});

test("words with quotes, backslashes, spaces and umlauts reach the server as they are", needs, async (defer) => {
  const words = {
    'say "hi"': "greets\n",
    "back\\slash": "a \\ sign\n",
    'end\\"': "both\n",
    "o'clock": "of the clock\n",
    "über Öl": "Ümläute\n",
    "日本語": "a language\n",
    "naïve": "with a diaeresis\n",
  };
  const { port } = await startDictd(defer, words);
  const origin = originAt(defer, port, "ours");
  for (const [word, text] of Object.entries(words)) {
    const { body } = await origin.load(word, never);
    assert.equal(new TextDecoder().decode(body), text, word);
  }
});

test("a word that does not exist is not found, and the connection serves on", needs, async (defer) => {
  const { port } = await startDictd(defer);
  const origin = originAt(defer, port, "wn");
  for (const word of ["xyzzyx", 'no "such" word', "no\\word", "", "it's not here", "füßchen"]) {
    await assert.rejects(origin.load(word, never), NotFoundError, word);
  }
  assert.match(await textOf(origin, "piston"), /^Piston\n/);
});

test("a definition with bytes outside UTF-8 arrives byte for byte", needs, async (defer) => {
  const { port } = await startDictd(defer);
  const gcide = originAt(defer, port, "gcide");
  const words = ["Black Friday", "Timur", "Uredinales"];
  for (const word of words) {
    const text = await textOf(gcide, word);
    assert.throws(() => new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(text, "latin1")), word);
    assert.equal(text, await dictPrints(port, "gcide", word), word);
  }
});

test("twenty words at once take far less than twenty words in turn", needs, async (defer) => {
  const { port } = await startDictd(defer);
  const origin = originAt(defer, port, "wn");
  const words = "one two three four five six seven eight nine ten red green blue dog cat bird fish tree house river"
    .split(" ");
  const timeMs = async (run: () => Promise<unknown>) => {
    const startMs = performance.now();
    await run();
    return performance.now() - startMs;
  };
  await origin.load("warm", never);
  const inTurnMs = await timeMs(async () => {
    for (const word of words) await origin.load(word, never);
  });
  const atOnceMs = await timeMs(() => Promise.all(words.map((word) => origin.load(word, never))));
  assert.ok(atOnceMs < inTurnMs / 3, `at once ${atOnceMs} ms, in turn ${inTurnMs} ms`);
  const bodies = await Promise.all(words.map((word) => textOf(origin, word)));
  for (const [i, word] of words.entries()) {
    assert.equal(bodies[i]!.split("\n")[0]!.toLowerCase(), word);
  }
});

test("the check tells an unknown database from a server that is away", needs, async (defer) => {
  const { port } = await startDictd(defer);
  assert.equal(await originAt(defer, port, "gcide").check(), undefined);
  assert.equal(await originAt(defer, port, "ours").check(), undefined);
  const unknown = originAt(defer, port, "nosuch");
  await assert.rejects(unknown.check(), (error: Error) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /dict:\/\/127\.0\.0\.1:\d+\/nosuch .* 550 invalid database/);
    return true;
  });
  await assert.rejects(unknown.load("piston", never), OriginError);
});
