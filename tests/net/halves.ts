/** Scenarios in which the hosts fall into two halves, or lose NATS. */
import { atMost, type Check, holds } from "../chaos/result.ts";
import type { Host } from "./hosts.ts";
import { agreedWithin } from "./links.ts";
import { nameOf, type Outcome, type Run, type Scenario, World } from "./world.ts";

/** Time for each half to settle. */
const SETTLED_WITHIN_SECONDS = 15;
const HALF = 3;

/** Cuts the halves off from each other, and optionally the second one from NATS. */
function cut(
  halves: readonly (readonly Host[])[],
  natsAddress: string | undefined,
): void {
  for (const [own, others] of [halves, [...halves].reverse()]) {
    for (const host of own!) {
      for (const other of others!) host.refuseFrom(other.address);
    }
  }
  if (natsAddress !== undefined) {
    for (const host of halves[1]!) host.refuseFrom(natsAddress);
  }
}

function halves(
  isNatsReached: "by both" | "by one",
): (run: Run) => Promise<Outcome> {
  return async (run) => {
    const world = await World.make(run, { nodes: 2 * HALF });
    const [first, second] = [
      world.hosts.slice(0, HALF),
      world.hosts.slice(HALF),
    ] as const;
    const nats = world.nats[0]!.host;
    const revisions: number[] = [];
    let agreedMs = Infinity;
    const slowAtSettled: number[] = [];
    const slow = () => world.load.tally.latenciesMs.filter((tookMs) => tookMs > 1_000).length;
    await world.measure(async () => {
      world.say(`two halves of ${HALF}; NATS is reached ${isNatsReached}`);
      cut(
        [first, second],
        isNatsReached === "by one" ? nats.address : undefined,
      );
      await world.pause(SETTLED_WITHIN_SECONDS);
      slowAtSettled.push(slow());
      revisions.push((await world.fleet.roster(nameOf(0)))?.revision ?? NaN);
      world.say(`revision ${revisions[0]} at ${nameOf(0)}`);
      await world.pause(30);
      slowAtSettled.push(slow());
      revisions.push((await world.fleet.roster(nameOf(0)))?.revision ?? NaN);
      world.say(`revision ${revisions[1]} at ${nameOf(0)}`);
      for (const host of world.hosts) host.heal();
      world.say("healed");
      agreedMs = await world.fleet.agree(40_000);
    });
    const lateSlow = slowAtSettled[1]! - slowAtSettled[0]!;
    return world.outcome({
      checks: ({ others }): Check[] => [
        atMost("failed", others.failed, 0),
        atMost(
          `changes of the list in the 30 s after ${SETTLED_WITHIN_SECONDS} s`,
          revisions[1]! - revisions[0]!,
          0,
        ),
        atMost("answers over 1 s in those 30 s", lateSlow, 0),
        agreedWithin(agreedMs),
      ],
    });
  };
}

/** One node loses NATS for a minute, while another joins and a third leaves. */
async function blindNode(run: Run): Promise<Outcome> {
  const world = await World.make(run, { nodes: 5 });
  const blind = world.host(nameOf(1));
  const joiner = world.network.host("net-8");
  const leaver = nameOf(3);
  let othersAgreedMs = Infinity;
  let readyMs = Infinity;
  let agreedMs = Infinity;
  await world.measure(async () => {
    world.say(`${blind.name} cannot reach NATS`);
    blind.refuseFrom(world.nats[0]!.host.address);
    await world.pause(10);
    const sinceMs = performance.now();
    await world.start(joiner);
    await world.load.ready([joiner.name], 30_000).then(
      () => readyMs = performance.now() - sinceMs,
      () => {},
    );
    world.say(`${joiner.name} is ready after ${Math.round(readyMs)} ms`);
    await world.pause(10);
    await world.end(leaver, "SIGTERM");
    const others = [...world.fleet.members.keys()].filter((name) => name !== blind.name);
    const sawAll = (names: string[]) => others.every((name) => names.includes(name)) && !names.includes(leaver);
    othersAgreedMs = await world.fleet.show(others, 20_000, sawAll);
    await world.pause(30);
    blind.heal();
    world.say("healed");
    agreedMs = await world.fleet.agree(30_000);
  });
  return world.outcome({
    checks: ({ others }) => [
      atMost("failed", others.failed, 0),
      holds("the others see both changes", othersAgreedMs < Infinity),
      atMost("the joiner is ready after", Math.round(readyMs), 6_000, " ms"),
      agreedWithin(agreedMs),
    ],
  });
}

/** A way to separate a node from its peers while it reaches NATS and the clients. */
interface Apart {
  /** For its start. */
  readonly advertise?: string;
  readonly begin: (world: World, joiner: Host) => void;
  readonly end: (world: World, joiner: Host) => Promise<void>;
}

/** A firewall, or a separate network. */
const byFirewall: Apart = {
  begin(world, joiner) {
    for (const { address } of world.hosts) joiner.refuseFrom(address);
  },
  end: (_world, joiner) => Promise.resolve(joiner.heal()),
};

/** An unused address: the peer with the smaller name dials, and this node has the greatest name. */
const byUrl: Apart = {
  advertise: "http://10.211.0.250:8000",
  begin: () => {},
  async end(world, joiner) {
    await world.end(joiner.name, "SIGTERM");
    await world.start(joiner);
  },
};

/** A node joins, but its peers cannot reach it. */
function outOfReach({ advertise, begin, end }: Apart): (run: Run) => Promise<Outcome> {
  return async (run) => {
    const world = await World.make(run, { nodes: 3 });
    const joiner = world.network.host("net-8");
    begin(world, joiner);
    const slow = () => world.load.tally.latenciesMs.filter((tookMs) => tookMs > 1_000).length;
    let [settled, later, agreedMs] = [0, Infinity, Infinity];
    let told: Told | undefined;
    await world.measure(async () => {
      await world.start(joiner, { ...(advertise !== undefined && { advertise }) });
      await world.pause(SETTLED_WITHIN_SECONDS);
      settled = slow();
      await world.pause(15);
      later = slow() - settled;
      told = await toldBy(world, joiner);
      await end(world, joiner);
      world.say("healed");
      agreedMs = await world.fleet.agree(30_000);
    });
    return world.outcome({
      atFault: [joiner.name],
      checks: ({ others, atFault }): Check[] => [
        atMost("failed", others.failed + atFault.failed, 0),
        atMost(`answers over 1 s in the 15 s after ${SETTLED_WITHIN_SECONDS} s`, later, 0),
        holds("its log, /stats and /readyz tell it", told !== undefined && told.log && told.stats && told.readyz),
        holds("a peer's /stats names it", told?.peer === true),
        agreedWithin(agreedMs),
      ],
    });
  };
}

/** Whether each node reports the lost paths. */
interface Told {
  readonly log: boolean;
  readonly stats: boolean;
  readonly readyz: boolean;
  readonly peer: boolean;
}

async function toldBy(world: World, { name }: Host): Promise<Told> {
  const others = world.hosts.map((host) => host.name);
  const ready = await answerOf(world, name, "readyz");
  const { findings } = await answerOf(world, name, "stats");
  const { findings: seen } = await answerOf(world, others[0]!, "stats");
  world.say(JSON.stringify({ ready, findings, seen }));
  const tells = (what: string) => findings.filter((finding: { what: string }) => finding.what === what);
  const down = ({ what, about }: { what: string; about?: string }) => what === "peer-down" && about === name;
  return {
    log: world.fleet.members.get(name)!.lines.some((line) =>
      line.includes("I was taken off") && others.every((other) => line.includes(other))
    ),
    stats: tells("out-of-reach").length === 1 && tells("peer-down").length === others.length,
    readyz: `${ready.peers} ${ready.reach}`.startsWith("3 of 3 cannot be reached 3 peers"),
    peer: seen.some(down),
  };
}

async function answerOf(world: World, name: string, path: "readyz" | "stats") {
  return await (await fetch(`${world.fleet.members.get(name)!.url}/${path}`)).json();
}

export const halvesScenarios: readonly Scenario[] = [
  {
    name: "halves",
    title: "two halves of 3, both reach NATS, for 45 s",
    run: halves("by both"),
  },
  {
    name: "halves-nats-one-side",
    title: "two halves of 3, NATS on one side, for 45 s",
    run: halves("by one"),
  },
  {
    name: "firewalled",
    title: "a node joins that reaches NATS and no peer, for 30 s",
    run: outOfReach(byFirewall),
  },
  {
    name: "wrong-url",
    title: "a node joins with an --advertise at which nobody is, for 30 s",
    run: outOfReach(byUrl),
  },
  {
    name: "blind",
    title: "one node loses NATS for 60 s; another joins, a third leaves",
    run: blindNode,
  },
];
