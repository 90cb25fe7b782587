/** Imports the module that an operator names; if that fails, says why in one line. */
import { statSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { stripVTControlCharacters } from "node:util";
import { ConfigError } from "../../core/errors.ts";

/** The longest reason in a log line, in characters. Chosen. */
const MAX_REASON = 300;

/** @param specifier a path, relative to the working directory or absolute, or a `file://` URL */
export function urlOfModule(specifier: string): URL {
  return specifier.startsWith("file:") ? new URL(specifier) : pathToFileURL(resolve(specifier));
}

/**
 * The exports of a module. Both runtimes load it once in a process, even if it is imported more often.
 *
 * @throws ConfigError there is no such file, or it cannot be run: the message names the file and the reason
 */
export async function importModule(url: URL): Promise<Readonly<Record<string, unknown>>> {
  const path = fileURLToPath(url);
  const fault = (reason: string, cause?: unknown) =>
    new ConfigError(`Cannot use the module ${path}: ${reason}`, { cause });
  // The runtimes' messages for a missing file differ, and a missing import inside the file gives the same ones.
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) throw fault("there is no such file");
  try {
    return await import(url.href);
  } catch (error) {
    throw fault(reasonOf(error), error);
  }
}

/**
 * The reason in one line. Deno reports a syntax error on many lines, with the code in colours; Bun puts it in an error
 * inside an error.
 */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  const { name = "", message = String(error), position } = Object(error) as Partial<Fault>;
  const lines = stripVTControlCharacters(message).split("\n").map((line) => line.trim());
  const place = position ? `at line ${position.line}, column ${position.column}` : lines.find(isPlace);
  const kind = name === "" || /Message$/.test(name) || lines[0]!.includes("Error: ") ? "" : `${name}: `;
  return `${kind}${lines[0]}${place === undefined ? "" : ` (${place})`}`.slice(0, MAX_REASON);
}

function isPlace(line: string): boolean {
  return /^at file:.*:\d+:\d+$/.test(line);
}

/** An error, or one of Bun's build messages, which are not errors. */
interface Fault {
  readonly name: string;
  readonly message: string;
  readonly position: { readonly line: number; readonly column: number } | null;
}
