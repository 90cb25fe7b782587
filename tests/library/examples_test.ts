/** Runs every example in the library's doc comments, and the examples of its README that need no other node. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root, temporaryDirectory } from "../support/node.ts";
import { test } from "../support/test.ts";

const files = [
  "mod.ts",
  ...["library", "plugs"].flatMap((room) => readdirSync(join(root, "lib", room)).map((name) => `${room}/${name}`)),
].filter((path) => path.endsWith(".ts"));
const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** The examples of one file, without the stars of their comments. */
function examplesOf(path: string): string[] {
  const comments = readFileSync(join(root, "lib", path), "utf8").match(
    /^ *\/\*\*.*?\*\//gms,
  ) ?? [];
  return comments.flatMap((comment) => {
    const text = comment.replace(/^ *\* ?/gm, "");
    return [...text.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code!);
  });
}

test(
  "the examples of the library run",
  { timeoutMs: 60_000 },
  async (defer) => {
    const folder = temporaryDirectory(defer);
    const examples = files.flatMap((path) => examplesOf(path).map((code) => ({ path, code })));
    const readme = readFileSync(join(root, "lib/library/README.md"), "utf8");
    const alone = [...readme.matchAll(/^```ts[^\n]*\n(.*?)^```/gms)].filter(([, code]) =>
      code!.includes('nats: "off"')
    );
    assert.ok(examples.length >= 9 && alone.length > 0, "they are found");
    examples.push(...alone.map(([, code]) => ({ path: "README.md", code: code! })));
    const sourceOf = (entry: string) => JSON.stringify(pathToFileURL(join(root, exports[`.${entry}`])).href);
    await Promise.all(examples.map(async ({ path, code }, number) => {
      assert.ok(code.includes('from "muster-cache"'), `${path}: ${code}`);
      const file = join(folder, `example${number}.ts`);
      writeFileSync(
        file,
        code.replace(/"muster-cache(\/\w+)?"/g, (_name, entry = "") => sourceOf(entry)),
      );
      try {
        await import(pathToFileURL(file).href);
      } catch (error) {
        throw new Error(`${path} has an example that fails:\n${code}`, {
          cause: error,
        });
      }
    }));
  },
);
