/**
 * A real dictd on a free port of 127.0.0.1, with gcide, wn and a small database of our own. A test that calls this names
 * `programs: DICTD_PROGRAMS` in its needs.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Defer } from "./test.ts";
import { PATIENCE } from "./until.ts";

export const DICTD_PROGRAMS = ["dictd", "dict"];

/** Debian's packages dict-gcide and dict-wn. */
const DATABASES = "/usr/share/dictd";
const START_TIMEOUT_MS = PATIENCE * 15_000;

/**
 * Starts a dictd with the databases `gcide`, `wn` and `ours`, and returns when it answers; ended with the test.
 *
 * @param ours headword to text (each line ended by LF), for words that the big dictionaries lack
 */
export async function startDictd(defer: Defer, ours: Record<string, string> = {}): Promise<{ port: number }> {
  const directory = await mkdtemp(join(tmpdir(), "muster-dictd-"));
  defer(() => rm(directory, { recursive: true, force: true }));
  // Started by root, dictd reads its files as another user.
  await chmod(directory, 0o755);
  await writeDatabase(join(directory, "ours"), ours);
  // Another process may take the port between our look and dictd's start: then try once more with another port.
  for (let attempt = 1;; attempt++) {
    const port = await freePort();
    const config = join(directory, `dictd-${port}.conf`);
    await writeFile(config, configFor(port, join(directory, "ours")), { mode: 0o644 });
    const child = spawn("dictd", ["-d", "nodetach", "--config", config, "--locale", "C.UTF-8"], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const output: string[] = [];
    child.stdout!.on("data", (chunk) => output.push(String(chunk)));
    child.stderr!.on("data", (chunk) => output.push(String(chunk)));
    defer(() => end(child));
    if (await answers(child, port)) return { port };
    if (attempt === 3) throw new Error(`dictd did not start: ${output.join("")}`);
  }
}

/** The plain headwords of one of Debian's databases, in the order of its index: tens of thousands. */
export async function headwords(database: "gcide" | "wn"): Promise<string[]> {
  const index = await readFile(join(DATABASES, `${database}.index`), "utf8");
  return index.split("\n").map((line) => line.slice(0, line.indexOf("\t"))).filter((word) => /^[a-z]+$/.test(word));
}

/** The output of the `dict` client for the first definition, without its heading and its indentation of two. */
export async function dictPrints(port: number, database: string, word: string): Promise<string> {
  const output = await new Promise<string>((resolve, reject) => {
    execFile(
      "dict",
      ["-h", "127.0.0.1", "-p", String(port), "-d", database, "--nocorrect", word],
      { maxBuffer: 16 * 1024 * 1024, encoding: "latin1", env: { ...globalThis.process.env, LC_ALL: "C.UTF-8" } },
      (error, stdout) => error === null ? resolve(stdout) : reject(error),
    );
  });
  const lines = output.replace(/\n$/, "").split("\n");
  const start = lines.findIndex((line) => line.startsWith("From ")) + 2;
  const next = lines.findIndex((line, at) => at > start && line === "" && lines[at + 1]?.startsWith("From "));
  const text = lines.slice(start, next < 0 ? lines.length : next);
  return text.map((line) => line.slice(2) + "\n").join("");
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function configFor(port: number, ours: string): string {
  const database = (name: string, path: string, ending: string) =>
    `database ${name} { data "${path}.${ending}" index "${path}.index" }\n`;
  return `global {\n listen_to 127.0.0.1\n port ${port}\n}\naccess { allow "*" }\n` +
    database("gcide", `${DATABASES}/gcide`, "dict.dz") +
    database("wn", `${DATABASES}/wn`, "dict.dz") +
    database("ours", ours, "dict");
}

/** Whether `child` greets on `port`; `false` when it has ended. */
async function answers(child: ChildProcess, port: number): Promise<boolean> {
  const untilMs = Date.now() + START_TIMEOUT_MS;
  while (child.exitCode === null && child.signalCode === null && Date.now() < untilMs) {
    if (await greets(port)) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.on("data", (chunk) => {
      resolve(String(chunk).startsWith("220 "));
      socket.destroy();
    });
    socket.on("error", () => resolve(false));
    socket.on("close", () => resolve(false));
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
}

/** An index line: headword in lower case, offset, length, headword; numbers in base 64, sorted by bytes (dictfmt(1)). */
async function writeDatabase(path: string, entries: Record<string, string>): Promise<void> {
  const texts: Uint8Array[] = [];
  const index: string[] = [];
  let offset = 0;
  const marks = { "00-database-allchars": "\n", "00-database-short": "Ours\n", "00-database-utf8": "\n" };
  for (const [word, text] of Object.entries({ ...marks, ...entries })) {
    const bytes = new TextEncoder().encode(text);
    index.push(`${word.toLowerCase()}\t${base64(offset)}\t${base64(bytes.length)}\t${word}\n`);
    texts.push(bytes);
    offset += bytes.length;
  }
  const sorted = index.map((line) => new TextEncoder().encode(line)).sort(compareBytes);
  await writeFile(`${path}.dict`, joined(texts), { mode: 0o644 });
  await writeFile(`${path}.index`, joined(sorted), { mode: 0o644 });
}

function base64(value: number): string {
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const rest = Math.floor(value / 64);
  return (rest > 0 ? base64(rest) : "") + digits[value % 64];
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const at = a.findIndex((byte, i) => byte !== b[i]);
  return at < 0 ? a.length - b.length : a[at]! - (b[at] ?? -1);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
