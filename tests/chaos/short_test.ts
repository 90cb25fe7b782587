/**
 * Eight scenarios of the chaos program in short, with the same targets. Runs once, alone: its subject is in processes of
 * their own, and the targets are times.
 */
import assert from "node:assert/strict";
import { testWithReleaseBefore } from "../support/release-before.ts";
import { test } from "../support/test.ts";
import { deaths } from "./deaths.ts";
import { deploys } from "./deploys.ts";
import { invalidationScenarios } from "./invalidations.ts";
import { originFaults } from "./origin-faults.ts";
import { registryFaults } from "./registry-faults.ts";
import { upgrades } from "./upgrades.ts";
import { fullSettings, type Settings } from "./result.ts";
import { runScenario, Undos } from "./runner.ts";

const settings: Settings = { ...fullSettings, keys: 2_000, rate: 200, seconds: 5, outageSeconds: 3 };

const inShort: readonly [name: string, sentence: string][] = [
  ["rolling-restart", "a rolling restart of all five nodes costs no client a request and the origin next to nothing"],
  [
    "upgrade",
    "the nodes of the release before are replaced one by one at no cost to clients, and next to none to the origin",
  ],
  ["upgrade-back", "and so are the nodes of this release by those of the one before"],
  ["sigkill", "a killed node fails no request at the others and costs the origin its own share at most"],
  ["sigkill-replicas-2", "a killed node costs the origin next to nothing where values are kept twice"],
  ["origin-fails", "an origin that fails costs no client a request, and is tried for each key at most once a second"],
  [
    "invalidations-one-nats",
    "what a call has invalidated stays so while nodes restart, one is killed, and NATS is killed and comes back",
  ],
  [
    "nats-outage",
    "NATS may be killed at no cost, and come back without its store at the cost of one more load per value",
  ],
];

const scenarios = [...deploys, ...upgrades, ...deaths, ...originFaults, ...registryFaults, ...invalidationScenarios];

for (const [name, sentence] of inShort) {
  const declare = upgrades.some((one) => one.name === name) ? testWithReleaseBefore : test;
  declare(sentence, { timeoutMs: 60_000 }, async (defer) => {
    const scenario = scenarios.find((one) => one.name === name)!;
    const undos = new Undos();
    defer(() => undos.undo());
    const shown = { say: () => {}, watch: () => {} };
    const { checks, details } = await runScenario(scenario, "muster", { settings, shown, undos });
    const missed = checks.filter(({ isMet }) => !isMet);
    assert.deepEqual(missed, [], `missed in ${JSON.stringify(details, undefined, 1)}`);
  });
}
