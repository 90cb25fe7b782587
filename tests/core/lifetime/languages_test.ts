/** An answer in one language serves all who want that language most: on its owner, and on the nodes that ask it. */
import assert from "node:assert/strict";
import { invalidationOf } from "../../../lib/core/invalidation/message.ts";
import type { LoadContext } from "../../../lib/core/ports.ts";
import { linesOf } from "../../../lib/core/semantics/fields.ts";
import { selectionOf } from "../../../lib/core/semantics/vary.ts";
import type { Answer } from "../../../lib/core/value.ts";
import { test } from "../../support/test.ts";
import { read, text } from "../cluster.ts";
import { getFor, requestWith, threeNodes, withFreshness } from "./support.ts";

const names = ["accept-language"];
const said = (language: string) => requestWith("accept-language", language);

/** Has `de` and `en`; where both are wanted alike, or neither, `de` is the answer. */
function deOrEn(_key: string, { request }: LoadContext, status = 200): Answer {
  const fields = request?.fields ?? [];
  const [heaviest] = selectionOf(names, fields).split("=")[1]?.split(",") ?? [];
  const language = heaviest === "en" && !linesOf(fields, "accept-language").join().includes("de") ? "en" : "de";
  const selection = { names, says: selectionOf(names, fields) };
  const answer = { ...text(`in ${language}`), status, fields: [["content-language", language]] as const, selection };
  return withFreshness(answer, { freshMs: 10_000 });
}

test("a stored answer serves another request that wants its language most, on every node", async () => {
  const { key, a, b, c, origin } = threeNodes({});
  origin.answer = deOrEn;
  assert.equal(read(await getFor(a, key, said("en, de"))), "in de");
  for (const group of [a, b, c]) {
    assert.equal(read(await getFor(group, key, said("fr;q=0.5, de;q=1.0"))), "in de");
    assert.equal(read(await getFor(group, key, said("de"))), "in de");
    assert.equal(read(await getFor(group, key, said("en, de"))), "in de");
  }
  assert.equal(origin.loads.length, 1);
  assert.equal(read(await getFor(c, key, said("en, fr;q=0.1"))), "in en");
  assert.equal(read(await getFor(a, key, said("en"))), "in en");
  assert.equal(origin.loads.length, 2);
});

test("a request that wants two languages alike, or another most, gets an answer of its own", async () => {
  const { key, a, origin } = threeNodes({});
  origin.answer = deOrEn;
  for (const language of ["de", "de, fr", "it, de;q=0.9", "de-AT, de;q=0.9", "*"]) await getFor(a, key, said(language));
  assert.equal(origin.loads.length, 5);
});

test("an error page in a language is only for requests with the same Accept-Language", async () => {
  const { key, b, origin } = threeNodes({});
  origin.answer = (key, context) => deOrEn(key, context, 410);
  for (const language of ["en, de", "de"]) await getFor(b, key, said(language));
  assert.equal(origin.loads.length, 2);
});

test("an invalidation covers an answer under both of its requests", async () => {
  const { key, b, origin } = threeNodes({});
  origin.answer = deOrEn;
  await getFor(b, key, said("en, de"));
  b.validity.addPending(invalidationOf({ keys: [key] }));
  assert.equal(b.lookup(key, said("de")), undefined);
  assert.equal(b.lookup(key, said("en, de")), undefined);
});
