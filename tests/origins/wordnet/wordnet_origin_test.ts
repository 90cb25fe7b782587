import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError, NotFoundError, OriginError } from "../../../lib/core/errors.ts";
import { DictOrigin } from "../../../lib/origins/dict/dict-origin.ts";
import { DataFile, findLine } from "../../../lib/origins/wordnet/files.ts";
import { wordnetDirectory, WordnetOrigin } from "../../../lib/origins/wordnet/wordnet-origin.ts";
import { ManualClock } from "../../support/clock.ts";
import { DICTD_PROGRAMS, startDictd } from "../../support/dictd.ts";
import { type Defer, test } from "../../support/test.ts";

const never = new AbortController().signal;

function wordnet(defer: Defer, directory?: string): WordnetOrigin {
  const origin = new WordnetOrigin(directory === undefined ? {} : { directory });
  defer(() => origin.close());
  return origin;
}

async function textOf(origin: WordnetOrigin | DictOrigin, word: string): Promise<string> {
  return new TextDecoder().decode((await origin.load(word, never)).body);
}

test("WordNet's entry for piston is printed as dictd prints it", async (defer) => {
  const { body, contentType } = await wordnet(defer).load("piston", never);
  assert.equal(contentType, "text/plain; charset=utf-8");
  assert.equal(
    new TextDecoder().decode(body),
    `Piston
    n 1: United States neoclassical composer (1894-1976) [syn:
         {Piston}, {Walter Piston}]
    2: mechanical device that has a plunging or thrusting motion
       [syn: {piston}, {plunger}]
`,
  );
});

test("words that are the same in both editions print as dictd's wn database, byte for byte", {
  programs: DICTD_PROGRAMS,
}, async (defer) => {
  const { port } = await startDictd(defer);
  const dictd = new DictOrigin({ host: "127.0.0.1", port, database: "wn" }, { clock: new ManualClock() });
  defer(() => dictd.close());
  const origin = wordnet(defer);
  const expected = await Promise.all(SAME_WORDS.map((word) => textOf(dictd, word)));
  for (const [i, word] of SAME_WORDS.entries()) assert.equal(await textOf(origin, word), expected[i], word);
});

test("words are found wherever they stand in an index file, at both ends too", async (defer) => {
  const origin = wordnet(defer);
  for (const ending of ["noun", "verb", "adj", "adv"]) {
    const index = await readFile(join(await wordnetDirectory(), `index.${ending}`), "latin1");
    const lemmas = index.split("\n").filter((line) => !/^(?: |$)/.test(line)).map((line) => line.split(" ")[0]!);
    const some = [...lemmas.slice(0, 3), ...lemmas.filter((_, i) => i % 211 === 0), ...lemmas.slice(-3)];
    assert.ok(some.length > 25, ending);
    for (const lemma of some) {
      const [headword] = (await textOf(origin, lemma)).split("\n");
      assert.equal(headword!.toLowerCase().replaceAll(" ", "_"), lemma);
      await assert.rejects(origin.load(`${lemma}~`, never), NotFoundError);
    }
  }
});

test("every line of an index file is found by binary search, whatever block it begins or ends in", async (defer) => {
  const path = join(await wordnetDirectory(), "index.adv");
  const file = await DataFile.open(path);
  defer(() => file.close());
  const lines = (await readFile(path, "latin1")).split("\n").filter((line) => !/^(?: |$)/.test(line));
  assert.ok(lines.length > 4_000);
  for (const line of lines) assert.equal(await findLine(file, line.split(" ")[0]!, never), line);
});

test("case does not count, and a space and an underscore are the same", async (defer) => {
  const origin = wordnet(defer);
  const hotDog = await textOf(origin, "hot dog");
  assert.match(hotDog, /^hot dog\n {4}n 1: /);
  for (const word of ["HOT DOG", "hot_dog", "Hot Dog"]) assert.equal(await textOf(origin, word), hotDog);
});

test("what is not a word of WordNet is not found", async (defer) => {
  const origin = wordnet(defer);
  const words = [
    "xyzzyx",
    "",
    " ",
    "piston ",
    "pisto",
    "pistona",
    "über",
    "\u212aelvin",
    "1 This",
    "zzzz",
    "a\nb",
    "\0",
  ];
  for (const word of [...words, "w".repeat(1024)]) {
    await assert.rejects(origin.load(word, never), NotFoundError, JSON.stringify(word));
  }
});

test("many words at once give each its own entry", async (defer) => {
  const origin = wordnet(defer);
  const inTurn: string[] = [];
  for (const word of SAME_WORDS) inTurn.push(await textOf(origin, word));
  const atOnce = await Promise.all([...SAME_WORDS, ...SAME_WORDS].map((word) => textOf(origin, word)));
  assert.deepEqual(atOnce, [...inTurn, ...inTurn]);
});

test("a cancelled lookup ends with the reason, and others go on", async (defer) => {
  const origin = wordnet(defer);
  const controller = new AbortController();
  const gone = origin.load("run", controller.signal);
  const kept = textOf(origin, "piston");
  controller.abort(new Error("nobody waits"));
  await assert.rejects(gone, /nobody waits/);
  assert.match(await kept, /^Piston\n/);
});

test("close waits for lookups in flight, and then nothing is looked up", async (defer) => {
  const origin = wordnet(defer);
  const word = textOf(origin, "piston");
  await origin.close();
  assert.match(await word, /^Piston\n/);
  await assert.rejects(origin.load("piston", never), OriginError);
});

test("missing files are the operator's mistake at start-up, and a failed origin later", async (defer) => {
  const directory = await mkdtemp(join(tmpdir(), "muster-wordnet-"));
  defer(() => rm(directory, { recursive: true, force: true }));
  const origin = wordnet(defer, directory);
  await assert.rejects(origin.check(), (error: Error) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /index\.adv cannot be read/);
    return true;
  });
  await assert.rejects(origin.load("piston", never), OriginError);
  assert.equal(await wordnet(defer).check(), undefined);
});

test("files that are not WordNet's are a failed origin, not a wrong answer", async (defer) => {
  const directory = await mkdtemp(join(tmpdir(), "muster-wordnet-"));
  defer(() => rm(directory, { recursive: true, force: true }));
  for (const ending of ["noun", "verb", "adj", "adv"]) {
    await writeFile(
      join(directory, `index.${ending}`),
      "piston n 1 0 1 0 00000004  \nplug n x\nput n 1 0 1 0 99999999  \n",
    );
    await writeFile(join(directory, `data.${ending}`), "abc\nnot a synset\n");
  }
  const origin = wordnet(defer, directory);
  for (const word of ["piston", "plug", "put"]) await assert.rejects(origin.load(word, never), OriginError, word);
  await assert.rejects(origin.load("other", never), NotFoundError);
});

/** Of each kind some: parts of speech, antonyms, markers, dashes, hyphens at the end of a line, ten senses and more. */
const SAME_WORDS = (
  "piston, dog, run, able, fast, 22, A, back, lie, beautiful, afloat, galore, abaxial, .22, 'hood, " +
  "hot dog, up, water, plunger, lee, prima, sunday-go-to-meeting, o'clock, well-known, a la carte, ad, " +
  "bang, close up, absent, abstract, left, open, close, cold, big, red, happy, sad, unable, " +
  "deoxyribonucleic acid, a posteriori, merry-go-round, jack-in-the-box, mother-in-law, forget-me-not, " +
  "slow-moving, fly, iron, walk, eat, sleep, about, before, alone, asleep, elect, former, zebra, apple, " +
  "table, democracy, abdicate, justice, ghost"
).split(", ");
