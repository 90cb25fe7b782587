/** A group that an operator defines while nodes run: the JSON of one group in the file, with two differences. */
import { ConfigError } from "../core/errors.ts";
import { MAX_NESTING } from "./file.ts";
import type { GroupConfig } from "./config.ts";
import { parseConfig } from "./parse.ts";
import type { ConfigInput } from "./values.ts";

const FILE = "its definition";

/**
 * Reads the definition of one group. It must contain the values of headers itself. Files and variables belong to a
 * node, and a writer of definitions must not get them sent to an origin that he chooses.
 *
 * @throws ConfigError with every fault, in one line
 */
export function readDefinition(
  name: string,
  bytes: Uint8Array,
  checkOrigin: ConfigInput["checkOrigin"],
): GroupConfig {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new ConfigError("it is not JSON in UTF-8");
  }
  // A worker of Bun took 260 ms to write a definition with 20,000 levels.
  if (isNestedDeeper(json, MAX_NESTING)) throw new ConfigError(`it is nested deeper than ${MAX_NESTING} levels`);
  // Reuse the rules of the file. If a field is given twice, the last one counts.
  const content = JSON.stringify({ groups: { [name]: json } });
  const nothing = () => {
    throw new Error("only the text itself can be given in a definition");
  };
  try {
    const parsed = parseConfig({
      argv: ["--config", FILE],
      env: {},
      readVariable: nothing,
      readFile: (path) => path === FILE ? content : nothing(),
      isTerminal: false,
      checkOrigin,
    });
    if (parsed.kind === "run") return parsed.config.groups[0]!;
    throw new TypeError("Cannot read a definition as help");
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(faultsIn(error.message, name));
  }
}

function isNestedDeeper(json: unknown, levels: number): boolean {
  if (typeof json !== "object" || json === null) return false;
  return levels === 0 || Object.values(json).some((child) => isNestedDeeper(child, levels - 1));
}

/** The faults in one line, without the parts about the file. */
function faultsIn(message: string, name: string): string {
  const lines = message.split("\n").slice(1, -1).map((line) => line.trim());
  const about = [`--config ${FILE}: `, `in the file ${FILE} `, `groups.${name}.`];
  return lines.map((line) => about.reduce((text, part) => text.replaceAll(part, ""), line)).join("; ");
}
