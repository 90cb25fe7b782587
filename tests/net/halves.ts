/** Scenarios in which the hosts fall into two halves, or lose NATS. */
import { atMost, type Check, holds } from "../chaos/result.ts";
import type { Host } from "./hosts.ts";
import { agreedWithin } from "./links.ts";
import { nameOf, type Outcome, type Run, type Scenario, World } from "./world.ts";

/** Time for each half to settle. */
const SETTLED_WITHIN_SECONDS = 15;
const HALF = 3;

/** The halves cannot reach each other; nor the second one NATS, if so wanted. */
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

/** A node that reaches NATS and the clients, and no peer: a firewall, or a network of its own. */
async function firewalled(run: Run): Promise<Outcome> {
  const world = await World.make(run, { nodes: 3 });
  const joiner = world.network.host("net-8");
  for (const { address } of world.hosts) joiner.refuseFrom(address);
  const slow = () => world.load.tally.latenciesMs.filter((tookMs) => tookMs > 1_000).length;
  let [settled, later, agreedMs] = [0, Infinity, Infinity];
  let ready: Record<string, unknown> = {};
  let findings: readonly { what: string; about?: string }[] = [];
  let seenThere: typeof findings = [];
  await world.measure(async () => {
    await world.start(joiner);
    await world.pause(SETTLED_WITHIN_SECONDS);
    settled = slow();
    await world.pause(30);
    later = slow() - settled;
    ready = await toldAt(world, joiner.name, "readyz");
    ({ findings } = await toldAt(world, joiner.name, "stats"));
    ({ findings: seenThere } = await toldAt(world, nameOf(0), "stats"));
    world.say(JSON.stringify({ ready, findings, seenThere }));
    joiner.heal();
    world.say("healed");
    agreedMs = await world.fleet.agree(30_000);
  });
  const names = world.hosts.map(({ name }) => name);
  const log = world.fleet.members.get(joiner.name)!.lines.filter((line) => line.includes("I was taken off"));
  const tells = (what: string) => findings.filter((finding) => finding.what === what);
  return world.outcome({
    atFault: [joiner.name],
    checks: ({ others, atFault }): Check[] => [
      atMost("failed", others.failed + atFault.failed, 0),
      atMost(`answers over 1 s in the 30 s after ${SETTLED_WITHIN_SECONDS} s`, later, 0),
      holds("its log names the three and its URL", log.some((line) => names.every((name) => line.includes(name)))),
      holds("its /stats as well", tells("out-of-reach").length === 1 && tells("peer-down").length === names.length),
      holds(
        "its /readyz counts them",
        `${ready["peers"]} ${ready["reach"]}`.startsWith("3 of 3 cannot be reached 3 peers"),
      ),
      holds(
        "a peer's /stats names it",
        seenThere.some(({ what, about }) => what === "peer-down" && about === joiner.name),
      ),
      agreedWithin(agreedMs),
    ],
  });
}

async function toldAt(world: World, name: string, path: "readyz" | "stats") {
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
    title: "a node joins that reaches NATS and no peer, for 45 s",
    run: firewalled,
  },
  {
    name: "blind",
    title: "one node loses NATS for 60 s; another joins, a third leaves",
    run: blindNode,
  },
];
