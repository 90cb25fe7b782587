/**
 * Bad answers of an origin, and bad requests of clients, where the node that is asked and the owner run on different runtimes.
 * Runs once: its subject is in processes of their own.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { PrefixHash } from "../../lib/core/base/hash.ts";
import { Rendezvous } from "../../lib/core/placement/rendezvous.ts";
import { type BadOrigin, type Piece, type SeenRequest, startBadOrigin } from "../support/bad-origin.ts";
import { startNats } from "../support/nats-server.ts";
import {
  assembled,
  bothRuntimes,
  type NodeProcess,
  secondAsksOf,
  startNode,
  temporaryDirectory,
} from "../support/node.ts";
import { askRaw } from "../support/raw-client.ts";
import { type Defer, test } from "../support/test.ts";

const FRESH = "Cache-Control: max-age=60\r\n";
const OK = `HTTP/1.1 200 OK\r\n${FRESH}`;
const BODY = "Content-Length: 2\r\n\r\nhi";
const HOUR_MS = 3_600_000;
/** Of one load. Chosen: longer than an answer takes on a busy machine, as only what hangs may run into it. */
const LOAD_TIMEOUT_MS = 5_000;

/** What a client gets, and whether the next one gets it from a cache. */
interface Outcome {
  readonly status: number;
  readonly body?: string;
  readonly isStored?: boolean;
  /** How long it is fresh, in seconds. */
  readonly ttl?: number;
}

interface Fault {
  readonly what: string;
  readonly pieces: (request: SeenRequest) => readonly Piece[];
  readonly site: Outcome;
  /** @default as for a site */
  readonly template?: Outcome;
}

const failed: Outcome = { status: 502 };
const late: Outcome = { status: 504 };
const stored: Outcome = { status: 200, body: "hi", isStored: true };
const dated = (date: string) => [`${OK}Date: ${date}\r\n${BODY}`];
const httpDate = (ms: number) => new Date(ms).toUTCString();

const faults: readonly Fault[] = [
  { what: "hangs", pieces: () => [], site: late },
  { what: "resets", pieces: () => [`${OK}Content-Length: 9\r\n\r\nhi`, "RESET"], site: failed },
  { what: "stops-after-its-head", pieces: () => [`${OK}Content-Length: 2\r\n\r\n`], site: late },
  { what: "is-short", pieces: () => [`${OK}Content-Length: 9\r\n\r\nhi`, "END"], site: failed },
  { what: "is-long", pieces: () => [`${OK}${BODY}HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad`], site: stored },
  { what: "204", pieces: () => ["HTTP/1.1 204 No Content\r\n\r\n"], site: { status: 204, body: "" }, template: failed },
  {
    what: "206",
    pieces: () => [`HTTP/1.1 206 Partial Content\r\n${FRESH}Content-Range: bytes 0-1/9\r\n${BODY}`],
    site: { status: 206, body: "hi" },
    template: failed,
  },
  { what: "304", pieces: () => [`HTTP/1.1 304 Not Modified\r\n${FRESH}ETag: "x"\r\n\r\n`], site: failed },
  { what: "103", pieces: () => [`HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n${OK}${BODY}`], site: stored },
  { what: "500-KiB-of-headers", pieces: () => [`${OK}X: ${"y".repeat(500 * 1024)}\r\n${BODY}`], site: failed },
  { what: "99", pieces: () => [`HTTP/1.1 099 Odd\r\n${BODY}`], site: failed },
  { what: "999", pieces: () => [`HTTP/1.1 999 Odd\r\n${BODY}`], site: failed },
  {
    what: "two-lengths",
    pieces: () => [`${OK}Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!`, "END"],
    site: failed,
  },
  { what: "set-cookie", pieces: () => [`${OK}Set-Cookie: a=1\r\n${BODY}`], site: { status: 200, body: "hi" } },
  {
    what: "redirects-to-itself",
    pieces: ({ path }) => [`HTTP/1.1 302 Found\r\n${FRESH}Location: ${path}\r\nContent-Length: 0\r\n\r\n`],
    site: { status: 302, body: "", isStored: true },
    template: failed,
  },
  { what: "an-hour-old", pieces: () => dated(httpDate(Date.now() - HOUR_MS)), site: { ...stored, isStored: false } },
  { what: "an-hour-ahead", pieces: () => dated(httpDate(Date.now() + HOUR_MS)), site: { ...stored, ttl: 60 } },
  { what: "no-date", pieces: () => dated("the day before"), site: { ...stored, ttl: 60 } },
];

interface Fleet {
  readonly origin: BadOrigin;
  /** The node that is asked, and the one on the other runtime, which owns the keys that are asked for. */
  readonly ways: readonly { readonly asked: NodeProcess; readonly owner: NodeProcess }[];
  /** A path at a node for something whose owner is that node: `/cache/<group>/<what>-<number>`. */
  keyOf(group: string, what: string, owner: NodeProcess): string;
  /** The requests of the origin for such a path, each with the node that sent it. */
  requestsFor(path: string): readonly (SeenRequest & { readonly by: string })[];
}

async function startFleet(defer: Defer, answer: (request: SeenRequest) => readonly Piece[]): Promise<Fleet> {
  const [nats, origin] = await Promise.all([startNats(defer), startBadOrigin(defer, answer)]);
  const folder = temporaryDirectory(defer);
  const nodes = await Promise.all(bothRuntimes.map((kind) => {
    const headers = { "x-node": kind };
    const policy = { loadTimeoutMs: LOAD_TIMEOUT_MS, headers, ttlJitter: 0 };
    const groups = {
      site: { origin: `${origin.url}/site/*`, ...policy },
      template: { origin: `${origin.url}/template/{key}`, ...policy },
    };
    const path = join(folder, `${kind}.json`);
    writeFileSync(path, JSON.stringify({ groups }));
    return startNode(defer, kind, ["--nats", nats.url, "--config", path]);
  }));
  for (const group of ["site", "template"]) await assembled(nodes, group);
  const names = await Promise.all(nodes.map(async (node) => (await node.stats()).name));
  const byName = [...nodes.keys()].sort((a, b) => (names[a]! < names[b]! ? -1 : 1));
  const rendezvous = new Rendezvous(byName.map((at) => ({ name: names[at]!, weight: 1 })));
  const ownerOf = (group: string, key: string) =>
    nodes[byName[rendezvous.owner(new PrefixHash(`${group}\0`).hash(key))]!];
  const [bun, deno] = nodes as [NodeProcess, NodeProcess];
  return {
    origin,
    ways: [{ asked: bun, owner: deno }, { asked: deno, owner: bun }],
    keyOf(group, what, owner) {
      let number = 0;
      while (ownerOf(group, `${what}~${number}`) !== owner) number++;
      return `/cache/${group}/${what}~${number}`;
    },
    requestsFor(path) {
      const target = path.replace("/cache", "");
      return origin.seen.filter((request) => request.path === target)
        .map((request) => ({ ...request, by: /^x-node: (\w+)/im.exec(request.head)?.[1] ?? "" }));
    },
  };
}

/** Nothing that came has hurt the nodes. */
async function assertWell({ ways }: Fleet): Promise<void> {
  for (const { asked, owner } of ways) {
    assert.equal(asked.exitCode, undefined);
    assert.equal((await askRaw(asked.url, { target: "/readyz" })).status, 200);
    const bad = owner.lines.filter((line) => /"level":"error"|"level":"fatal"|\bat .*\.ts:\d+/.test(line));
    assert.deepEqual(bad, []);
  }
}

test(
  "what a bad origin sends comes to the same on both runtimes, asked and owner",
  { timeoutMs: 90_000 },
  async (defer) => {
    const byName = new Map(faults.map((fault) => [fault.what, fault]));
    const fleet = await startFleet(defer, (request) => {
      const what = decodeURIComponent(request.path).split(/[/~]/)[2]!;
      return byName.get(what)?.pieces(request) ?? [`${OK}${BODY}`];
    });
    const check = async (fault: Fault, kind: "site" | "template", way: Fleet["ways"][number]) => {
      const { asked, owner } = way;
      const { status, body, isStored = false, ttl } = fault[kind] ?? fault.site;
      const target = fleet.keyOf(kind, fault.what, owner);
      const label = `${target}, asked on ${asked.kind}`;
      const sinceMs = performance.now();
      const first = await askRaw(asked.url, { target });
      const tookS = Math.ceil((performance.now() - sinceMs) / 1_000);
      assert.deepEqual([first.status, body ?? first.body], [status, first.body], `${label}: ${first.body}`);
      const requests = fleet.requestsFor(target);
      assert.equal(requests[0]?.by, owner.kind, `${label}: the owner asks the origin`);
      const told = first.headers.get("cache-status")!;
      if (ttl !== undefined) {
        const left = Number(/ttl=(\d+)/.exec(told)?.[1]);
        assert.ok(left <= ttl + 2 && left >= ttl - 2 - tookS, `${label}, ${tookS} s: ${told}`);
      }
      if (status >= 502) {
        assert.match(told, /detail=origin-(failed|timeout)/, label);
        assert.ok(!first.body.includes(fleet.origin.url), "a client learns nothing of the origin's address");
      }
      const again = await askRaw(asked.url, { target });
      assert.equal(again.status, status, `${label}, again: ${again.body}`);
      const count = new Set(fleet.requestsFor(target).slice(requests.length)).size;
      assert.equal(count === 0, isStored, `${label}: ${count} more requests`);
    };
    const all = fleet.ways.flatMap((way) =>
      faults.flatMap((fault) => (["site", "template"] as const).map((kind) => check(fault, kind, way)))
    );
    await Promise.all(all);
    // Surplus bytes are the answer to nothing: their connection is used no more.
    const { seen } = fleet.origin;
    const surplus = seen.flatMap((request, at) => request.path.includes("is-long") ? [{ ...request, at }] : []);
    assert.ok(surplus.length >= 4);
    for (const { connection, at } of surplus) {
      assert.ok(!seen.slice(at + 1).some((later) => later.connection === connection), `connection ${connection}`);
    }
    await assertWell(fleet);
  },
);

test(
  "what a bad client sends comes to the same on both runtimes, asked and owner",
  { timeoutMs: 60_000 },
  async (defer) => {
    const fleet = await startFleet(defer, ({ path }) => {
      return [`${OK}ETag: "v1"\r\nContent-Length: ${path.length}\r\n\r\n${path}`];
    });
    await Promise.all(fleet.ways.map(async ({ asked, owner }) => {
      const label = `asked on ${asked.kind}`;
      const ask = (what: string, lines: readonly string[], rest: { method?: string; body?: string } = {}) => {
        const target = fleet.keyOf("site", what, owner);
        return askRaw(asked.url, { target, lines, ...rest });
      };
      const requests = (what: string) => fleet.requestsFor(fleet.keyOf("site", what, owner));
      const whole = fleet.keyOf("site", "plain", owner).replace("/cache", "");

      const many = Array.from({ length: 200 }, (_, i) => `${i}-${i}`).join(",");
      for (const range of ["bytes=5-2", `bytes=${many}`, "bytes=", "lines=1-2"]) {
        const { status, body } = await ask("plain", [`Range: ${range}`]);
        assert.deepEqual([status, body], [200, whole], `${label}: ${range.slice(0, 20)}`);
      }
      assert.equal((await ask("plain", ["If-None-Match: *"])).status, 304, label);
      const most = 1 + await secondAsksOf([asked], "site");
      assert.ok(requests("plain").length <= most, `${label}: ${requests("plain").length} loads, not ${most}`);
      assert.equal(requests("plain")[0]!.by, owner.kind, label);
      assert.ok(!/^(range|if-none-match):/im.test(requests("plain")[0]!.head), "a load is for the whole");

      for (const lines of [["Authorization: Basic eA=="], ["Authorization: Basic eQ=="], []]) {
        assert.equal((await ask("secret", lines)).status, 200, label);
      }
      assert.equal(requests("secret").length, 3, `${label}: an answer to one login is for no other`);

      await ask("cookie", [
        "Cookie: a=1",
        "X-Forwarded-Host: evil.test",
        "X-Original-URL: /admin",
        "Connection: x-hop",
        "X-Hop: 1",
      ]);
      const [{ head } = { head: "" }] = requests("cookie");
      assert.match(head, /^cookie: a=1\r?$/im, label);
      for (const name of ["x-forwarded-host", "x-original-url", "x-hop"]) {
        assert.ok(!new RegExp(`^${name}:`, "im").test(head), `${label}: ${name} reached the origin`);
      }

      assert.equal((await ask("rare", [], { method: "REPORT" })).status, 200, label);
      // Bun's server closes the connection of a method that it does not know, before any code of a program sees it.
      const odd = ask("odd", [], { method: "FROB" });
      if (asked.kind === "bun") await assert.rejects(odd, /no HTTP: ""/);
      else assert.equal((await odd).status, 200);
      const methods = ["rare", "odd"].flatMap(requests).map(({ head, by }) => [head.split(" ")[0], by]);
      assert.deepEqual(
        methods,
        [["REPORT", asked.kind], ...(asked.kind === "bun" ? [] : [["FROB", asked.kind]])],
        label,
      );

      for (const lines of [["Content-Length: 5"], ["Transfer-Encoding: chunked"]]) {
        const body = lines[0]!.startsWith("C") ? "hello" : "5\r\nhello\r\n0\r\n\r\n";
        assert.equal((await ask("body", lines, { body })).status, 400, `${label}: ${lines}`);
      }
      assert.deepEqual(requests("body"), []);
    }));
    await assertWell(fleet);
  },
);
