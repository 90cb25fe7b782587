/**
 * Declares tests: `node:test`, which Bun and Deno both run, and the programs that a test needs. A test whose program is
 * missing is skipped with the reason; in CI it fails.
 */
import { test as nodeTest } from "node:test";
import { execFileSync } from "node:child_process";
import { PATIENCE } from "./until.ts";

export interface Needs {
  /** Programs that must be on PATH (or absolute paths). */
  programs?: string[];
  /** Enough on an idle machine; a busy one gets `PATIENCE` times as long. @default 30_000 */
  timeoutMs?: number;
  /** Why it cannot run on this machine, where it is not required. In CI it then passes. */
  skip?: string;
}

/** Registers a clean-up for the end of the test, for any outcome. The last one registered runs first. */
export type Defer = (undo: () => unknown) => void;

export function test(name: string, run: (defer: Defer) => unknown): void;
export function test(name: string, needs: Needs, run: (defer: Defer) => unknown): void;
export function test(
  name: string,
  second: Needs | ((defer: Defer) => unknown),
  third?: (defer: Defer) => unknown,
): void {
  const needs = typeof second === "function" ? {} : second;
  const run = typeof second === "function" ? second : third!;
  const missing = (needs.programs ?? []).filter((program) => !hasProgram(program));
  const required = globalThis.process.env.CI === "true";
  const skip = required
    ? false
    : missing.length > 0
    ? `not on this machine: ${missing.join(", ")}`
    : needs.skip ?? false;
  nodeTest(name, { skip, timeout: PATIENCE * (needs.timeoutMs ?? 30_000) }, async () => {
    if (missing.length > 0) throw new Error(`CI must have ${missing.join(", ")}`);
    const undos: (() => unknown)[] = [];
    try {
      await run((undo) => undos.push(undo));
    } finally {
      for (const undo of undos.reverse()) await undo();
    }
  });
}

function hasProgram(program: string): boolean {
  try {
    execFileSync("/bin/sh", ["-c", 'command -v "$0"', program], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
