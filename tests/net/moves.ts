/** Scenarios in which nodes come back elsewhere, or with another clock. */
import { execFileSync } from "node:child_process";
import { pause } from "../chaos/load.ts";
import { atMost, holds } from "../chaos/result.ts";
import { agreedWithin } from "./links.ts";
import { nameOf, type Outcome, type Run, type Scenario, World } from "./world.ts";

async function movedAddress(run: Run): Promise<Outcome> {
  const world = await World.make(run, { nodes: 4 });
  const victim = nameOf(1);
  let agreedMs = Infinity;
  let isThere = false;
  await world.measure(async () => {
    await world.end(victim, "SIGKILL");
    const host = world.host(victim);
    host.move(99);
    world.say(`${victim} comes back at ${host.address}`);
    await world.start(host);
    // The lists are equal before the change too: all of them have the former record.
    const sinceMs = performance.now();
    while (!isThere && performance.now() - sinceMs < 20_000) {
      await pause(50);
      const roster = await world.fleet.roster(nameOf(0));
      isThere = roster?.peers.some(({ name, url }) => name === victim && url.includes(host.address)) === true;
    }
    await world.fleet.agree(20_000);
    agreedMs = performance.now() - sinceMs;
    await world.pause(5);
  });
  return world.outcome({
    checks: ({ others }) => [
      atMost("failed", others.failed, 0),
      holds("listed at its new address", isThere),
      agreedWithin(agreedMs),
    ],
  });
}

async function movedName(run: Run): Promise<Outcome> {
  const world = await World.make(run, { nodes: 4 });
  const victim = nameOf(1);
  let agreedMs = Infinity;
  await world.measure(async () => {
    await world.end(victim, "SIGKILL");
    await world.start(world.host(victim), { name: "net-renamed" });
    agreedMs = await world.fleet.agree(20_000);
    await world.pause(5);
  });
  return world.outcome({
    checks: (
      { others },
    ) => [atMost("failed", others.failed, 0), agreedWithin(agreedMs)],
  });
}

/**
 * The variables that faketime sets for a program. With faketime itself as the parent, signals would end it and not the
 * node.
 */
function clockEnv(offset: string): Record<string, string> {
  const told = execFileSync("faketime", ["-f", offset, "printenv"], { encoding: "utf8" });
  const names = ["LD_PRELOAD", "FAKETIME"];
  const lines = told.split("\n").map((line) => line.split(/=(.*)/, 2) as [string, string]);
  // Timers use the monotonic clock, which this error does not change.
  const monotonic = { FAKETIME_DONT_FAKE_MONOTONIC: "1" };
  return { ...Object.fromEntries(lines.filter(([name]) => names.includes(name))), ...monotonic };
}

/** One node's clock is an hour off, from its start. Its peers' values keep their lifetimes there. */
function clockOff(offset: string): (run: Run) => Promise<Outcome> {
  return async (run) => {
    const victim = nameOf(1);
    const env = clockEnv(offset);
    const world = await World.make(run, {
      nodes: 4,
      policy: { ttlMs: 10_000, ttlJitter: 0 },
      only: { [victim]: { env } },
    });
    let agreedMs = Infinity;
    let isOff = false;
    await world.measure(async () => {
      const date = (await fetch(`${world.fleet.members.get(victim)!.url}/healthz`)).headers
        .get("date");
      const joined = (await world.fleet.roster(nameOf(0)))!.peers.find(({ name }) => name === victim)!.joined;
      isOff = Math.abs(Date.parse(joined) - Date.now()) > 1_800_000;
      world.say(`${victim} says that it is ${date ?? joined}`);
      await world.pause(15);
      await world.end(victim, "SIGTERM");
      await world.start(world.host(victim), { env });
      agreedMs = await world.fleet.agree(20_000);
      await world.pause(5);
    });
    // Each key expires 10 s after its load, wherever it is held: no key is loaded more often than its lifetime allows.
    const perKey = new Map<string, number>();
    for (const { key } of world.origin.extra) {
      perKey.set(key, (perKey.get(key) ?? 0) + 1);
    }
    const most = Math.max(0, ...perKey.values());
    return world.outcome({
      checks: ({ others }) => [
        holds("the clock is off", isOff),
        atMost("failed", others.failed, 0),
        atMost("loads of one key in some 30 s of 10 s lifetimes", most, 5),
        agreedWithin(agreedMs),
      ],
    });
  };
}

export const moves: readonly Scenario[] = [
  {
    name: "moved",
    title: "a node comes back with its name and another address",
    run: movedAddress,
  },
  {
    name: "renamed",
    title: "a node comes back at its address with another name",
    run: movedName,
  },
  {
    name: "clock-ahead",
    title: "a node's clock is an hour ahead; values live 10 s",
    run: clockOff("+3600s"),
  },
  {
    name: "clock-behind",
    title: "a node's clock is an hour behind; values live 10 s",
    run: clockOff("-3600s"),
  },
];
