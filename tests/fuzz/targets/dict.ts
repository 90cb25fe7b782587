/** What a DICT server answers. */
import assert from "node:assert/strict";
import { NotFoundError, OriginError } from "../../../lib/core/errors.ts";
import { DefineAnswer, type Outcome, statusOf, unexpected } from "../../../lib/origins/dict/answer.ts";
import { LineReader } from "../../../lib/origins/dict/lines.ts";
import { chunksOf, type Dice } from "../dice.ts";
import { checkError, checkMessage, latin1Of, type Target, utf8 } from "../target.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** What came of a stream: the outcome of each word, and why the connection had to end. */
interface Heard {
  readonly outcomes: string[];
  readonly end: string | undefined;
}

const words = ["apple", "Äpfel", "a b"];

/** As a connection does it: the banner, the answer to CLIENT, then one answer after the other. */
function heardOf(chunks: readonly Bytes[]): Heard {
  const reader = new LineReader();
  const outcomes: string[] = [];
  const answers = words.map((word) => new DefineAnswer(word));
  let handshakes = 0;
  try {
    for (const chunk of chunks) {
      reader.push(chunk, (bytes, start, end) => {
        if (handshakes < 2) {
          const status = statusOf(bytes.subarray(start, end));
          if (handshakes++ === 0 ? status.code !== 220 : status.code !== 250 && status.code < 500) {
            throw unexpected(status);
          }
          return true;
        }
        if (answers.length === 0) throw unexpected(statusOf(bytes.subarray(start, end)));
        const outcome = answers[0]!.take(bytes, start, end);
        if (outcome === undefined) return true;
        outcomes.push(shown(outcome));
        answers.shift();
        return true;
      });
    }
  } catch (error) {
    checkError(error, [OriginError]);
    return { outcomes, end: (error as Error).message };
  }
  return { outcomes, end: undefined };
}

function shown(outcome: Outcome): string {
  if ("definition" in outcome) return `definition ${latin1Of(outcome.definition)}`;
  const { error } = outcome;
  assert.ok(error instanceof OriginError || error instanceof NotFoundError);
  checkMessage(error.message);
  return `${error.name} ${error.message}`;
}

function run(input: Bytes): boolean {
  const whole = heardOf([input]);
  const apart = heardOf(chunksOf(input));
  assert.equal(apart.end, whole.end);
  assert.equal(apart.outcomes.join("\0"), whole.outcomes.join("\0"));
  const bytes = whole.outcomes.reduce((sum, text) => sum + text.length, 0);
  assert.ok(bytes <= input.length + 3 * 300, `${bytes} bytes of definitions`);
  return whole.end === undefined && whole.outcomes.length > 0;
}

const HELLO = "220 dict.org dictd 1.12 <auth.mime> <1@dict.org>\r\n250 ok\r\n";
const texts = [
  "apple\n   n 1: fruit",
  "..\n.a\n..b",
  "",
  "\xff\r\r",
  "151 no status\n250 ok\n552 no",
  "a".repeat(2_000),
];

function answerOf(dice: Dice): string {
  const refusals = [
    "552 no match\r\n",
    "550 invalid database\r\n",
    "420 server down\r\n",
    "500 what\r\n",
    "250 ok\r\n",
  ];
  if (dice.isIn(0.3)) return dice.pick(refusals);
  const count = 1 + dice.size(4);
  const definitions = Array.from(
    { length: count },
    () => `151 "apple" wn "WordNet"\r\n${dice.pick(texts).replaceAll("\n", "\r\n")}\r\n.\r\n`,
  );
  return `150 ${count} definitions\r\n${definitions.join("")}250 ok [d/m/c = 1/0/20]\r\n`;
}

export const dictTargets: readonly Target[] = [
  {
    name: "dict",
    seeds: [
      utf8(
        `${HELLO}150 1 definitions\r\n151 "apple" wn "WordNet"\r\napple\r\n  n 1: fruit\r\n.\r\n250 ok\r\n552 no match\r\n`,
      ),
      utf8(`220 hello\n500 what\n150 2 definitions\n151 a\n..dot\n.\n151 b\n.\n250 ok\n`),
      utf8(`${HELLO}550 invalid database\r\n552 no match\r\n551 invalid strategy\r\n`),
      utf8("530 access denied\r\n"),
      utf8(`${HELLO}420 server shutting down\r\n`),
    ],
    tokens: ["\r\n", ".\r\n", "..", "\r", "220 ", "250 ok\r\n", "150 1\r\n", "151 a\r\n", "552 no\r\n", "421 ", "\n"],
    make: (dice) => utf8(HELLO + answerOf(dice) + answerOf(dice) + answerOf(dice)),
    run,
  },
];
