/** Scenarios about narrow paths: a small MTU, a thin link, IPv6, and values of the largest size. */
import { Buffer } from "node:buffer";
import { valueOf } from "../chaos/keys.ts";
import { CountingOrigin, type OriginAnswer } from "../chaos/origin.ts";
import { atMost, type Check, holds } from "../chaos/result.ts";
import { agreedWithin } from "./links.ts";
import { nameOf, type Outcome, type Run, type Scenario, World } from "./world.ts";
import { GROUP } from "./fleet.ts";

const MIB = 1024 * 1024;

/** Keys `<MiB>-mib-<n>` have bodies of that size; others those of the load. */
class SizedOrigin extends CountingOrigin {
  readonly #bodies = new Map<number, Buffer>();

  bodyOf(key: string): Buffer {
    const size = /^(\d+)-mib-/.exec(key)?.[1];
    if (size === undefined) return valueOf(key);
    const known = this.#bodies.get(Number(size));
    const body = known ?? Buffer.alloc(Number(size) * MIB, valueOf(size));
    this.#bodies.set(Number(size), body);
    return body;
  }

  protected override answer(key: string, by: string): OriginAnswer {
    this.count(key, by);
    return {
      status: 200,
      headers: { "content-type": "text/plain" },
      body: this.bodyOf(key),
      delayMs: this.delayMs,
    };
  }
}

/** A site: answers that are too long to keep are streamed through. */
class SizedSite extends SizedOrigin {
  override get template(): string {
    return super.template.replace("{key}", "*");
  }
}

/** Asks each node for each key; tells whether all bodies were right, and the slowest answer. */
async function askAll(
  world: World,
  origin: SizedOrigin,
  keys: readonly string[],
): Promise<{ wrong: number; slowestMs: number }> {
  let wrong = 0;
  let slowestMs = 0;
  for (const key of keys) {
    for (const { url } of world.fleet.members.values()) {
      const sinceMs = performance.now();
      const { status, body } = await whole(`${url}/cache/${GROUP}/${key}`);
      const tookMs = performance.now() - sinceMs;
      slowestMs = Math.max(slowestMs, tookMs);
      if (status === 200 && origin.bodyOf(key).equals(body)) continue;
      wrong++;
      const text = status === 200 ? `${body.length} bytes` : body.subarray(0, 200).toString();
      world.say(
        `${key.slice(0, 20)} at ${url}: ${status} after ${Math.round(tookMs)} ms: ${text}`,
      );
    }
  }
  return { wrong, slowestMs };
}

/** An answer with its whole body; status 0 and the reason: there is none. */
async function whole(url: string): Promise<{ status: number; body: Buffer }> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(60_000) });
    return {
      status: response.status,
      body: Buffer.from(await response.arrayBuffer()),
    };
  } catch (error) {
    return { status: 0, body: Buffer.from(String(error)) };
  }
}

const BIG_KEYS = [1, 15, 17].flatMap((
  size,
) => [`${size}-mib-a`, `${size}-mib-b`, `${size}-mib-c`]);
const LONG_KEY = "k".repeat(1_024);

function bigValues(isIpv6: boolean): (run: Run) => Promise<Outcome> {
  return async (run) => {
    const origin = new SizedSite();
    // A site's answers without a lifetime are not kept, unless the group gives them one.
    const policy = { ttlMs: 600_000 };
    const world = await World.make(run, { nodes: 3, isIpv6, origin, policy });
    if (!isIpv6) { for (const host of world.hosts) host.setMtu(1_280); }
    let asked = { wrong: Infinity, slowestMs: Infinity };
    let agreedMs = Infinity;
    await world.measure(async () => {
      asked = await askAll(world, origin, [...BIG_KEYS, LONG_KEY]);
      world.say(
        `${asked.wrong} wrong answers, the slowest after ${Math.round(asked.slowestMs)} ms`,
      );
      agreedMs = await world.fleet.agree(1_000);
    });
    return world.outcome({
      checks: ({ others }): Check[] => [
        atMost("failed", others.failed, 0),
        atMost(
          "wrong bodies of 1, 15 and 17 MiB and of a key of 1,024 bytes",
          asked.wrong,
          0,
        ),
        holds("nobody was evicted", agreedMs < Infinity),
        agreedWithin(agreedMs),
      ],
      notes: [
        `slowest of the big ones ${(asked.slowestMs / 1_000).toFixed(1)} s`,
      ],
    });
  };
}

/** Big values come from a node whose link is thin: it stays listed, and they arrive. */
async function thinLink(run: Run): Promise<Outcome> {
  const origin = new SizedOrigin();
  const world = await World.make(run, { nodes: 4, origin });
  const thin = world.host(nameOf(1));
  let asked = { wrong: Infinity, slowestMs: Infinity };
  let [changes, agreedMs] = [Infinity, Infinity];
  const loadsOf = (key: string) => origin.loadersOf(key).length;
  const keys = Array.from({ length: 6 }, (_, index) => `15-mib-${index}`);
  await world.measure(async () => {
    const before = (await world.fleet.roster(nameOf(0)))!.revision;
    thin.setRate(20);
    world.say(`${thin.name} sends 20 Mbit/s at most`);
    asked = await askAll(world, origin, keys);
    world.say(
      `${asked.wrong} wrong answers, the slowest after ${Math.round(asked.slowestMs)} ms`,
    );
    changes = (await world.fleet.roster(nameOf(0)))!.revision - before;
    agreedMs = await world.fleet.agree(10_000);
  });
  return world.outcome({
    atFault: [thin.name],
    checks: ({ others }): Check[] => [
      atMost("failed", others.failed, 0),
      atMost("wrong bodies of 15 MiB", asked.wrong, 0),
      atMost("changes of the list", changes, 0),
      atMost("loads of one big key", Math.max(...keys.map(loadsOf)), 1),
      agreedWithin(agreedMs),
    ],
    notes: [
      `slowest of the big ones ${(asked.slowestMs / 1_000).toFixed(1)} s`,
    ],
  });
}

/** A path that passes only small packets, like a wrong MTU under an overlay. */
async function smallPacketsOnly(run: Run): Promise<Outcome> {
  const world = await World.make(run, { nodes: 4 });
  const [a, b] = [world.host(nameOf(1)), world.host(nameOf(2))];
  let agreedMs = Infinity;
  await world.measure(async () => {
    a.loseLongerThan(900, b.address);
    b.loseLongerThan(900, a.address);
    world.say(`between ${a.name} and ${b.name} only small packets arrive`);
    await world.pause(30);
    a.heal();
    b.heal();
    world.say("healed");
    agreedMs = await world.fleet.agree(20_000);
  });
  return world.outcome({
    checks: ({ others }) => [
      atMost("failed", others.failed, 0),
      atMost("over 1 s", others.overOneSecondPercent, 2, " %"),
      agreedWithin(agreedMs),
    ],
  });
}

export const paths: readonly Scenario[] = [
  {
    name: "mtu-1280",
    title: "values of 1, 15 and 17 MiB over MTU 1,280",
    run: bigValues(false),
  },
  {
    name: "ipv6",
    title: "the same over IPv6 addresses throughout",
    run: bigValues(true),
  },
  {
    name: "thin-link",
    title: "values of 15 MiB from a node that sends 20 Mbit/s",
    run: thinLink,
  },
  {
    name: "small-packets",
    title: "a pair whose path loses packets over 900 bytes, for 30 s",
    run: smallPacketsOnly,
  },
];
