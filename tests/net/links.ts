/** Scenarios in which links between hosts fail, or a host stands still. */
import { readFileSync } from "node:fs";
import { atMost, type Check, holds } from "../chaos/result.ts";
import type { Host, Loss } from "./hosts.ts";
import { AGREED } from "./report.ts";
import { nameOf, type Outcome, type Run, type Scenario, World } from "./world.ts";

/** Time for all lists to be equal after a fault is over. */
export const HEALED_WITHIN_MS = 10_000;

export function agreedWithin(tookMs: number, mostMs = HEALED_WITHIN_MS): Check {
  return atMost(AGREED, Math.round(tookMs), mostMs, " ms");
}

function linkDown(run: Run): Promise<Outcome> {
  return outage(run, { natsServers: 1, seconds: 15 });
}

async function outage(
  run: Run,
  { seconds }: { natsServers: number; seconds: number },
): Promise<Outcome> {
  const world = await World.make(run, { nodes: 5 });
  const victim = nameOf(2);
  let agreedMs = Infinity;
  await world.measure(async () => {
    world.say(`the link of ${victim} goes down`);
    world.host(victim).setLink("down");
    await world.pause(seconds);
    world.host(victim).setLink("up");
    world.say("it is up again");
    agreedMs = await world.fleet.agree(30_000);
    await world.pause(5);
  });
  return world.outcome({
    atFault: [victim],
    checks: (
      { others },
    ) => [atMost("failed", others.failed, 0), agreedWithin(agreedMs)],
  });
}

/** Loses packets from one host to another, at the receiver. */
function lose(from: Host, to: Host, loss: Loss): void {
  to.refuseFrom(from.address, loss);
}

function pair(directions: 1 | 2, loss: Loss): (run: Run) => Promise<Outcome> {
  return async (run) => {
    const world = await World.make(run, { nodes: 5 });
    const [a, b] = [world.host(nameOf(1)), world.host(nameOf(3))];
    let isListed = Infinity;
    let agreedMs = Infinity;
    await world.measure(async () => {
      world.say(
        `${a.name} cannot send to ${b.name}${directions === 2 ? ", nor the other way round" : ""}: ${loss}`,
      );
      lose(a, b, loss);
      if (directions === 2) lose(b, a, loss);
      await world.pause(20);
      isListed = await world.fleet.agree(100);
      b.heal();
      a.heal();
      world.say("healed");
      agreedMs = await world.fleet.agree(30_000);
    });
    return world.outcome({
      checks: ({ others }) => [
        atMost("failed", others.failed, 0),
        holds("nobody was evicted", isListed < Infinity),
        agreedWithin(agreedMs),
        atMost("over 1 s", others.overOneSecondPercent, 1, " %"),
      ],
    });
  };
}

/** Loses a share of all packets. */
async function lossy(run: Run): Promise<Outcome> {
  const world = await World.make(run, { nodes: 5 });
  let agreedMs = Infinity;
  await world.measure(async () => {
    world.say("every host loses 25 % of what it is sent");
    for (const host of world.hosts) host.loseAtRandom(25);
    await world.pause(20);
    for (const host of world.hosts) host.heal();
    world.say("healed");
    agreedMs = await world.fleet.agree(30_000);
  });
  return world.outcome({
    checks: (
      { others },
    ) => [atMost("failed", others.failed, 0), agreedWithin(agreedMs)],
  });
}

/** A node stands still under load, as a swapping node does, until after its eviction. */
async function standsStill(run: Run): Promise<Outcome> {
  const world = await World.make(run, { nodes: 5 });
  const victim = nameOf(2);
  const node = world.fleet.members.get(victim)!;
  run.defer(() => node.signal("SIGCONT"));
  let [agreedMs, grownMiB] = [Infinity, Infinity];
  const memory = () => world.names.filter((name) => name !== victim).map((name) => memoryMiB(world, name));
  await world.measure(async () => {
    const before = memory();
    world.say(`${victim} stands still`);
    node.signal("SIGSTOP");
    await world.pause(8);
    grownMiB = Math.max(
      ...memory().map((mebibytes, index) => mebibytes - before[index]!),
    );
    node.signal("SIGCONT");
    world.say("it goes on");
    // Until it has read the new list, its list is the old one and differs from all others.
    agreedMs = await world.fleet.agree(30_000);
    await world.pause(5);
  });
  return world.outcome({
    atFault: [victim],
    checks: ({ others }) => [
      atMost("failed", others.failed, 0),
      agreedWithin(agreedMs),
      atMost("memory of another grew by", Math.round(grownMiB), 64, " MiB"),
    ],
  });
}

function memoryMiB(world: World, name: string): number {
  const { pid } = world.fleet.members.get(name)!.child;
  const [, kibibytes] = /^VmRSS:\s+(\d+)/m.exec(
    readFileSync(`/proc/${pid}/status`, "utf8"),
  )!;
  return Number(kibibytes) / 1024;
}

export const links: readonly Scenario[] = [
  { name: "link-down", title: "a host's link is down for 15 s", run: linkDown },
  {
    name: "one-way",
    title: "one direction of a pair drops all packets, for 20 s",
    run: pair(1, "drop"),
  },
  {
    name: "both-ways",
    title: "both directions of a pair drop all packets",
    run: pair(2, "drop"),
  },
  {
    name: "both-ways-rejected",
    title: "both directions of a pair are rejected",
    run: pair(2, "reject"),
  },
  {
    name: "loss",
    title: "every host loses 25 % of all packets, for 20 s",
    run: lossy,
  },
  {
    name: "stands-still",
    title: "a node stands still for 8 s",
    run: standsStill,
  },
];
