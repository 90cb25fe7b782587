import assert from "node:assert/strict";
import { OverloadedError, PeerError } from "../../lib/core/errors.ts";
import { asked, type Peer } from "../../lib/core/ports.ts";
import type { Explanation } from "../../lib/http/admin/explain.ts";
import type { NodeReport } from "../../lib/http/figures.ts";
import { serviceOf } from "../../lib/node/groups/served-group.ts";
import { explanationOf, FIGURES_GROUP, figuresOf, withFigures } from "../../lib/node/peers/peer-figures.ts";
import { valueOf } from "../core/support.ts";
import { ManualClock } from "../support/clock.ts";
import { test } from "../support/test.ts";

const report: NodeReport = { name: "a", incarnation: "1", version: "0", runtime: "", groups: {} };
const options = { signal: new AbortController().signal, timeoutMs: 1_000 };

/** A node with one group, which holds one value. */
function serviceOfNode() {
  const group = { peek: (key: string) => key === "k" ? valueOf("x") : undefined };
  const served = new Map([["g", { isServed: true, group }]]) as unknown as Parameters<typeof serviceOf>[0];
  const service = serviceOf(served, {} as Parameters<typeof serviceOf>[1], () => true, () => false);
  const explain = (name: string, key: string) => (
    name === "g" ? { group: name, key, held: [] } as unknown as Explanation : undefined
  );
  return withFigures(service, { report: () => report, explain }, new ManualClock());
}

test("figures are told to who looks at them; no other question about them is answered, nor fails", async () => {
  const service = serviceOfNode();
  const peek = async (group: string, key: string) => await service.peek!(group, key, options);
  assert.deepEqual(await figuresOf({ name: "a", peek } as unknown as Peer), report);
  assert.equal((await peek("g", "k"))?.contentType, "text/plain");
  assert.equal(await peek("gone", "k"), undefined);
  assert.equal(service.lookup!(FIGURES_GROUP, "now", undefined, { epoch: 0, sequence: 0 }, undefined), undefined);
  await assert.rejects(asked(options, (ask) => service.get(FIGURES_GROUP, "now", ask)), PeerError);
  assert.equal(service.push!(FIGURES_GROUP, [{ key: "k", value: valueOf("x") }], "b", true), 0);
});

test("a peer that tells nothing, or something else, is an error of its own", async () => {
  const told = (peek: Peer["peek"]) => figuresOf({ name: "a", peek } as unknown as Peer);
  await assert.rejects(told(() => Promise.resolve(undefined)), /a has not told its figures within 2000 ms/);
  await assert.rejects(told(() => Promise.resolve(valueOf("{"))), /a has told something else/);
  await assert.rejects(told(() => Promise.reject(new PeerError("no such group"))), PeerError);
  await assert.rejects(told(() => Promise.reject(new OverloadedError("full"))), OverloadedError);
});

test("what a node holds of a key is told, also of a key with a line feed; a release before tells only figures", async () => {
  const service = serviceOfNode();
  const peer = { name: "b", peek: async (group: string, key: string) => await service.peek!(group, key, options) };
  const told = (group: string, key: string) => explanationOf(peer as unknown as Peer, group, key);
  assert.deepEqual(await told("g", "a\nb c"), { group: "g", key: "a\nb c", held: [] });
  await assert.rejects(told("gone", "k"), /b has not told what it holds/);
  await assert.rejects(told("g", "k".repeat(1_024)), /too long to ask about/);
  const former = { name: "c", peek: async (group: string) => await service.peek!(group, "now", options) };
  await assert.rejects(explanationOf(former as unknown as Peer, "g", "k"), /c is of a release that explains no keys/);
});
