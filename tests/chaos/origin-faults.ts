/** Scenarios in which the origin fails. */
import { pause } from "./load.ts";
import { atMost, type Outcome, type Run, type Scenario } from "./result.ts";
import { World } from "./world.ts";

const failingSeconds = 20;
const MAX_CROWDED_SHOWN = 20;

/** Values that live for 2 s, and may be served for two minutes more while the origin fails. */
async function originFails(run: Run): Promise<Outcome> {
  const policy = { ttlMs: 2_000, staleIfErrorMs: 120_000 };
  const world = await World.make(run, { nodes: 5, policy });
  const seconds = Math.min(failingSeconds, run.settings.outageSeconds);
  let staleOnError = 0;
  await world.measure(async () => {
    world.say(`the origin answers with 503 for ${seconds} s`);
    world.origin.isFailing = true;
    await pause(seconds * 1_000);
    world.origin.isFailing = false;
    world.say("the origin is back");
    staleOnError = await servedStale(world);
  });
  const tries = [...world.origin.tries];
  const crowds = tries.map(([key, times]) => ({ key, most: mostInOneSecond(times), times }));
  const most = Math.max(0, ...crowds.map((crowd) => crowd.most));
  const { checks, notes, details, ...rest } = world.outcome(undefined, [
    atMost("most tries of one key in one second", most, 1),
  ], [
    `${tries.reduce((sum, [, times]) => sum + times.length, 0)} tries of ${tries.length} keys`,
    `${staleOnError} answers with what had expired`,
  ]);
  const crowded = crowds.filter((crowd) => crowd.most > 1).slice(0, MAX_CROWDED_SHOWN);
  return { ...rest, checks, notes, details: { ...details, crowded } };
}

/** The most of these tries, in order, that lie within less than a second. */
function mostInOneSecond(tries: readonly { readonly atMs: number }[]): number {
  return Math.max(
    ...tries.map((from) => tries.filter(({ atMs }) => atMs >= from.atMs && atMs < from.atMs + 1_000).length),
  );
}

async function servedStale(world: World): Promise<number> {
  const counts = await Promise.all([...world.fleet.members.values()].map(async ({ url }) => {
    const { groups } = await (await fetch(`${url}/stats`)).json();
    return Object.values(groups as Record<string, { staleOnError: number }>)[0]!.staleOnError;
  }));
  return counts.reduce((sum, count) => sum + count, 0);
}

export const originFaults: readonly Scenario[] = [{
  name: "origin-fails",
  title: "the origin fails for 20 s, values expire after 2 s, `staleIfErrorMs` is set",
  notOnGo: "keeps values without an end",
  run: originFails,
}];
