/** Which answer in which language is for which request (RFC 9110, section 12.5.4; RFC 4647, section 3.4). */
import assert from "node:assert/strict";
import { inLanguage, inWantedLanguage, languageOf, selectionOf } from "../../../lib/core/semantics/vary.ts";
import { test } from "../../support/test.ts";

const names = ["accept", "accept-language"];
const saying = (language: string, accept = "text/html") =>
  selectionOf(names, [["accept", accept], ["accept-language", language]]);
const languages = (says: string | undefined) => says?.split("accept-language\u0001=")[1];

test("the heaviest language range ends a lookup, whatever else the request would take (4647 3.4)", () => {
  const rows: [asked: string, wanted: string | undefined, why: string][] = [
    ["de", "de", "the only one"],
    ["fr;q=0.5, de;q=1.0", "de", "the heavier one, in any order"],
    ["de, *;q=0.1", "de", "any other is wanted less"],
    ["DE-at;q=0.9, en;q=0.8", "de-at", "case does not count (5646 2.1.1)"],
    ["en, de", undefined, "both alike: the origin chooses"],
    ["en;q=0.5, de;q=0.50", undefined, "the same weight, written otherwise"],
    ["en, de;q=0.5, fr", undefined, "two of three alike"],
    ["*, de;q=0.5", undefined, "any language is wanted most"],
    ["de;q=0", undefined, "not wanted at all (9110 12.4.2)"],
    ["", undefined, "no language"],
    ["d=e", undefined, "no language range"],
  ];
  for (const [asked, wanted, why] of rows) assert.equal(languages(inWantedLanguage(saying(asked))), wanted, why);
  assert.equal(inWantedLanguage(selectionOf(names, [["accept", "a"]])), undefined, "the request does not say");
  assert.equal(inWantedLanguage(selectionOf(["accept"], [["accept", "de"]])), undefined, "another field");
});

test("an answer in a language is for those who want it most and agree in all other fields of Vary (9111 4.1)", () => {
  const answered = inLanguage(saying("en, de"), "de");
  assert.equal(answered, inWantedLanguage(saying("fr;q=0.5, de")));
  assert.notEqual(answered, inWantedLanguage(saying("fr;q=0.5, de", "text/plain")));
  assert.notEqual(answered, inWantedLanguage(saying("de-AT, de;q=0.9")), "de may be there as Austrians write it");
  assert.equal(inLanguage(saying("de"), undefined), undefined);
  assert.equal(inLanguage(saying("de"), "*"), undefined);
  assert.equal(inLanguage(selectionOf(["accept"], [["accept", "a"]]), "de"), undefined, "not told apart by languages");
});

test("an answer is in one language, or in none that tells it apart (9110 8.5)", () => {
  assert.equal(languageOf([["content-language", "de-AT"]]), "de-at");
  assert.equal(languageOf([["content-language", "mi, en"]]), undefined);
  assert.equal(languageOf([["content-language", "de"], ["content-language", "en"]]), undefined);
  assert.equal(languageOf([]), undefined);
});
