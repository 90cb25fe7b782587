/** Packed programs for tests: in a folder of their own, from where no package of this checkout can be found. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { type NodeProcess, root, runtimeProgram, spawnProgram } from "../support/node.ts";
import type { Defer } from "../support/test.ts";

/** The kinds of packed programs, each with how it is run. Bun would by itself fetch a package that it does not find. */
export const forms = {
  "the bundle on Bun": {
    form: "bundle",
    command: (folder) => [runtimeProgram("bun"), "run", "--no-install", join(folder, "muster.js")],
  },
  "the bundle on Deno": {
    form: "bundle",
    command: (folder) => [runtimeProgram("deno"), "run", "-A", join(folder, "muster.js")],
  },
  "the bundle on Deno with the least permissions": {
    form: "bundle",
    command: (folder) => [runtimeProgram("deno"), "run", "-P", "--no-prompt", join(folder, "muster.js")],
  },
  "the executable": { form: "compile", command: (folder) => [join(folder, "muster")] },
} as const satisfies Record<string, { form: "bundle" | "compile"; command(folder: string): string[] }>;

/** Packs into `folder`. @throws Error with what the program said */
export function pack(form: "bundle" | "compile", folder: string): void {
  const command = ["run", "lib/deploy/bundle/build.ts", form, folder];
  const { status, stdout, stderr } = spawnSync(runtimeProgram("bun"), command, { cwd: root, encoding: "utf8" });
  if (status !== 0) throw new Error(`Cannot pack: ${stdout}${stderr}`);
}

/** Starts a packed program in `cwd`. */
export function startPacked(
  defer: Defer,
  command: readonly string[],
  args: readonly string[],
  cwd: string,
  env: Record<string, string> = {},
): NodeProcess<string> {
  return spawnProgram(defer, command.join(" "), [...command, ...args], { cwd, env });
}
