/** Commands that no test can run: what they name must at least exist. */
import { existsSync, readFileSync } from "node:fs";
import { commands, type CommandText } from "../../lib/config/command-line/commands.ts";
import { options } from "../../lib/config/options.ts";
import { root } from "../support/source.ts";

const readJson = (name: string) => JSON.parse(readFileSync(root + name, "utf8"));

/** What a command names and this checkout does not have: scripts, tasks, options, files. */
export function faultsOf(line: string): string[] {
  return line.split(/ && |; /).flatMap((command) => {
    const faults: string[] = [];
    const words = command.split(/\s+/);
    const [program, verb, third] = words;
    const scripts: Record<string, string> = readJson("package.json").scripts;
    const script = program !== "npm"
      ? undefined
      : verb === "run"
      ? third
      : /^(start|test)$/.test(verb!)
      ? verb
      : undefined;
    if (script !== undefined && scripts[script] === undefined) faults.push(`npm has no script ${script}`);
    if (program === "deno" && verb === "task" && readJson("deno.json").tasks[third!] === undefined) {
      faults.push(`deno has no task ${third}`);
    }
    const run = script === undefined ? command : scripts[script] ?? "";
    // A program of the reader's own takes what the reader likes.
    const source = /\S+\.ts\b/.exec(run)?.[0];
    const isOurs = source !== undefined && (/^(\.\/)?(lib|tests)\//.test(source) || existsSync(root + source));
    for (const word of words) {
      const isPath = /^(\.\/)?(lib|tests)\/|^main\.ts$/.test(word);
      if (isPath && !existsSync(root + word)) faults.push(`there is no ${word}`);
      const option = /^--([a-z][\w-]*)/.exec(word)?.[1];
      if (option !== undefined && isOurs && !optionsOf(source).includes(option)) {
        faults.push(`${source} has no option --${option}`);
      }
    }
    return faults;
  });
}

/** The options of main.ts, or of a program that reads them with `parseArgs`. */
function optionsOf(source: string): string[] {
  if (source === "main.ts") {
    const ofCommands = Object.values<CommandText>(commands).flatMap((command) => Object.values(command.options));
    return ["help", "version", ...[...Object.values(options), ...ofCommands].map(({ flag }) => flag)];
  }
  const text = existsSync(root + source) ? readFileSync(root + source, "utf8") : "";
  return [...text.matchAll(/^\s*"?([\w-]+)"?: \{ type: "/gm)].map(([, name]) => name!);
}
