/** The image as a folder, laid by the Dockerfile's own lines: there is no Docker where the tests run. */
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { root } from "../support/node.ts";
import { stages } from "./files.ts";

/** How the image is run. */
export interface Image {
  /** The root of its file system. */
  readonly folder: string;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly health: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly user: string;
  readonly ports: readonly number[];
  readonly stopSignal: string;
}

/**
 * Does in folders what the stages do. `npm ci` is only tried, without the network; its result is this checkout's.
 *
 * @throws Error naming the line that cannot be done
 */
export function layImage(folder: string): Image {
  const [build, last] = stages() as [ReturnType<typeof stages>[number], ReturnType<typeof stages>[number]];
  const built = join(folder, "build");
  const image = join(folder, "image");
  let work = built;
  for (const { keyword, text } of build.steps) {
    if (keyword === "WORKDIR") mkdirSync(work = join(built, text), { recursive: true });
    else if (keyword === "COPY") copy(text, root, work);
    else if (keyword === "RUN") run(text, work);
    else if (keyword !== "FROM") throw new Error(`Cannot follow ${keyword} ${text}`);
  }
  for (const { keyword, text } of last.steps.filter(({ keyword }) => keyword === "COPY")) {
    const [, stage, rest] = /^--from=(\S+) (.*)$/.exec(text) ?? [];
    if (stage !== build.name) throw new Error(`Cannot follow ${keyword} ${text}`);
    copy(rest!, built, image);
  }
  const all = (keyword: string) => last.steps.flatMap((step) => step.keyword === keyword ? step.text.split(" ") : []);
  const only = (keyword: string) => last.steps.find((step) => step.keyword === keyword)?.text ?? "";
  const entrypoint: string[] = JSON.parse(only("ENTRYPOINT"));
  layLibraries(join(image, entrypoint[0]!), image);
  return {
    folder: image,
    entrypoint,
    command: JSON.parse(only("CMD")),
    health: JSON.parse(/ CMD (\[.*\])$/.exec(only("HEALTHCHECK"))![1]!),
    env: Object.fromEntries(all("ENV").map((pair) => pair.split("=") as [string, string])),
    user: only("USER"),
    ports: only("EXPOSE").split(" ").map(Number),
    stopSignal: only("STOPSIGNAL"),
  };
}

/** `COPY a b`, or `COPY a b folder/`. */
function copy(text: string, from: string, to: string): void {
  const names = text.split(/\s+/);
  const target = names.pop()!;
  for (const name of names) {
    const source = join(from, name);
    if (!existsSync(source)) throw new Error(`Cannot copy ${name}, as it does not exist`);
    const path = target.endsWith("/") ? join(to, target, name) : join(to, target);
    mkdirSync(dirname(path), { recursive: true });
    cpSync(source, path, { recursive: true });
  }
}

function run(text: string, folder: string): void {
  if (!text.startsWith("npm ci")) {
    execFileSync("/bin/sh", ["-c", text], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
    return;
  }
  const dry = `${text} --dry-run --offline --ignore-scripts`;
  const { status, stderr } = spawnSync("/bin/sh", ["-c", dry], { cwd: folder, encoding: "utf8" });
  if (status !== 0) throw new Error(`${text} cannot install: ${stderr}`);
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
}

/** What the base image brings: the C library. @throws Error the program wants more */
function layLibraries(program: string, image: string): void {
  const listed = execFileSync("ldd", [program], { encoding: "utf8" });
  for (const [path] of listed.matchAll(/\/\S+(?= \()/g)) {
    if (!/\/(ld-linux-x86-64|libc|libm|libdl|libpthread)\.so\.\d+$/.test(path)) {
      throw new Error(`The base image has no ${path}`);
    }
    mkdirSync(join(image, dirname(path)), { recursive: true });
    copyFileSync(path, join(image, path));
  }
  mkdirSync(join(image, "proc"));
}

/**
 * The command line that runs `command` in the image: as its user, with nothing else on the disk, and nothing writable. To be
 * run by root, who may mount.
 */
export function inImage({ folder, user }: Image, command: readonly string[]): string[] {
  const script = 'mount --bind "$1" "$1" && mount -t proc proc "$1/proc" && mount -o remount,bind,ro "$1" && ' +
    'root=$1 user=$2 && shift 2 && exec chroot --userspec="$user" "$root" "$@"';
  return ["unshare", "--mount", "/bin/sh", "-c", script, "sh", folder, user, ...command];
}
