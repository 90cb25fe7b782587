/** A reader who types what a README says: in a copy of the checkout, with ports of its own, one process a terminal. */
import { spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { freePort } from "../support/free-port.ts";
import {
  bothRuntimes,
  NodeProcess,
  root,
  type RuntimeKind,
  runtimeProgram,
  temporaryDirectory,
} from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import { PATIENCE, until } from "../support/until.ts";
import { keeps, type Step } from "./steps.ts";

/** Chosen: a node under load on two shared cores starts in less. */
const startMs = 30_000;
/** Chosen: npm takes a second to start, and a node leaves within its --drain-timeout of 5 s. */
const commandMs = 20_000;

/** How a README runs the program. */
const file = "(main\\.ts|dist/muster\\.js)";
const program =
  `(npm start|(npx )?bun run (--preload \\S+ )?${file}|deno (run -[AP] ${file}|task start)|\\./dist/muster)\\b`;
/** A word behind it is a command, or none that there is. */
const startsNode = new RegExp(`^${program}(?!(?: --)? (?!serve\\b)[a-z])(?!.*--(help|version))`);
const isProgram = new RegExp(`^${program}`);
/** How a node starts whose runtime the test chooses. */
const startOn: Readonly<Record<RuntimeKind, string>> = { bun: "bun run main.ts", deno: "deno run -P main.ts" };
const talksToNode = /^(curl|nats|export NATS_NKEY=)/;
/** A variable for the commands after it, in all terminals. */
const exports = /^export (\w+)=(\S+)$/;
const goesOn = /^(nats kv watch|node (-e|\S+\.mjs)|.* main\.ts peers .*--watch)\b/;
/** SIGUSR1 and SIGUSR2 end no node. */
const ends = /^(pkill|kill)\b(?! -USR)/;
/** The ports that READMEs name; the reader uses free ones in their place. */
const named = [8000, 8001, 8002, 3000, 4222];
const leftOut = [".git", ".muster", "dist", "node_modules"];

/**
 * Whether this runtime types: what is typed runs in processes of its own, so one runtime is enough. That is Bun, or Deno
 * where there is no Bun.
 */
export const isTypist: boolean = "Bun" in globalThis ||
  spawnSync(runtimeProgram("bun"), ["--version"], { stdio: "ignore" }).status !== 0;

export interface ReaderOptions {
  /** How long a promised line may take, in milliseconds. @default 20_000 */
  readonly promiseMs?: number;
  /** On which runtimes the page's nodes run, one after another and from the front again. @default as the page says */
  readonly runtimes?: readonly RuntimeKind[];
}

type Terminal = NodeProcess<string> & { isNode?: boolean };

/** Follows the steps of one README. */
export class Reader {
  /** Commands whose program this machine does not have. */
  readonly skipped: string[] = [];
  readonly #path: string;
  readonly #folder: string;
  readonly #ports: ReadonlyMap<number, number>;
  readonly #terminals = new Map<string, Terminal>();
  #lastNode: Terminal | undefined;

  readonly #promiseMs: number;
  readonly #runtimes: readonly RuntimeKind[];
  #nodesStarted = 0;
  readonly #exported: Record<string, string> = {};

  private constructor(path: string, folder: string, ports: ReadonlyMap<number, number>, options: ReaderOptions) {
    this.#path = path;
    this.#folder = folder;
    this.#ports = ports;
    this.#promiseMs = options.promiseMs ?? commandMs;
    this.#runtimes = options.runtimes ?? [];
  }

  /** @param path of the README, for faults */
  static async open(defer: Defer, path: string, options: ReaderOptions = {}): Promise<Reader> {
    const folder = temporaryDirectory(defer);
    cpSync(root, folder, {
      recursive: true,
      filter: (from) => !leftOut.some((name) => from === join(root, name) || from.includes(`/tests/${name}`)),
    });
    if (existsSync(join(root, "node_modules"))) usePackagesOf(root, folder);
    mkdirSync(join(folder, ".bin"));
    for (const kind of bothRuntimes) {
      const program = runtimeProgram(kind);
      if (program !== kind) symlinkSync(program, join(folder, ".bin", kind));
    }
    const ports = new Map<number, number>();
    for (const port of named) ports.set(port, await freePort());
    const reader = new Reader(path, folder, ports, options);
    defer(() => reader.#killAll());
    return reader;
  }

  /** Starts a node as the front page says, for a page that talks to a node and starts none before. */
  async prepare(steps: readonly Step[]): Promise<void> {
    const first = steps.find(({ kind }) => kind === "command");
    if (first?.kind === "command" && talksToNode.test(first.command)) await this.#type("npm start", "first", undefined);
  }

  /** @throws Error with the README's line where it promises what does not happen */
  async follow(steps: readonly Step[]): Promise<void> {
    for (const step of steps) {
      try {
        await this.#follow(step);
      } catch (error) {
        throw new Error(`${this.#path}:${step.line}: ${(error as Error).message}`);
      }
    }
  }

  /** Ctrl+C in every terminal. @throws Error where a node does not leave as it should */
  async close(): Promise<void> {
    for (const terminal of [...this.#terminals.keys()].reverse()) await this.#interrupt(terminal);
  }

  async #follow(step: Step): Promise<void> {
    if (step.kind === "file") {
      if (step.name.endsWith(".json")) JSON.parse(step.text);
      writeFileSync(join(this.#folder, step.name), this.#own(step.text));
    } else if (step.kind === "logs") {
      if (this.#lastNode === undefined) throw new Error("no node was started before these lines");
      for (const line of step.lines) await this.#written(this.#lastNode, this.#own(line));
    } else if (step.kind === "interrupt") {
      if (!this.#terminals.has(step.terminal)) throw new Error(`nothing runs in the ${step.terminal} terminal`);
      await this.#interrupt(step.terminal);
    } else if (step.kind === "command") {
      // The parts of a && b are commands of their own; a promise is that of the last one.
      const commands = step.command.split(" && ");
      for (const [at, command] of commands.entries()) {
        await this.#type(command, step.terminal, at === commands.length - 1 ? step.promise : undefined);
      }
    }
  }

  async #type(command: string, terminal: string, promise: string | undefined): Promise<void> {
    if (isMissing(command)) {
      this.skipped.push(command);
      if (process.env.CI === "true") throw new Error(`CI must be able to run ${command}`);
      return;
    }
    const [, name, value] = exports.exec(command) ?? [];
    if (name !== undefined) return void (this.#exported[name] = value!);
    if (startsNode.test(command) || goesOn.test(command)) return await this.#start(command, terminal, promise);
    await this.#settled();
    const { status, output } = await this.#run(command);
    if (status !== 0) throw new Error(`${command}: exit code ${status}: ${output}`);
    if (ends.test(command)) await this.#forgetEnded(command);
    if (promise !== undefined && !keeps(output, this.#own(promise))) {
      throw new Error(`${command} should have printed ${promise}, and printed ${output}`);
    }
  }

  /** Runs a command to its end. Other readers go on meanwhile. */
  async #run(command: string): Promise<{ status: number | null; output: string }> {
    // `npm ci` would download: a dry run still checks that the lock file has what package.json asks for.
    const typed = /^npm ci\b/.test(command)
      ? `${command} --dry-run --offline --ignore-scripts`
      : this.#own(command).replace(/^sleep (\d+)$/, (_, seconds) => `sleep ${PATIENCE * seconds}`);
    // By standard input, so that `pkill -f` does not find its own words in the shell's arguments.
    const child = spawn("/bin/sh", ["-s"], {
      cwd: this.#folder,
      env: this.#environment(command),
      timeout: PATIENCE * commandMs,
    });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text) => stdout += text);
    child.stderr.setEncoding("utf8").on("data", (text) => stderr += text);
    child.stdin.end(typed);
    const status = await new Promise<number | null>((done) => child.on("close", done));
    return { status, output: stdout + stderr };
  }

  /** Starts what goes on until Ctrl+C. What runs in the terminal is ended first, as its reader must. */
  async #start(asWritten: string, terminal: string, promise: string | undefined): Promise<void> {
    const command = this.#onItsRuntime(asWritten);
    await this.#interrupt(terminal);
    // In a process group of its own, which is what Ctrl+C reaches.
    const child = spawn("/bin/sh", ["-c", `exec ${this.#own(command)}`], {
      cwd: this.#folder,
      env: this.#environment(command),
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    const started: Terminal = new NodeProcess(command, child);
    this.#terminals.set(terminal, started);
    if (startsNode.test(command)) {
      started.isNode = true;
      this.#lastNode = started;
      const line = await started.line("listening on http://", startMs);
      started.url = /http:\/\/[^\s"]+/.exec(line)![0];
      await started.line(/added myself to the (peer )?list of/, startMs);
    }
    if (promise !== undefined) await this.#written(started, this.#own(promise));
  }

  /** A command that starts a node, with the node's runtime in place of the page's. */
  #onItsRuntime(command: string): string {
    const runtimes = this.#runtimes;
    if (runtimes.length === 0 || !startsNode.test(command)) return command;
    const start = startOn[runtimes[this.#nodesStarted++ % runtimes.length]!];
    return command.replace(startsNode, start).replace(`${start} -- `, `${start} `);
  }

  async #written(terminal: Terminal, promise: string): Promise<void> {
    const isThere = () => [...terminal.lines, ...terminal.stdout.split("\n")].some((line) => keeps(line, promise));
    await until(() => isThere() || terminal.exitCode !== undefined, this.#promiseMs, () => terminal.account(promise));
    if (!isThere()) throw new Error(terminal.account(promise));
  }

  async #interrupt(name: string): Promise<void> {
    const terminal = this.#terminals.get(name);
    if (terminal === undefined) return;
    this.#terminals.delete(name);
    if (terminal.exitCode !== undefined) throw new Error(terminal.account("that it goes on until Ctrl+C"));
    process.kill(-terminal.child.pid!, "SIGINT");
    await until(() => terminal.exitCode !== undefined, commandMs, () => terminal.account("that it leaves"));
    if (!terminal.isNode) return;
    // npm and npx end by the signal that they have passed on.
    const isGood = terminal.exitCode === 0 || (/^np[mx]\b/.test(terminal.kind) && terminal.exitCode === null);
    if (!isGood) throw new Error(terminal.account("that it leaves with exit code 0"));
    const [joined, left] = [/added myself to the (peer )?list/, /removed myself from the (peer )?list/]
      .map((text) => terminal.lines.some((line) => text.test(line)));
    if (joined && !left) throw new Error(terminal.account("removed myself from the peer list"));
  }

  /** Waits, as people do, until every node is ready and those with NATS list the same peers. */
  async #settled(): Promise<void> {
    const nodes = [...this.#terminals.values()].filter(({ isNode }) => isNode);
    await until(
      async () => {
        const rosters = await Promise.all(nodes.map(rosterOf));
        const shared = rosters.filter((_, at) => !nodes[at]!.kind.includes("--nats off"));
        return rosters.every((roster) => roster !== undefined) && new Set(shared).size <= 1;
      },
      startMs,
      () => nodes.map((node) => node.account("that all list the same peers")).join("\n"),
    );
  }

  /** Waits for what a `kill` has ended. Everything else must go on until Ctrl+C. */
  async #forgetEnded(command: string): Promise<void> {
    const ended = () => [...this.#terminals].filter(([, { exitCode }]) => exitCode !== undefined);
    await until(() => ended().length > 0, commandMs, () => `${command} ended nothing`);
    for (const [name] of ended()) this.#terminals.delete(name);
  }

  /** A text with the reader's own ports in place of those that the README names. */
  #own(text: string): string {
    return text.replace(/(:|listen\()(\d{4})\b/g, (whole, before, port) => {
      const own = this.#ports.get(Number(port));
      return own === undefined ? whole : `${before}${own}`;
    });
  }

  #environment(command: string): Record<string, string | undefined> {
    const env: Record<string, string | undefined> = { ...process.env, NO_COLOR: "1" };
    // What this machine's user has set must not steer the test.
    for (const name of Object.keys(env)) {
      if (name.startsWith("MUSTER_") || (name.startsWith("NATS_") && name !== "NATS_SERVER_BIN")) delete env[name];
    }
    const paths = (env.PATH ?? "").split(":").filter((path) => !path.endsWith("node_modules/.bin"));
    // A reader with npm alone has no bun and no deno.
    env.PATH = /^np[mx]\b/.test(command) ? paths.join(":") : [join(this.#folder, ".bin"), ...paths].join(":");
    if (/^nats\b/.test(command)) {
      return { ...env, ...this.#exported, NATS_URL: this.#own("nats://127.0.0.1:4222"), XDG_CONFIG_HOME: this.#folder };
    }
    if (isProgram.test(command) && !startsNode.test(command)) {
      const own = { MUSTER_NODE: "http://127.0.0.1:8000", MUSTER_ADDR: "127.0.0.1:8000" };
      const there = Object.entries(own).map(([name, text]) => [name, this.#own(text)]);
      return { ...env, ...Object.fromEntries(there), MUSTER_NATS_PORT: String(this.#ports.get(4222)) };
    }
    if (!startsNode.test(command)) return env;
    const address = /--addr[ =](\S+)/.exec(command)?.[1] ?? "127.0.0.1:8000";
    return {
      ...env,
      // As on a terminal.
      MUSTER_LOG: "text",
      MUSTER_ADDR: this.#own(address),
      MUSTER_NATS_PORT: String(this.#ports.get(4222)),
      // Names decide who owns a key: they are the README's, whatever the port.
      MUSTER_NAME: address.replace(/[^A-Za-z0-9]/g, "-"),
    };
  }

  async #killAll(): Promise<void> {
    for (const terminal of this.#terminals.values()) {
      if (terminal.exitCode !== undefined) continue;
      process.kill(-terminal.child.pid!, "SIGKILL");
      await terminal.exited;
    }
  }
}

/**
 * Has both runtimes take packages from where npm put them: a test never downloads. Of the programs among them only Bun is
 * there, as after `npm ci --omit=dev`: `deno task` would run a `deno` from `node_modules` as if it were JavaScript.
 */
function usePackagesOf(from: string, folder: string): void {
  const [theirs, ours] = [join(from, "node_modules"), join(folder, "node_modules")];
  mkdirSync(join(ours, ".bin"), { recursive: true });
  for (const name of [...readdirSync(theirs).filter((name) => !name.startsWith(".")), ".bin/bun"]) {
    symlinkSync(join(theirs, name), join(ours, name));
  }
  const path = join(folder, "deno.json");
  const settings = JSON.parse(readFileSync(path, "utf8"));
  writeFileSync(path, JSON.stringify({ ...settings, nodeModulesDir: "manual" }));
}

/** The peers that a node lists in its groups; `undefined` while it is not ready. @throws Error when it has ended */
async function rosterOf(node: Terminal): Promise<string | undefined> {
  if (node.exitCode !== undefined) throw new Error(node.account("that it goes on until Ctrl+C"));
  if ((await fetch(`${node.url}/readyz`)).status !== 200) return undefined;
  const { groups } = await node.stats();
  return JSON.stringify(Object.entries(groups).map(([name, { roster }]) => [name, roster]));
}

/** Whether this machine lacks the program of a command, or, for npm, what `npm ci` installs. */
function isMissing(command: string): boolean {
  const [program] = command.split(" ", 1);
  // What an earlier command has made.
  if (program!.startsWith("./dist/")) return false;
  if (/^np[mx]$/.test(program!) && !existsSync(join(root, "node_modules", ".bin", "bun"))) return true;
  const wanted = program === "bun" || program === "deno" ? runtimeProgram(program) : program!;
  return spawnSync("/bin/sh", ["-c", 'command -v "$0"', wanted], { stdio: "ignore" }).status !== 0;
}
