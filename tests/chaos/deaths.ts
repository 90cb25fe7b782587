/** Scenarios in which a node dies or stalls. */
import { ownersAt, type RosterView } from "./fleet.ts";
import { keyOf } from "./keys.ts";
import { pause } from "./load.ts";
import { atMost, holds, type Outcome, type Run, type Scenario } from "./result.ts";
import { nameOf, World } from "./world.ts";

const evictedWithinMs = 3_000;

/** How many keys a node owns; a fifth for groupcache-go, whose nodes do not tell. */
async function shareOf(world: World, victim: string): Promise<number> {
  const { keys } = world.run.settings;
  const roster = await world.fleet.roster(nameOf(0));
  if (roster === undefined) return Math.ceil(keys / world.names.length);
  const ownerOf = ownersAt(roster);
  let owned = 0;
  for (let rank = 0; rank < keys; rank++) if (ownerOf(keyOf(rank)) === victim) owned++;
  return owned;
}

function sigkill(replicas: number): (run: Run) => Promise<Outcome> {
  return async (run) => {
    const world = await World.make(run, { nodes: 5, replicas });
    const victim = nameOf(2);
    const survivors = world.names.filter((name) => name !== victim);
    const share = await shareOf(world, victim);
    let evictedMs = Infinity;
    await world.measure(async () => {
      const killedAtMs = performance.now();
      await world.kill(victim);
      if (world.fleet.kind !== "muster") return;
      const timeoutMs = Math.max(2 * evictedWithinMs, 8_000);
      await world.rostersShow(survivors, ({ peers }) => peers.every(({ name }) => name !== victim), timeoutMs)
        .then((tookMs) => evictedMs = tookMs === Infinity ? tookMs : performance.now() - killedAtMs);
      world.say(`${victim} is out of all rosters after ${Math.round(evictedMs)} ms`);
    });
    const most = replicas > 1 ? run.settings.keys / 100 : share;
    const evicted = world.fleet.kind === "muster"
      ? [atMost("evicted after", Math.round(evictedMs), evictedWithinMs, " ms")]
      : [];
    return world.outcome(most, evicted, [`the dead node's share: ${share} keys`]);
  };
}

/** Whether all of these nodes drop the victim from their rosters within this time. */
async function seenOut(world: World, victim: string, nodes: readonly string[], timeoutMs: number): Promise<boolean> {
  const isOut = ({ peers }: RosterView) => peers.every(({ name }) => name !== victim);
  const tookMs = await world.rostersShow(nodes, isOut, timeoutMs);
  if (tookMs < Infinity) world.say(`${victim} is out of all rosters after ${Math.round(tookMs)} ms`);
  return tookMs < Infinity;
}

function sigstop(stallSeconds: number): (run: Run) => Promise<Outcome> {
  const isToBeEvicted = stallSeconds > 10;
  return async (run) => {
    // Answers may wait until the node goes on.
    const world = await World.make(run, { nodes: 5, timeoutMs: (stallSeconds + 20) * 1_000 });
    const victim = nameOf(1);
    const others = world.names.filter((name) => name !== victim);
    const isMuster = world.fleet.kind === "muster";
    const share = await shareOf(world, victim);
    let wasEvicted = false;
    let backMs = Infinity;
    await world.measure(async () => {
      world.say(`SIGSTOP to ${victim}`);
      world.fleet.members.get(victim)!.signal("SIGSTOP");
      const isOut = isMuster ? seenOut(world, victim, others, stallSeconds * 1_000 + 1_500) : Promise.resolve(false);
      await pause(stallSeconds * 1_000);
      world.fleet.members.get(victim)!.signal("SIGCONT");
      world.say(`SIGCONT to ${victim}`);
      wasEvicted = await isOut;
      if (!isMuster) return;
      backMs = await world.rostersEqual(20_000);
      world.say(`all rosters show all nodes ${Math.round(backMs)} ms later`);
    });
    const checks = world.fleet.kind !== "muster"
      ? []
      : isToBeEvicted
      ? [holds("evicted", wasEvicted), holds("back by itself", backMs < Infinity, `after ${Math.round(backMs)} ms`)]
      : [holds("not evicted", !wasEvicted)];
    const slowest = Math.max(0, ...world.load.tally.latenciesMs);
    return world.outcome(share, checks, [`slowest answer: ${(slowest / 1_000).toFixed(1)} s`]);
  };
}

const callers = 500;

/** The owner dies while its load of the key is in flight. */
async function coldKeyOwnerKilled(run: Run): Promise<Outcome> {
  const world = await World.make(run, { nodes: 5 });
  const roster = await world.fleet.roster(nameOf(0));
  const key = "cold-1";
  const owner = roster === undefined ? undefined : ownersAt(roster)(key);
  world.origin.begin();
  world.load.begin();
  const killed = new Promise<void>((resolve, reject) => {
    // groupcache-go's nodes do not name the owner: the first node that asks the origin is it.
    world.origin.onLoad = (loaded, by) => {
      if (loaded !== key) return;
      world.say(`${by} asks the origin for ${key}`);
      if (world.fleet.members.has(owner ?? by) && world.fleet.members.size === world.names.length) {
        world.kill(owner ?? by).then(resolve, reject);
      }
    };
  });
  await Promise.all(
    Array.from({ length: callers }, (_, i) => world.load.ask(world.names[i % world.names.length]!, key)),
  );
  await killed;
  const loaders = world.origin.loadersOf(key);
  const outcome = world.outcome(2, [atMost("loads of the key", loaders.length, 2)], [
    `loaded by ${loaders.join(", ")}`,
  ]);
  return outcome;
}

export const deaths: readonly Scenario[] = [
  { name: "sigkill", title: "SIGKILL one of 5", run: sigkill(1) },
  {
    name: "sigkill-replicas-2",
    title: "SIGKILL one of 5, with `replicas: 2`",
    notOnGo: "keeps one copy",
    run: sigkill(2),
  },
  { name: "sigstop-2s", title: "SIGSTOP one of 5 for 2 s", run: sigstop(2) },
  { name: "sigstop-20s", title: "SIGSTOP one of 5 for 20 s", run: sigstop(20) },
  {
    name: "cold-key-owner-killed",
    title: "500 callers on all nodes for one cold key while its owner is killed",
    run: coldKeyOwnerKilled,
  },
];
