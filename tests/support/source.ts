/** Reads the project's sources, for tests of its rules. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The folder of the checkout, with a slash at its end. */
export const root: string = fileURLToPath(new URL("../../", import.meta.url));

export interface Source {
  /** From the root, with slashes: `lib/core/group/group.ts`. */
  readonly path: string;
  readonly text: string;
}

/** Every TypeScript file of the project, sorted by path. */
export function projectSources(): Source[] {
  const paths = ["lib", "tests"].flatMap((folder) =>
    readdirSync(root + folder, { recursive: true, encoding: "utf8" }).map((path) => `${folder}/${path}`)
  );
  return ["main.ts", ...paths].filter((path) => path.endsWith(".ts")).sort()
    .map((path) => ({ path, text: readFileSync(root + path, "utf8") }));
}

/** Two texts of the same length: without comments, and without comments and strings. */
export interface Masked {
  readonly withStrings: string;
  readonly code: string;
}

/** Replaces comments and strings by spaces. Line feeds stay, so lines and offsets are those of the text. */
export function mask(text: string): Masked {
  const withStrings = text.split("");
  const code = text.split("");
  const blank = (chars: string[], from: number, to: number) => {
    for (let i = from; i < to; i++) if (chars[i] !== "\n") chars[i] = " ";
  };
  // For each open template: how many braces are open within its current ${…}.
  const templates: number[] = [];
  let at = 0;
  let lastCode = -1;
  while (at < text.length) {
    const comment = match(/\/\/[^\n]*|\/\*[^]*?\*\//y, text, at);
    const template = text[at] === "`" || (text[at] === "}" && templates.at(-1) === 0);
    const string = comment ?? match(/"(?:[^"\\\n]|\\[^])*"|'(?:[^'\\\n]|\\[^])*'/y, text, at) ??
      (startsRegExp(text, lastCode)
        ? match(/\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y, text, at)
        : undefined);
    if (comment !== undefined) {
      blank(withStrings, at, at + comment.length);
      blank(code, at, at + comment.length);
      at += comment.length;
    } else if (template) {
      if (text[at] === "}") templates.pop();
      const part = match(/(?:[^`\\$]|\\[^]|\$(?!\{))*(?:`|\$\{)/y, text, at + 1) ?? text.slice(at + 1);
      const end = at + 1 + part.length;
      if (part.endsWith("${")) templates.push(0);
      // Quotes and the braces of ${…} stay as code.
      blank(code, at + 1, end - (part.endsWith("${") ? 2 : 1));
      at = end;
      lastCode = end - 1;
    } else if (string !== undefined) {
      blank(code, at + 1, at + string.length - 1);
      at += string.length;
      lastCode = at - 1;
    } else {
      if (templates.length > 0 && text[at] === "{") templates[templates.length - 1]++;
      if (templates.length > 0 && text[at] === "}") templates[templates.length - 1]--;
      if (!/\s/.test(text[at])) lastCode = at;
      at++;
    }
  }
  return { withStrings: withStrings.join(""), code: code.join("") };
}

/** Whether a slash after the code that ends at `lastCode` begins a regular expression, and is no division. */
function startsRegExp(text: string, lastCode: number): boolean {
  if (lastCode < 0) return true;
  if (/[\w$)\]"'`]/.test(text[lastCode])) {
    return /(?:^|[^\w$.])(?:return|typeof|case|in|of|yield|await|else)$/.test(
      text.slice(Math.max(0, lastCode - 11), lastCode + 1),
    );
  }
  return true;
}

function match(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
}

export interface Import {
  /** As written; `undefined` when it is computed. */
  readonly specifier: string | undefined;
  /** 1 is the first. */
  readonly line: number;
}

const importForms = [
  // import … from "x", import type … from "x", export … from "x"
  /\b(?:import|export)\b[^;'"`()=]*?\bfrom\s*(["'])([^"'\n]+)\1/g,
  // import "x"
  /\bimport\s*(["'])([^"'\n]+)\1/g,
  // import("x"), typeof import("x"), require("x"), require.resolve("x"), import.meta.resolve("x")
  /\b(?:import|require|require\.resolve|import\.meta\.resolve)\s*\(\s*(?:(["'`])([^"'`\n$]+)\1)?/g,
];

/** Every module that a source imports, in any form, types included, in the order of their lines. */
export function importsOf(text: string): Import[] {
  const { withStrings, code } = mask(text);
  const found: Import[] = [];
  for (const form of importForms) {
    for (const { index, 0: whole, 2: specifier } of withStrings.matchAll(form)) {
      // Within a string the word "import" is blank in the code.
      if (code.slice(index, index + 6) !== whole.slice(0, 6)) continue;
      found.push({ specifier, line: lineAt(text, index) });
    }
  }
  return found.sort((a, b) => a.line - b.line);
}

/** The line of an offset; 1 is the first. */
export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}
