/** What a command reads and writes: the process's own, or a test's. */
import type { Clock } from "../core/base/clock.ts";

/** The surroundings of a command. */
export interface Terminal {
  /** Standard output. Resolves when it is written, or when nobody reads it any more. */
  out(text: string | Uint8Array): Promise<void>;
  /** Standard error. */
  err(text: string): void;
  /** Whether standard output is a terminal. */
  readonly isTerminal: boolean;
  /** Whether it may be coloured. */
  readonly isColoured: boolean;
  /** The values of these variables. */
  env(names: readonly string[]): Record<string, string | undefined>;
  /** The text of a file; throws. */
  readFile(path: string): string;
  /** Whether every user of this machine may read the file; throws. */
  isReadableByAll(path: string): boolean;
  readonly clock: Clock;
  /** Aborted when the command is to end, as by Ctrl+C. */
  readonly stopped: AbortSignal;
}

/** 0: all is well; 1: something is wrong, or is not there; 2: the command line cannot be used. */
export type ExitCode = 0 | 1 | 2;

/** Something that a command was told, and that ends it with exit code 1. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}
