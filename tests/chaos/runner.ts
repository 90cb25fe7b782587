/** Runs one scenario on one system, and always cleans up after it. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root, temporaryDirectory } from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import type { Outcome, Scenario, Settings, System } from "./result.ts";

const scenarioTimeoutMs = 5 * 60_000;
const buildTimeoutMs = 5 * 60_000;

/** Clean-ups for the end of a run or an interrupt; each runs once, the last one first. */
export class Undos {
  readonly #undos: (() => unknown)[] = [];
  #isOver = false;

  readonly defer: Defer = (undo) => {
    // A scenario that timed out goes on for a moment, and may still start processes: end these at once.
    if (this.#isOver) void undo();
    else this.#undos.push(undo);
  };

  async undo(): Promise<void> {
    this.#isOver = true;
    for (let undo = this.#undos.pop(); undo !== undefined; undo = this.#undos.pop()) {
      try {
        await undo();
      } catch (error) {
        // The other clean-ups must still run.
        console.error(`cannot clean up: ${error}`);
      }
    }
  }
}

export interface Shown {
  say(text: string): void;
  watch(status: () => string): void;
}

/** @throws Error when the scenario fails, or takes longer than five minutes */
export async function runScenario(
  scenario: Scenario,
  system: System,
  { settings, shown, undos, goProgram }: { settings: Settings; shown: Shown; undos: Undos; goProgram?: string },
): Promise<Outcome> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error(`did not end within ${scenarioTimeoutMs / 1_000} s`)),
    scenarioTimeoutMs,
  );
  try {
    const { say, watch } = shown;
    return await Promise.race([scenario.run({ system, settings, defer: undos.defer, say, watch, goProgram }), late]);
  } finally {
    clearTimeout(timer);
    await undos.undo();
  }
}

/** Builds the groupcache-go node, or gives the reason why it cannot. */
export function buildGoNode(defer: Defer): { program: string } | { reason: string } {
  const folder = temporaryDirectory(defer);
  const program = join(folder, "groupcache-go-node");
  const { status, error, stderr } = spawnSync("go", ["build", "-o", program, "."], {
    cwd: join(root, "tests", "chaos", "groupcache-go"),
    encoding: "utf8",
    timeout: buildTimeoutMs,
  });
  if (status === 0) return { program };
  const isMissing = (error as { code?: string } | undefined)?.code === "ENOENT";
  return {
    reason: isMissing ? "no Go on this machine" : `cannot be built: ${(stderr ?? String(error)).slice(0, 200)}`,
  };
}
