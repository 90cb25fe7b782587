/**
 * A process with some memberships of the registry, and no other part of a node. It prints its rosters at every change, one
 * JSON object a line, and reads commands from standard input, one word a line.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { ulid } from "ulid";
import type { PeerRecord } from "../../lib/core/roster.ts";
import { Membership } from "../../lib/registry/membership.ts";
import { NatsStore } from "../../lib/nats/peer-store.ts";
import { realClock } from "../registry/support.ts";
import { groupName } from "./fleet.ts";

const [natsUrl, first, count] = process.argv.slice(2) as [string, string, string];
const lookEveryMs = 25;
const leaveTimeoutMs = 5_000;
const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

function recordOf(index: number): PeerRecord {
  return {
    name: `member-${index}`,
    url: `http://127.0.0.1:${20_000 + index}`,
    incarnation: ulid(),
    // Nobody connects to it.
    key: "A".repeat(43),
    state: "serving",
    weight: 1,
    zone: "",
    joined: new Date().toISOString(),
    version: "0.1.0",
    runtime: "chaos",
  };
}

const members = Array.from({ length: Number(count) }, (_, i) =>
  new Membership({
    store: new NatsStore({ urls: [natsUrl], clock: realClock, log }),
    groups: [groupName],
    self: recordOf(Number(first) + i),
    clock: realClock,
    log,
    isAlive: () => Promise.resolve(false),
    onRoster: () => {},
  }));

let said = "";
function look(): void {
  const rosters = members.map((member) => member.roster(groupName));
  const sizes = rosters.map(({ peers }) => peers.length);
  const serving = rosters.map(({ peers }) => peers.filter(({ state }) => state === "serving").length);
  const revisions = rosters.map(({ revision }) => revision);
  const range = (numbers: number[]) => [Math.min(...numbers), Math.max(...numbers)];
  const text = JSON.stringify({ sizes: range(sizes), serving: range(serving), revisions: range(revisions) });
  if (text !== said) process.stdout.write(`${said = text}\n`);
}

setInterval(look, lookEveryMs);
process.stdout.write('{"isUp":true}\n');
createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "start") { for (const member of members) member.start(); }
  if (line === "drain") void members[0]!.setState("draining", leaveTimeoutMs);
  if (line === "serve") void members[0]!.setState("serving", leaveTimeoutMs);
}).on("close", () => process.exit(0));
