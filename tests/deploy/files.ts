/** The files of lib/deploy, read as those read them for whom they are. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DockerfileParser } from "dockerfile-ast";
import { parse } from "yaml";
import { options } from "../../lib/config/options.ts";
import { commands, type CommandText } from "../../lib/config/command-line/commands.ts";
import { root } from "../support/node.ts";

export const read = (path: string): string => readFileSync(join(root, "lib/deploy", path), "utf8");

/** One `FROM` with what follows it. */
export interface Stage {
  readonly name: string | undefined;
  readonly steps: readonly { readonly keyword: string; readonly text: string }[];
}

/** The stages of the image. */
export function stages(): Stage[] {
  const found: { name: string | undefined; steps: { keyword: string; text: string }[] }[] = [];
  const text = read("docker/Dockerfile");
  const lines = text.split("\n");
  for (const instruction of DockerfileParser.parse(text).getInstructions()) {
    const { start, end } = instruction.getRange();
    assert.equal(start.line, end.line, "an instruction of one line");
    // With its flags, which no method of the parser gives.
    const keyword = instruction.getKeyword();
    const step = { keyword, text: lines[start.line]!.slice(keyword.length).trim() };
    if (step.keyword === "FROM") found.push({ name: / AS (\S+)$/i.exec(step.text)?.[1], steps: [] });
    found.at(-1)!.steps.push(step);
  }
  return found;
}

/** A service of compose.yaml. */
export interface Service {
  readonly image: string;
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly healthcheck: { readonly test: readonly string[] };
  readonly volumes?: readonly string[];
  readonly secrets?: readonly string[];
  readonly ports?: readonly string[];
  readonly user?: string;
  readonly read_only?: boolean;
  readonly stop_grace_period?: string;
}

export interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
}

export function compose(): Compose {
  return parse(read("docker/compose.yaml"), { merge: true });
}

const serveFlags = [...Object.values(options).map(({ flag }) => flag), "help", "version"];

/** What a command line of muster, without its program, names and does not exist. */
export function faultsOfCommand(words: readonly string[]): string[] {
  const [word = "serve"] = words;
  const command = Object.values<CommandText>(commands).find(({ words }) => words === word);
  if (command === undefined) return [`there is no command ${word}`];
  const own = Object.values(command.options).map(({ flag }) => flag);
  const known = [...own, ...(command.takesServe ? serveFlags : [])];
  const flags = words.flatMap((text) => /^--?([a-z][\w-]*)/.exec(text)?.[1] ?? []);
  return flags.filter((flag) => !known.includes(flag)).map((flag) => `${word} has no option --${flag}`);
}

const variables = [
  ...Object.values(options).map(({ env }) => env as string),
  ...Object.values<CommandText>(commands).flatMap((command) => Object.values(command.options).map(({ env }) => env)),
];

/** The variables that no option of muster reads. */
export function unknownVariables(names: readonly string[]): string[] {
  return names.filter((name) => !variables.includes(name));
}
