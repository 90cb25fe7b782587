/** The Go contestants, built into a folder of their own. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { root, temporaryDirectory } from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import { hasProgram } from "./machine.ts";
import type { Go } from "./types.ts";

const buildTimeoutMs = 300_000;
/** The first build on a machine takes longer than `--quick` allows; the next run finds most of it built. */
const quickBuildTimeoutMs = 20_000;

/** The folder of the built contestants, or the reason why there is none. */
export async function buildGo(defer: Defer, quick: boolean): Promise<Go> {
  if (!hasProgram("go")) return { reason: "go is not on this machine" };
  const folder = temporaryDirectory(defer);
  const programs = ["./golang-groupcache", "./groupcache-go", "./ring"];
  const timeout = quick ? quickBuildTimeoutMs : buildTimeoutMs;
  try {
    await promisify(execFile)("go", ["build", "-mod=readonly", "-o", `${folder}/`, ...programs], {
      cwd: join(root, "tests/bench/contestants"),
      timeout,
    });
    return { folder };
  } catch (error) {
    const { stderr, message, killed } = error as Error & { stderr?: string; killed?: boolean };
    if (killed === true) return { reason: `the Go contestants were not built within ${timeout / 1_000} s` };
    return { reason: `the Go contestants cannot be built: ${(stderr || message).trim().split("\n")[0]}` };
  }
}
