/** Scenarios in which the nodes of one release are replaced by those of another, one by one. */
import { buildReleaseBefore, MISUNDERSTANDING } from "../support/release-before.ts";
import { type End, exits, restartEach } from "./deploys.ts";
import type { MusterFleet } from "./fleet.ts";
import { atMost, type Outcome, type Run, type Scenario } from "./result.ts";
import { World } from "./world.ts";

/** @param from the folder of the release that runs first; `undefined`: this checkout */
async function replace(run: Run, from: string | undefined, to: string | undefined): Promise<Outcome> {
  const world = await World.make(run, { nodes: 5, ...(from !== undefined && { release: from }) });
  let ends: readonly End[] = [];
  await world.measure(async () => {
    (world.fleet as MusterFleet).release = to;
    // Each mix of the two releases serves for a while.
    ends = await restartEach(world, run.settings.seconds * 50);
  });
  const misunderstood = world.lines(MISUNDERSTANDING);
  for (const line of misunderstood) world.say(line);
  const checks = [...exits(ends), atMost("log lines about the other release", misunderstood.length, 0)];
  return world.outcome(run.settings.keys / 100, checks);
}

const notOnGo = "as in a rolling restart";

export const upgrades: readonly Scenario[] = [
  {
    name: "upgrade",
    title: "all 5 nodes are of the release before; each is replaced by one of this release",
    notOnGo,
    run: (run) => replace(run, buildReleaseBefore(run.defer).root, undefined),
  },
  {
    name: "upgrade-back",
    title: "the same back: from this release to the one before",
    notOnGo,
    run: (run) => replace(run, undefined, buildReleaseBefore(run.defer).root),
  },
];
