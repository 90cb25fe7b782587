/** Reads the command line into flags and their values. */
import { parseArgs } from "node:util";
import { shown } from "../file.ts";
import { redacted } from "../options.ts";
import type { OptionText } from "./help.ts";
import { nearest } from "./nearest.ts";

/**
 * Returns the values of each flag, in the order given; adds faults to `faults`.
 *
 * @param args takes the arguments that belong to no flag. @default each is a fault
 */
export function readFlags(
  texts: readonly OptionText[],
  argv: readonly string[],
  faults: string[],
  args?: string[],
): Map<string, string[]> {
  const known = new Map(texts.map((text) => [text.flag, text.value !== ""]));
  // A task runner may pass on the dashes of `npm start -- …`.
  const rest = argv[0] === "--" ? argv.slice(1) : [...argv];
  const { tokens } = parseArgs({
    // One dash means the same as two, as in Go's flag package: -addr=… is one option, never -a -d -d -r.
    args: rest.map((arg) => /^-(?:[A-Za-z]|[^-]{2})/.test(arg) ? `-${arg}` : arg),
    options: Object.fromEntries([...known].map(([flag, taking]) => [flag, { type: taking ? "string" : "boolean" }])),
    strict: false, // its own messages stop at the first fault
    allowPositionals: true,
    tokens: true,
  });
  const found = new Map<string, string[]>();
  let valueAt: number | undefined;
  for (const token of tokens) {
    // This is the value of a mistyped flag, which is a fault already.
    if (token.kind === "positional" && token.index === valueAt) continue;
    if (token.kind === "positional" && args !== undefined) args.push(token.value);
    else if (token.kind === "positional") {
      faults.push(`every argument must belong to a flag: ${shown(redacted(token.value))}`);
    }
    if (token.kind !== "option") continue;
    const taking = known.get(token.name);
    if (taking === undefined) {
      const near = nearest(token.name, known.keys());
      const hint = near === undefined ? "" : `: is --${near} meant?`;
      faults.push(`there is no option ${token.rawName.slice(0, 200)}${hint}`);
      if (near !== undefined && known.get(near) && !token.inlineValue) valueAt = token.index + 1;
    } else if (!taking && token.value !== undefined) {
      faults.push(`--${token.name} takes no value: ${shown(token.value)}`);
    } else if (taking && (token.value === undefined || (!token.inlineValue && token.value.startsWith("-")))) {
      // "--name --zone a": the next flag is no value. Write a value that begins with a dash with "=".
      faults.push(
        `--${token.name} must have a value: ${token.value === undefined ? "none" : shown(token.value)} follows`,
      );
    } else {
      const values = found.get(token.name) ?? [];
      values.push(token.value ?? "");
      found.set(token.name, values);
    }
  }
  return found;
}
