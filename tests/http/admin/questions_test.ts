/** `GET /_admin/groups/<group>/explain` and `/_admin/simulate`, as an operator asks. */
import assert from "node:assert/strict";
import { PeerError } from "../../../lib/core/errors.ts";
import type { Explanation, ToldNode } from "../../../lib/http/admin/explain.ts";
import type { Simulation } from "../../../lib/http/admin/simulate.ts";
import { namesText } from "../../../lib/http/admin/refusal.ts";
import { AdminTokens } from "../../../lib/http/admin/tokens.ts";
import { Owners } from "../../../lib/core/placement/simulate.ts";
import { systemClock } from "../../../lib/runtime/process.ts";
import { record } from "../../core/cluster.ts";
import { MemoryLog } from "../../support/log.ts";
import { test } from "../../support/test.ts";
import { appWith, LINK, valueOf } from "../support.ts";

const TOKEN = "a-token-of-sixteen";

function made() {
  const adminTokens = new AdminTokens({ readFile: () => TOKEN, clock: systemClock, log: new MemoryLog() });
  const app = appWith({ adminTokens });
  const ask = (path: string, { token = TOKEN, method = "GET", ...headers }: Record<string, string> = {}) =>
    app.app.request(`http://h.test${path}`, {
      method,
      headers: { ...headers, ...(token !== "" && { authorization: `Bearer ${token}` }) },
    });
  return { ...app, ask };
}

test("a key is explained: owners with their links, what is held, and why a get is a hit or a miss", async () => {
  const { ask, dict, state } = made();
  state.links = [{ name: "n2", state: "open" }, { name: "n3", state: "down" }].map((link) => (
    { asked: 0, answered: 0, asksInFlight: 0, servedInFlight: 0, framesOut: 0, framesIn: 0, bytesOut: 0, ...link }
  ));
  dict.figures = { roster: { revision: 3, peers: ["n1", "n2", "n3"].map(record) } };
  const nowMs = systemClock.nowMs();
  const value = {
    ...valueOf("body"),
    bornAtMs: nowMs - 60_000,
    freshUntilMs: nowMs + 30_000,
    label: { epoch: 7, sequence: 4 },
  };
  const standing = { isBad: false, isPending: false, staleSinceMs: Infinity, last: 3 };
  dict.onDescribe = (key) => {
    assert.equal(key, "a+b/c");
    return {
      owners: ["n2", undefined, "n3", "n4"],
      isHit: true,
      reason: "fresh",
      held: [{ from: "hot", value, state: "fresh", freshUntilMs: value.freshUntilMs, standing, bytes: 9 }],
      applied: { epoch: 7, sequence: 5 },
    };
  };
  const answer = await ask("/_admin/groups/dict/explain?key=a+b%2Fc");
  assert.equal(answer.headers.get("cache-control"), "no-store");
  const told = await answer.json() as Explanation;
  assert.deepEqual(told.owners, [
    { rank: 1, name: "n2", url: "http://n2", link: "open" },
    { rank: 2, name: "n1", url: "http://n1", link: "self" },
    { rank: 3, name: "n3", url: "http://n3", link: "down" },
    { rank: 4, name: "n4", url: null, link: "none" },
  ]);
  assert.deepEqual([told.isOwner, told.serves, told.node, told.key], [false, true, "n1", "a+b/c"]);
  assert.deepEqual([told.get.result, told.get.reason, told.applied.sequence], ["hit", "fresh", 5]);
  const [{ ageMs, freshMs, ...held }] = told.held as [Explanation["held"][number]];
  assert.ok(Math.abs(ageMs - 60_000) < 5_000 && Math.abs(freshMs! - 30_000) < 5_000, `${ageMs} ${freshMs}`);
  assert.deepEqual([held.cache, held.label.sequence, held.lastInvalidation, held.bodyBytes], ["hot", 4, 3, 4]);
  dict.onDescribe = () => ({});
  const missed = await (await ask("/_admin/groups/dict/explain?key=k")).json() as Explanation;
  assert.match(missed.get.detail, /holds nothing under the key: a get loads it$/);
});

test("with &nodes each node of the key tells what it holds, and one that does not is told with the reason", async () => {
  const { ask, dict, state } = made();
  state.links = ["n2", "n3", "n4"].map((name) => ({ ...LINK, name, state: "open" }));
  dict.figures = { roster: { revision: 3, peers: ["n1", "n2", "n3", "n4"].map(record) } };
  state.explainAtPeer = (name, group, key) => {
    assert.deepEqual([group, key], ["dict", "a&b"]);
    if (name === "n3") return Promise.reject(new PeerError("n3 has not told"));
    return Promise.resolve(name === "n4" ? undefined : { node: name, held: [] } as unknown as Explanation);
  };
  const told = async (owners: (string | undefined)[]) => {
    dict.onDescribe = () => ({ owners });
    const answer = await (await ask("/_admin/groups/dict/explain?key=a%26b&nodes")).json();
    return answer.nodes.map(({ name, rank, explanation, fault }: ToldNode) => [name, rank, explanation?.node, fault]);
  };
  const first = [["n2", 1, "n2", undefined], ["n3", 2, undefined, "n3 has not told"]];
  assert.deepEqual(await told(["n2", "n3", undefined]), [...first, ["n1", 3, "n1", undefined]]);
  // This node is none of the first by rank, and may hold a copy all the same.
  assert.deepEqual(await told(["n2", "n3", "n4"]), [
    ...first,
    ["n4", 3, undefined, "it is not known"],
    ["n1", null, "n1", undefined],
  ]);
});

test("what a request said to choose its variant is not told, as it may be a login", async () => {
  const { ask, dict } = made();
  const value = valueOf("body");
  const selection = { names: ["authorization"], says: "secret-login" };
  const standing = { isBad: false, isPending: false, staleSinceMs: Infinity, last: 0 };
  const held = { from: "main", value: { ...value, about: { ...value.about, selection } }, state: "fresh" } as const;
  dict.onDescribe = () => ({ held: [{ ...held, freshUntilMs: Infinity, standing, bytes: 1 }] });
  const text = await (await ask("/_admin/groups/dict/explain?key=k")).text();
  assert.ok(text.includes('"varies":["authorization"]') && !text.includes("secret-login"), text);
  assert.ok(text.includes('"freshMs":null'), "no end");
});

test("only operators ask, also where everybody may see the statistics; who is none learns no path", async () => {
  const { ask, app } = made();
  for (const path of ["/_admin/groups/dict/explain?key=k", "/_admin/simulate?add=1"]) {
    assert.equal((await ask(path)).status, 200, path);
    assert.equal((await ask(path, { token: "" })).status, 401, path);
    assert.equal((await ask(path, { token: "another-of-sixteen" })).status, 401, path);
    assert.equal((await ask(path, { origin: "http://evil.test" })).status, 403, path);
    assert.equal((await ask(path, { method: "POST" })).status, 405, path);
    const head = await ask(path, { method: "HEAD" });
    assert.deepEqual([head.status, await head.text()], [200, ""], path);
  }
  assert.equal((await ask("/_admin/nothing", { token: "" })).status, 401);
  assert.equal((await ask("/_admin/nothing")).status, 404);
  assert.equal((await app.request("http://h.test/stats")).status, 200);
});

test("a question that cannot be used is refused with its rule", async () => {
  const { ask } = made();
  const explain = "/_admin/groups/dict/explain";
  for (
    const [path, status, detail] of [
      [explain, 400, /must be key=/],
      [`${explain}?key=a&key=b`, 400, /must be key=/],
      [`${explain}?key=`, 400, /empty key/],
      [`${explain}?key=%zz`, 400, /well-formed/],
      [`${explain}?key=${"a".repeat(4_000)}`, 400, /1024 bytes/],
      [`${explain}?key=..`, 400, /segment/],
      ["/_admin/groups/nope/explain?key=k", 404, /no group called nope: it serves dict, g$/],
      ["/_admin/simulate", 400, /add= with a number/],
      ["/_admin/simulate?add=0", 400, /add=/],
      ["/_admin/simulate?add=1001", 400, /add=/],
      ["/_admin/simulate?add=1&remove=n1", 400, /add=/],
      ["/_admin/simulate?remove=n9", 400, /there is no node called n9: this node knows n1$/],
    ] as const
  ) {
    const answer = await ask(path);
    assert.equal(answer.status, status, path);
    assert.match(((await answer.json()) as { detail: string }).detail, detail, path);
  }
});

test("a simulation counts what this node owns of what it holds", async () => {
  const { ask, dict, g } = made();
  const peers = ["n1", "n2", "n3"].map(record);
  dict.figures = { roster: { revision: 3, peers } };
  g.figures = { roster: { revision: 3, peers: [record("n1"), { ...record("n2"), state: "draining" }] } };
  const keys = Array.from({ length: 12_000 }, (_, i) => `k-${i}`);
  for (const key of keys) dict.main.set(key, valueOf("body"));
  g.main.set("k", valueOf("body"));
  const owners = new Owners("dict", peers);
  const owned = keys.filter((key) => owners.of(key) === "n1");
  const asked = async (query: string) => (await (await ask(`/_admin/simulate?${query}`)).json()) as Simulation;
  const leaving = await asked("remove=n1");
  assert.equal(leaving.node, "n1");
  const { keys: held, movedKeys, bytes, movedBytes } = leaving.groups["dict"]!;
  assert.deepEqual([held, movedKeys], [owned.length, owned.length]);
  assert.deepEqual([bytes, movedBytes], [bytes, bytes]);
  assert.ok(bytes > owned.length * 4);
  assert.equal((await asked("remove=n2")).groups["dict"]!.movedKeys, 0, "n2 counts what it owns itself");
  const more = (await asked("add=3")).groups["dict"]!;
  assert.ok(Math.abs(more.movedKeys / more.keys - 0.5) < 0.05, JSON.stringify(more));
  const alone = (await asked("add=1")).groups["g"]!;
  assert.equal(alone.keys, 1, "a node that is leaving owns nothing");
});

test("a node to remove must be in a list of peers or have a link; the answer to an unknown name lists these names", async () => {
  const { ask, dict, state } = made();
  dict.figures = { roster: { revision: 3, peers: [record("n1"), { ...record("n2"), state: "draining" }] } };
  dict.main.set("k", valueOf("body"));
  state.links = [{ ...LINK, name: "asks-only", state: "open" }];
  for (const name of ["n2", "asks-only"]) {
    const answer = await ask(`/_admin/simulate?remove=${name}`);
    assert.equal(answer.status, 200, name);
    assert.deepEqual((await answer.json() as Simulation).groups["dict"]!.movedKeys, 0, name);
  }
  const unknown = await ask("/_admin/simulate?remove=N2");
  const { detail } = await unknown.json() as { detail: string };
  assert.deepEqual([unknown.status, detail], [
    400,
    "there is no node called N2: this node knows asks-only, n1, n2",
  ]);
});

test("a refusal shows the first twenty names, and the number of the others", () => {
  const names = Array.from({ length: 25 }, (_, i) => `n${String(i).padStart(2, "0")}`).reverse();
  assert.match(namesText(names), /^n00, n01, .*, n19 and 5 more$/);
  assert.deepEqual([namesText(["b", "a", "b"]), namesText([])], ["a, b", "none"]);
});
