/** Scenarios with nginx in front of the nodes, and with other clusters on the same NATS. */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { valueOf } from "../chaos/keys.ts";
import { CountingOrigin, type OriginAnswer } from "../chaos/origin.ts";
import { atMost, type Check, holds } from "../chaos/result.ts";
import { NodeProcess, temporaryDirectory } from "../support/node.ts";
import { until } from "../support/until.ts";
import { GROUP } from "./fleet.ts";
import { ORIGIN } from "./hosts.ts";
import { agreedWithin } from "./links.ts";
import { type Outcome, type Run, type Scenario, seenOf, World } from "./world.ts";

const FRONT_PORT = 8080;

/** nginx with its default settings for upstreams. @param lines more lines for the upstream and the location */
async function startNginx(
  run: Run,
  urls: readonly string[],
  lines: { upstream: string; location: string },
): Promise<string> {
  const folder = temporaryDirectory(run.defer);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((
    name,
  ) => `${name}_temp_path ${folder}/${name};`);
  const config = join(folder, "nginx.conf");
  writeFileSync(
    config,
    `daemon off; pid ${folder}/pid; error_log ${folder}/error.log;
events { worker_connections 4096; }
http {
  access_log off; ${temporary.join(" ")}
  upstream muster { ${urls.map((url) => `server ${new URL(url).host};`).join(" ")} ${lines.upstream} }
  server {
    listen 127.0.0.1:${FRONT_PORT};
    location / { proxy_pass http://muster; ${lines.location} }
  }
}
`,
  );
  const child = spawn("nginx", ["-p", folder, "-c", config], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const nginx = new NodeProcess("nginx", child);
  run.defer(() => nginx.end("SIGTERM"));
  const url = `http://127.0.0.1:${FRONT_PORT}`;
  await until(
    () => fetch(`${url}/readyz`).then(({ ok }) => ok, () => false),
    10_000,
    () => nginx.lines.join("\n"),
  );
  return url;
}

function behindNginx(keepAlive: boolean): (run: Run) => Promise<Outcome> {
  return async (run) => {
    const world = await World.make(run, { nodes: 3 });
    const urls = [...world.fleet.members.values()].map(({ url }) => url);
    const lines = keepAlive
      ? {
        upstream: "keepalive 64;",
        location: 'proxy_http_version 1.1; proxy_set_header Connection "";',
      }
      : { upstream: "", location: "" };
    const front = await startNginx(run, urls, lines);
    for (const name of world.names) world.load.remove(name);
    world.load.add("nginx", front);
    await world.load.ready(["nginx"]);
    let agreedMs = Infinity;
    await world.measure(async () => {
      for (const name of world.names) {
        await world.end(name, "SIGTERM");
        await world.start(world.host(name));
        world.load.remove(name);
        await until(
          () =>
            fetch(`${world.fleet.members.get(name)!.url}/readyz`).then(
              ({ ok }) => ok,
              () => false,
            ),
          20_000,
          () => `${name} is not ready`,
        );
        await world.pause(1);
      }
      agreedMs = await world.fleet.agree(20_000);
    });
    return world.outcome({
      checks: (
        { others, extraLoads },
      ) => [
        atMost("failed", others.failed, 0),
        atMost("extra loads", extraLoads, 5),
        agreedWithin(agreedMs),
      ],
    });
  };
}

/** Its values are not those of another origin. */
class MarkedOrigin extends CountingOrigin {
  readonly #mark: string;

  constructor(mark: string) {
    super();
    this.#mark = mark;
  }

  protected override answer(key: string, by: string): OriginAnswer {
    this.count(key, by);
    return {
      status: 200,
      headers: { "content-type": "text/plain" },
      body: valueOf(`${this.#mark} ${key}`),
      delayMs: 0,
    };
  }
}

/** Four more nodes, two for each of two origins: each node answers with the values of its own origin. */
function beside(
  kind: "two clusters" | "two definitions",
): (run: Run) => Promise<Outcome> {
  return async (run) => {
    const world = await World.make(run, { nodes: 1 });
    const hosts = Array.from(
      { length: 4 },
      (_, index) => world.network.host(`net-3${index}`),
    );
    const origins = [new MarkedOrigin("a"), new MarkedOrigin("b")];
    for (const origin of origins) await origin.start(run.defer, ORIGIN);
    for (const [index, host] of hosts.entries()) {
      const bucket = kind === "two clusters" ? `other-${index % 2}` : "other";
      await world.fleet.start(host, {
        nats: world.nats[0]!.url,
        origin: origins[index % 2]!.template,
        options: ["--bucket", bucket],
      });
    }
    const agreedMs = await agreed(kind, world, hosts.map(({ name }) => name));
    let [wrong, lost] = [0, 0];
    const latenciesMs: number[] = [];
    for (let rank = 0; rank < 200; rank++) {
      for (const [index, { name }] of hosts.entries()) {
        const mark = "ab"[index % 2]!;
        const url = `${world.fleet.members.get(name)!.url}/cache/${GROUP}/key-${rank}`;
        const askedMs = performance.now();
        const body = await fetch(url).then(
          (response) => response.arrayBuffer(),
          () => undefined,
        );
        latenciesMs.push(performance.now() - askedMs);
        if (body === undefined) lost++;
        else if (!valueOf(`${mark} key-${rank}`).equals(new Uint8Array(body))) {
          wrong++;
        }
      }
    }
    const loads = origins.map((origin) => origin.loads);
    const told = hosts.map(({ name }) =>
      world.fleet.members.get(name)!.lines.filter((line) =>
        line.includes(
          " is another than mine: no value of it is shared with that node",
        )
      ).length
    );
    const checks: Check[] = [
      atMost("failed", lost, 0),
      atMost("values of the other origin", wrong, 0),
      atMost("loads of 400 keys", loads[0]! + loads[1]!, 400),
      agreedWithin(agreedMs),
      ...(kind === "two definitions"
        ? [
          holds(
            "each node warns of both others",
            told.every((count) => count === 2),
            told.join(),
          ),
        ]
        : []),
    ];
    const extraLoads = loads[0]! + loads[1]! - 400;
    return {
      others: seenOf(latenciesMs, lost),
      extraLoads,
      checks,
      notes: [],
      details: {},
    };
  };
}

/** Two clusters have a list each; one bucket has one list, of nodes that share values in pairs. */
async function agreed(
  kind: "two clusters" | "two definitions",
  world: World,
  names: readonly string[],
) {
  const lists = kind === "two clusters" ? [0, 1].map((odd) => names.filter((_, at) => at % 2 === odd)) : [names];
  return Math.max(
    ...await Promise.all(lists.map((list) => world.fleet.agree(20_000, list))),
  );
}

export const sharing: readonly Scenario[] = [
  {
    name: "nginx",
    title: "rolling restart of three behind nginx with its default settings",
    run: behindNginx(false),
  },
  {
    name: "nginx-keepalive",
    title: "the same with kept connections to the nodes",
    run: behindNginx(true),
  },
  {
    name: "two-clusters",
    title: "two clusters on one NATS",
    run: beside("two clusters"),
  },
  {
    name: "two-definitions",
    title: "one bucket, two origins for one group",
    run: beside("two definitions"),
  },
];
