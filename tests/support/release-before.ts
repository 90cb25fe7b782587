/** The release before this one, built from git: this release speaks with it (lib/peer/README.md, "The release before"). */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { root, temporaryDirectory } from "./node.ts";
import { type Defer, type Needs, test } from "./test.ts";

/**
 * The commit of the release before. At each release: put the released commit here, write the golden bytes again
 * (tests/upgrade/README.md), and drop code in lib that only reads older releases.
 *
 * A commit, not a tag: a clone without tags has it, it cannot be moved, and a change of it is a reviewed line.
 */
export const RELEASE_BEFORE = "f29689cf05b05a9a03e4150ed4a0e67a10e7e4e3";

/** The files that a node of that release needs. */
const PATHS = ["main.ts", "lib", "package.json", "package-lock.json", "deno.json"];
/** The limit for an archive of a release without its packages, which has 2.6 MB. */
const MAX_ARCHIVE_BYTES = 64 * 1024 * 1024;
const INSTALL_TIMEOUT_MS = 180_000;

/** The log lines of a node that does not understand a node of another release, or disagrees with it. */
export const MISUNDERSTANDING =
  /malformed|speaks protocol|differs from mine|is another than mine|no peer record|reading a frame failed|not as it should be|annot read invalidation|could not be read|cannot follow the definition|cannot use the new/;

/** A checkout of it, with its packages. */
export interface Release {
  /** The folder with its `main.ts`; for `SpawnOptions.root`. */
  readonly root: string;
}

/** Why it cannot be built here; `undefined`: it can. */
export function whyNoReleaseBefore(): string | undefined {
  if (!existsSync(join(root, ".git"))) return "this folder is no clone of git";
  try {
    git("cat-file", "-e", `${RELEASE_BEFORE}^{commit}`);
    return undefined;
  } catch (error) {
    const [said = ""] = String((error as { stderr?: unknown }).stderr ?? error).split("\n");
    return `this clone has no commit ${RELEASE_BEFORE.slice(0, 7)} (git fetch --unshallow): ${said}`;
  }
}

/**
 * Builds it in a temporary folder.
 *
 * @throws Error the message of git or npm, or of `whyNoReleaseBefore`
 */
export function buildReleaseBefore(defer: Defer): Release {
  const reason = whyNoReleaseBefore();
  if (reason !== undefined) throw new Error(`Cannot build the release before: ${reason}`);
  const folder = join(temporaryDirectory(defer), "release-before");
  mkdirSync(folder);
  const archive = git("archive", RELEASE_BEFORE, "--", ...PATHS);
  execFileSync("tar", ["-x", "-C", folder], { input: archive });
  if (hasPackagesOf(folder)) symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  else {
    execFileSync("npm", ["ci", "--omit=dev", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"], {
      cwd: folder,
      timeout: INSTALL_TIMEOUT_MS,
      stdio: ["ignore", "ignore", "pipe"],
    });
  }
  return { root: folder };
}

/**
 * A test that builds the release before. Where that cannot be built, it is skipped, and the reason is printed. In CI it
 * then counts as passed, as we do not control the depth of that clone. `.ci/run` fetches the commit first.
 */
export function testWithReleaseBefore(name: string, needs: Needs, run: (defer: Defer) => unknown): void {
  const reason = whyNoReleaseBefore();
  // If this checkout has other packages, npm installs those of the release.
  const timeoutMs = (needs.timeoutMs ?? 30_000) + INSTALL_TIMEOUT_MS;
  if (reason === undefined) return test(name, { ...needs, timeoutMs }, run);
  console.log(`skipped: "${name}": ${reason}`);
  test(name, { ...needs, skip: reason }, () => {});
}

function git(...args: string[]): Uint8Array {
  // In a container the checkout may belong to another user. It is only read, and none of its hooks run.
  return execFileSync("git", ["-c", `safe.directory=${root}`, "-C", root, ...args], {
    maxBuffer: MAX_ARCHIVE_BYTES,
    stdio: ["ignore", "pipe", "pipe"],
  });
}

interface Locked {
  readonly version?: string;
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
}

/**
 * Whether this checkout's packages also fit that release: each of its packages is here, in the same place and version.
 */
function hasPackagesOf(folder: string): boolean {
  const [theirs, ours] = [lockOf(folder), lockOf(root)];
  return Object.entries(theirs).every(([path, { version, integrity, dev, optional }]) => {
    if (path === "" || dev || optional) return true;
    return ours[path]?.version === version && ours[path]?.integrity === integrity;
  });
}

function lockOf(folder: string): Record<string, Locked> {
  return JSON.parse(readFileSync(join(folder, "package-lock.json"), "utf8")).packages;
}
