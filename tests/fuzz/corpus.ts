/** The inputs to start from: a target's own seeds, and files of inputs for which something was wrong once. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { root } from "../support/source.ts";
import type { Target } from "./target.ts";

const folder = join(root, "tests/fuzz/corpus");

/** All inputs of a target, at least one. */
export function checkedCorpus(target: Target): Uint8Array<ArrayBuffer>[] {
  const inputs = [...target.seeds, ...filesOf(target.name).map((path) => new Uint8Array(readFileSync(path)))];
  if (inputs.length === 0) throw new TypeError(`Cannot fuzz ${target.name} as it has no input to start from`);
  return inputs;
}

/** The targets that have files. */
export function namesInCorpus(): string[] {
  return readdirSync(folder);
}

/** Keeps an input for the tests. @returns its path */
export function keep(name: string, input: Uint8Array): string {
  mkdirSync(join(folder, name), { recursive: true });
  const path = join(folder, name, `${createHash("sha256").update(input).digest("hex").slice(0, 12)}.bin`);
  writeFileSync(path, input);
  return path;
}

function filesOf(name: string): string[] {
  const own = join(folder, name);
  return existsSync(own) ? readdirSync(own).sort().map((file) => join(own, file)) : [];
}
