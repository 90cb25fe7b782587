/** The input and output of a command: the process's own, or a test's. */
import type { Clock } from "../core/base/clock.ts";

/** The surroundings of a command. */
export interface Terminal {
  /** Writes to standard output. Resolves when the text is written, or its reader has gone. */
  out(text: string | Uint8Array): Promise<void>;
  /** Writes to standard error. */
  err(text: string): void;
  /** Whether standard output is a terminal. */
  readonly isTerminal: boolean;
  /** Whether standard output may be coloured. */
  readonly isColoured: boolean;
  /** The values of these variables. */
  env(names: readonly string[]): Record<string, string | undefined>;
  /** The text of a file; throws. */
  readFile(path: string): string;
  /** Whether every user of this machine may read the file; throws. */
  isReadableByAll(path: string): boolean;
  readonly clock: Clock;
  /** Aborted when the command must end, as by Ctrl+C. */
  readonly stopped: AbortSignal;
}

/** 0: all is well; 1: something is wrong, or is not there; 2: the command line cannot be used. */
export type ExitCode = 0 | 1 | 2;

/** A fault that ends a command with exit code 1; the message is for the operator. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}
