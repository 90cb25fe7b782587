/** The keys of every load and their values, computed in the same way as in contestants/served and wrk.lua. */
import { Buffer } from "node:buffer";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryDirectory } from "../support/node.ts";
import type { Defer } from "../support/test.ts";

export const groupName = "bench";
export const valueBytes = 1_024;

export function keyOf(rank: number): string {
  return `key-${rank}`;
}

/** 1 KiB derived from the key. */
export function valueOf(key: string): Buffer<ArrayBuffer> {
  return Buffer.alloc(valueBytes, `${key}|`, "latin1");
}

/** A file for wrk.lua. */
export function keyFile(defer: Defer, keys: readonly string[]): string {
  const path = join(temporaryDirectory(defer), "keys");
  writeFileSync(path, keys.join("\n") + "\n");
  return path;
}

export function firstKeys(count: number): string[] {
  return Array.from({ length: count }, (_, rank) => keyOf(rank));
}
