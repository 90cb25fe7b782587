/** Scenarios in which operators start and stop nodes. */
import { GoFleet, ownersAt, type RosterView } from "./fleet.ts";
import { keyOf } from "./keys.ts";
import { pause } from "./load.ts";
import { atMost, type Check, holds, type Outcome, type Run, type Scenario } from "./result.ts";
import { nameOf, World } from "./world.ts";

const exitWithinMs = 5_000;

/** How a node that got SIGTERM has left. */
export interface End {
  readonly code: number | null;
  readonly tookMs: number;
}

/** The targets of nodes that leave. */
export function exits(ends: readonly End[]): Check[] {
  return [
    holds("each node exits 0", ends.every(({ code }) => code === 0), ends.map(({ code }) => code).join(", ")),
    atMost("slowest exit", Math.max(...ends.map(({ tookMs }) => Math.round(tookMs))), exitWithinMs, " ms"),
  ];
}

/** For each node: SIGTERM, start again, wait until it is ready and for `pauseMs` more. Returns how they left. */
export async function restartEach(world: World, pauseMs = 0): Promise<End[]> {
  const ends: End[] = [];
  for (const name of world.names) {
    ends.push(await world.terminate(name));
    await world.start(name);
    await world.load.ready([name]);
    world.say(`${name} is ready`);
    await pause(pauseMs);
  }
  return ends;
}

async function rollingRestart(run: Run): Promise<Outcome> {
  const world = await World.make(run, { nodes: 5 });
  let ends: readonly End[] = [];
  await world.measure(async () => {
    ends = await restartEach(world);
  });
  return world.outcome(run.settings.keys / 100, exits(ends));
}

/** The number of keys with another owner than before. */
function movedKeys(before: RosterView, after: RosterView, keys: number): number {
  const [ownerBefore, ownerAfter] = [ownersAt(before), ownersAt(after)];
  let moved = 0;
  for (let rank = 0; rank < keys; rank++) {
    const key = keyOf(rank);
    if (ownerBefore(key) !== ownerAfter(key)) moved++;
  }
  return moved;
}

async function movedBetween(world: World, before: RosterView | undefined, kept: string): Promise<number> {
  const after = await world.fleet.roster(kept);
  const { keys } = world.run.settings;
  // groupcache-go's nodes do not list their peers; any consistent hashing moves half of the keys.
  return before === undefined || after === undefined ? keys / 2 : movedKeys(before, after, keys);
}

function movedCheck(moved: number, keys: number): Check {
  const share = moved / keys;
  return {
    what: "moved keys",
    target: "within 2 % of 1/2",
    measured: `${(share * 100).toFixed(1)} %`,
    isMet: Math.abs(share - 0.5) <= 0.02 * 0.5,
  };
}

async function join(run: Run): Promise<Outcome> {
  const world = await World.make(run, { nodes: 3 });
  const before = await world.fleet.roster(nameOf(0));
  await world.measure(async () => {
    const all = [...world.names];
    for (const name of [3, 4, 5].map(nameOf)) {
      all.push(name);
      await world.start(name);
      if (world.fleet instanceof GoFleet) await world.fleet.tell(all);
      await world.load.ready([name]);
      world.say(`${name} is ready`);
    }
    await world.fleet.settled();
  });
  const moved = await movedBetween(world, before, nameOf(0));
  return world.outcome(moved / 100, [movedCheck(moved, run.settings.keys)], [`${moved} keys moved`]);
}

async function leave(run: Run): Promise<Outcome> {
  const world = await World.make(run, { nodes: 6 });
  const before = await world.fleet.roster(nameOf(0));
  const ends: End[] = [];
  await world.measure(async () => {
    const left = [...world.names];
    for (const name of [5, 4, 3].map(nameOf)) {
      left.splice(left.indexOf(name), 1);
      // Tell the other nodes first, as an operator would.
      if (world.fleet instanceof GoFleet) await world.fleet.tell(left);
      ends.push(await world.terminate(name));
    }
    await world.fleet.settled();
  });
  const moved = await movedBetween(world, before, nameOf(0));
  return world.outcome(moved / 100, exits(ends), [`${moved} keys moved`]);
}

export const deploys: readonly Scenario[] = [
  { name: "rolling-restart", title: "rolling restart of all 5 (SIGTERM, start, next)", run: rollingRestart },
  { name: "join", title: "join: 3 -> 6 nodes", run: join },
  { name: "leave", title: "leave: 6 -> 3 by SIGTERM, one after another", run: leave },
];
