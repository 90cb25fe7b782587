/** The house rules that a machine can see. */
import assert from "node:assert/strict";
import { importsOf, lineAt, mask, projectSources, type Source } from "./support/source.ts";
import { test } from "./support/test.ts";

const maxFunctionLines = 70;

const sources = projectSources();
const lib = sources.filter(({ path }) => path.startsWith("lib/"));
const tests = sources.filter(({ path }) => path.startsWith("tests/"));

type Check = (source: Source) => string[];

/** Fails with every offender, one a line. */
function assertTidy(check: Check, among: readonly Source[]): void {
  const offenders = among.flatMap(check);
  assert.equal(offenders.length, 0, `\n${offenders.join("\n")}`);
}

/** The check must find the fault in `bad`, once, or it would not be one. */
function assertFinds(check: Check, bad: string, path = "lib/a.ts"): void {
  assert.equal(check({ path, text: bad }).length, 1, bad);
}

/**
 * Counts from the head of a function to the brace that stands under its first letter, as `deno fmt` puts it. An arrow
 * function counts from the line with its arrow.
 */
const longFunctions: Check = ({ path, text }) => {
  const lines = mask(text).code.split("\n");
  const found: string[] = [];
  lines.forEach((line, at) => {
    if (!line.endsWith("{") || !isFunctionHead(lines, at)) return;
    const close = `${indentOf(line)}}`;
    const end = lines.findIndex((other, index) => index > at && other.startsWith(close) && !other.endsWith("{"));
    const first = headOf(lines, at);
    const length = end - first + 1;
    if (length > maxFunctionLines) {
      found.push(`${path}:${first + 1}: a function of ${length} lines, over ${maxFunctionLines}`);
    }
  });
  return found;
};

function indentOf(line: string): string {
  return /^ */.exec(line)![0];
}

/** The line in which the statement begins that ends at `at` with an open brace. */
function headOf(lines: readonly string[], at: number): number {
  const indent = indentOf(lines[at]);
  let head = at;
  while (head > 0 && /^[)}\]]/.test(lines[head].trim())) {
    head--;
    while (head > 0 && (lines[head].trim() === "" || indentOf(lines[head]) !== indent)) head--;
  }
  return head;
}

function isFunctionHead(lines: readonly string[], at: number): boolean {
  if (lines[at].endsWith("=> {")) return true;
  if (/[(,[=:]\s*\{$/.test(lines[at])) return false;
  const head = lines[headOf(lines, at)].trim();
  return /\bfunction\b/.test(head) ||
    /^(?:(?:async|static|override|get|set|private|public|protected) |\*)*(?!(?:if|for|while|switch|catch|else|do|try|return|with|new)\b)[#\w$]+(?:<.*>)?\(/
      .test(head);
}

// Spelt in halves, so that this file does not offend.
const notes = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"].join("|")})\\b`, "g");

const leftNotes: Check = ({ path, text }) =>
  [...text.matchAll(notes)].map(({ 0: note, index }) => `${path}:${lineAt(text, index)}: ${note}: do it or file it`);

const defaultExports: Check = ({ path, text }) =>
  [...mask(text).code.matchAll(/\bexport\s+default\b|\bas\s+default\b/g)].map(({ index }) =>
    `${path}:${lineAt(text, index)}: a default export, which Bun would serve a second time`
  );

const partialRuns: Check = ({ path, text }) =>
  [...mask(text).code.matchAll(/\.(only|skip|todo)\s*\(|\b(only|todo)\s*:\s*true/g)].map(({ 0: what, index }) =>
    `${path}:${lineAt(text, index)}: ${what}: tests are skipped only for lack of a program, by their needs`
  );

const bareImports: Check = ({ path, text }) =>
  importsOf(text).flatMap(({ specifier, line }) =>
    specifier?.startsWith(".") && !/\.(ts|json)$/.test(specifier)
      ? [`${path}:${line}: ${specifier}: a relative import says .ts`]
      : []
  );

const undocumented: Check = ({ path, text }) => {
  const lines = text.split("\n");
  const { code } = mask(text);
  const found: string[] = [];
  let last: string | undefined;
  const form =
    /^export (?:default )?(?:abstract )?(?:(?:async )?function\*?|class|const(?= \w+(?:: [^=\n]+)? = (?:async )?(?:\([^\n]*=>|\($)))\s*(\w+)/gm;
  for (const { index, 1: name } of code.matchAll(form)) {
    const line = lineAt(code, index);
    // The signatures of an overloaded function stand under one comment.
    if (name !== last && !lines[line - 2]?.trimEnd().endsWith("*/")) {
      found.push(`${path}:${line}: ${name} is exported without a doc comment`);
    }
    last = name;
  }
  return found;
};

test("functions of lib are short", () => {
  const body = (lines: number) => "  a();\n".repeat(lines);
  const long = body(maxFunctionLines - 1);
  const heads = [
    "function f(): void {",
    "export async function f<T>(\n  a: T,\n): Promise<{ b: T }> {",
    "export function f({ a, b }: {\n  a: string;\n}): void {",
    "const f = async (a: string) => {",
    "constructor(a: string) {",
    "async #f<T>(a: T): Promise<T> {",
    "static override f(\n  a: string,\n) {",
    "get f(): string {",
    'test("a", (a) => {',
  ];
  for (const head of heads) {
    assertFinds(longFunctions, `${head}\n${long}}\n`);
    const fits = body(maxFunctionLines - head.split("\n").length - 1);
    assert.deepEqual(longFunctions({ path: "lib/a.ts", text: `${head}\n${fits}}\n` }), [], head);
  }
  for (
    const head of [
      "class A {",
      "if (a) {",
      "} else if (a) {",
      "for (const a of b) {",
      "const a = {",
      "f({",
      "switch (a) {",
    ]
  ) {
    assert.deepEqual(longFunctions({ path: "lib/a.ts", text: `${head}\n${long}}\n` }), [], head);
  }
  assertTidy(longFunctions, lib);
});

test("nothing is left for later in a comment", () => {
  assertFinds(leftNotes, "// TO" + "DO: later");
  assert.deepEqual(leftNotes({ path: "lib/a.ts", text: "// todos, XXXL" }), []);
  assertTidy(leftNotes, sources);
});

test("main.ts has no default export", () => {
  assertFinds(defaultExports, "export default { fetch };");
  assertFinds(defaultExports, "export { app as default };");
  assertTidy(defaultExports, sources.filter(({ path }) => path === "main.ts"));
  assert.ok(sources.some(({ path }) => path === "main.ts"));
});

test("no test runs alone or is left out", () => {
  assertFinds(partialRuns, 'test.only("a", () => {});');
  assertFinds(partialRuns, 'test.skip("a", () => {});');
  assertFinds(partialRuns, 'test("a", { only: true }, () => {});');
  assert.ok(tests.length > 0);
  assertTidy(partialRuns, tests);
});

test("relative imports name the file", () => {
  assertFinds(bareImports, 'import { a } from "./a";');
  assertFinds(bareImports, 'export * from "../core";');
  assertFinds(bareImports, 'await import("./a.js");');
  assert.deepEqual(bareImports({ path: "lib/a.ts", text: 'import "./a.ts";\nimport "a";' }), []);
  assertTidy(bareImports, sources);
});

test("every exported function and class of lib says what it is", () => {
  assertFinds(undocumented, "export function f(): void {}");
  assertFinds(undocumented, "/** B */\nexport class B {}\nexport abstract class A {}");
  assertFinds(undocumented, "// not a doc comment\nexport async function f() {}");
  assertFinds(undocumented, "export const f = (a: string) => a;");
  const good = "/** F */\nexport function f(a: 1): void;\nexport function f(a: 2): void;\nexport const a = 1;\n";
  assert.deepEqual(undocumented({ path: "lib/a.ts", text: good }), []);
  assertTidy(undocumented, lib);
});
