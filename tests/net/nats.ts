/** Scenarios about NATS itself: a cluster that fails, and servers that cannot be used. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pause } from "../chaos/load.ts";
import { atMost, type Check, holds } from "../chaos/result.ts";
import { temporaryDirectory } from "../support/node.ts";
import { NatsOn } from "./fleet.ts";
import { agreedWithin } from "./links.ts";
import { type Outcome, type Run, type Scenario, World } from "./world.ts";

async function clusterFails(run: Run): Promise<Outcome> {
  const world = await World.make(run, {
    nodes: 3,
    natsServers: 3,
    options: ["--replicas", "3"],
  });
  const agreedMs: number[] = [];
  await world.measure(async () => {
    for (const count of [1, 2, 3]) {
      const killed = world.nats.slice(0, count);
      world.say(`${count} of 3 NATS servers are killed`);
      await Promise.all(killed.map((server) => server.kill()));
      await world.pause(8);
      await Promise.all(killed.map((server) => server.start()));
      world.say("they are back");
      // Whether the list can be written again shows at a change.
      const joiner = world.network.host(`net-1${count}`);
      await world.start(joiner);
      agreedMs.push(await world.fleet.agree(30_000));
      world.say(`all agree after ${Math.round(agreedMs.at(-1)!)} ms`);
    }
  });
  return world.outcome({
    checks: ({ others }) => [
      atMost("failed", others.failed, 0),
      ...agreedMs.map((tookMs, index) => ({
        ...agreedWithin(tookMs, 20_000),
        what: `after ${index + 1} of 3: agree`,
      })),
    ],
  });
}

/** The first server of the list swallows packets: a node must not wait for it. */
async function firstSwallows(run: Run): Promise<Outcome> {
  const world = await World.make(run, { nodes: 2 });
  const swallows = world.network.host("swallows");
  for (const host of world.hosts) swallows.refuseFrom(host.address);
  const joiner = world.network.host("net-7");
  swallows.refuseFrom(joiner.address);
  let [readyMs, agreedMs] = [Infinity, Infinity];
  await world.measure(async () => {
    const sinceMs = performance.now();
    await world.start(joiner, {
      nats: `nats://${swallows.address}:4222,${world.nats[0]!.url}`,
    });
    await world.load.ready([joiner.name], 30_000).then(
      () => readyMs = performance.now() - sinceMs,
      () => {},
    );
    world.say(`${joiner.name} is ready after ${Math.round(readyMs)} ms`);
    agreedMs = await world.fleet.agree(20_000);
    await world.pause(3);
  });
  return world.outcome({
    checks: ({ others, extraLoads }) => [
      atMost("failed", others.failed, 0),
      atMost("ready after", Math.round(readyMs), 3_000, " ms"),
      atMost("extra loads", extraLoads, 5),
      agreedWithin(agreedMs),
    ],
  });
}

interface Unusable {
  readonly what: string;
  readonly config: (storeDir: string) => string;
  /** The expected content of the node's one line. */
  readonly told: RegExp;
}

const unusable: readonly Unusable[] = [
  { what: "without JetStream", config: () => "", told: /JetStream/i },
  {
    what: "with a wrong login",
    config: (store) => `jetstream { store_dir: "${store}" }\nauthorization { user: a, password: b }`,
    told: /authori[sz]|login|password/i,
  },
  {
    what: "an account that may not write the bucket",
    config: (store) =>
      `jetstream { store_dir: "${store}" }\nauthorization { users: [{ user: a, password: b, permissions: ` +
      `{ publish: ["$JS.API.STREAM.NAMES", "$JS.API.INFO"], subscribe: ["_INBOX.>"] } }] }\nno_auth_user: a`,
    told: /permission|may not|not permitted/i,
  },
  {
    what: "with its limits reached",
    config: (store) => `jetstream { store_dir: "${store}", max_file_store: 1K, limits: { max_ha_assets: 1 } }`,
    told: /resource|limit|storage/i,
  },
];

/** The node reports each unusable server in few lines that say what to do, and serves alone. */
async function unusableServers(run: Run): Promise<Outcome> {
  const checks: Check[] = [];
  const notes: string[] = [];
  let [failed, slowestMs] = [0, 0];
  const world = await World.make(run, { nodes: 1 });
  for (const [index, { what, config, told }] of unusable.entries()) {
    const folder = temporaryDirectory(run.defer);
    const file = join(folder, "nats.conf");
    writeFileSync(file, config(join(folder, "store")));
    const host = world.network.host(`nats-x${index}`);
    const server = new NatsOn(host, run.defer, ["-c", file], {
      isJetStream: false,
    });
    await server.start();
    const joiner = world.network.host(`net-2${index}`);
    await world.start(joiner, { nats: server.url });
    await pause(6_000);
    const node = world.fleet.members.get(joiner.name)!;
    const lines = node.lines.filter((line) => line.includes('"level":"warn"') || line.includes('"level":"error"'));
    const askedMs = performance.now();
    const answer = await fetch(`${node.url}/cache/net/key-1`).then(
      ({ status }) => status,
      () => 0,
    );
    slowestMs = Math.max(slowestMs, performance.now() - askedMs);
    if (answer !== 200) failed++;
    checks.push(holds(`${what}: told`, lines.some((line) => told.test(line))));
    checks.push(atMost(`${what}: lines in 6 s`, lines.length, 3));
    checks.push(holds(`${what}: serves`, answer === 200));
    notes.push(
      `${what}: ${lines[0] === undefined ? "nothing" : JSON.parse(lines[0]).message}`,
    );
    world.say(`${what}:\n${lines.join("\n")}`);
    await world.end(joiner.name, "SIGTERM");
  }
  const overOneSecondPercent = slowestMs > 1_000 ? 100 / unusable.length : 0;
  const atFault = {
    requests: unusable.length,
    failed,
    slowestMs,
    overOneSecondPercent,
  };
  return { atFault, checks, notes, details: {} };
}

export const natsScenarios: readonly Scenario[] = [
  {
    name: "nats-cluster",
    title: "1, 2 and 3 of 3 NATS servers are killed and come back",
    run: clusterFails,
  },
  {
    name: "first-swallows",
    title: "the first NATS server in the list swallows packets",
    run: firstSwallows,
  },
  {
    name: "nats-unusable",
    title: "NATS servers that cannot be used",
    run: unusableServers,
  },
];
