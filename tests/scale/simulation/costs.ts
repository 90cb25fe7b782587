/** Measures one node's costs for the number of other nodes: its links, and the choice of a key's owner. */
import process from "node:process";
import { RosterPicker } from "../../../lib/core/placement/picker.ts";
import { rosterOf } from "../../../lib/core/roster.ts";
import type { PeerHub } from "../../../lib/peer/hub.ts";
import type { PeerRecord } from "../../../lib/core/roster.ts";
import { ManualClock } from "../../support/clock.ts";
import { heapBytes } from "../../support/memory.ts";
import { MemoryNetwork } from "../../peer/memory.ts";
import { record } from "../../peer/support.ts";

const ANNOUNCEMENTS = 20;
const PICKS = 50_000;
/** The best round counts, as another process may use the core in between. */
const PICK_ROUNDS = 8;
const PICKED_KEYS = 1_024;
const EPOCH = 1_700_000_000_000_000;

/** The costs of each other node for this one. */
export interface CostFigures {
  readonly nodes: number;
  /** One end of one link, without its socket. */
  readonly heapBytesPerLink: number;
  /**
   * CPU time of one node for telling all others its position, and for hearing theirs, in milliseconds, without sockets.
   */
  readonly announceMs: number;
  /** The choice of one key's owner, in nanoseconds. */
  readonly pickNs: number;
}

/** Measures on this process's runtime. @param nodes two at least */
export async function measureCosts(nodes: number): Promise<CostFigures> {
  return { nodes, ...await measureLinks(nodes), pickNs: measurePick(nodes) };
}

/** One real hub with real links to all others, each of which is linked to it alone. Only the sockets are memory. */
async function measureLinks(nodes: number) {
  const net = new MemoryNetwork();
  const names = Array.from({ length: nodes - 1 }, (_, i) => `n${i}`);
  const one = net.hub("a");
  const others = names.map((name) => net.hub(name));
  // The memory of a hub without links is not part of a link.
  const before = await heapBytes();
  one.setPeers(names.map((name) => listed(name)));
  for (const other of others) other.setPeers([listed("a")]);
  await net.tick();
  assertOpen(one, nodes - 1);
  for (const socket of net.dialed) socket.frames.length = socket.other.frames.length = 0;
  const heapBytesPerLink = (await heapBytes() - before) / (2 * (nodes - 1));
  const cpu = process.cpuUsage();
  for (let i = 1; i <= ANNOUNCEMENTS; i++) {
    const label = { epoch: EPOCH, sequence: i };
    one.announceApplied(label);
    for (const other of others) other.announceApplied(label);
    await net.tick();
  }
  const { user, system } = process.cpuUsage(cpu);
  // The others' work is as much: each frame has a sender and a receiver here.
  const announceMs = (user + system) / 1_000 / ANNOUNCEMENTS / 2;
  for (const hub of [one, ...others]) hub.close();
  return { heapBytesPerLink, announceMs };
}

function measurePick(nodes: number): number {
  const all = Array.from({ length: nodes }, (_, i) => listed(`n${i}`));
  const picker = new RosterPicker("dict", "n0", () => undefined, new ManualClock());
  picker.swap(rosterOf("dict", 1, all));
  const keys = Array.from({ length: PICKED_KEYS }, (_, i) => `key-${i}`);
  const round = () => {
    const sinceMs = performance.now();
    for (let i = 0; i < PICKS; i++) picker.pick(keys[i % PICKED_KEYS]!);
    return (performance.now() - sinceMs) * 1e6 / PICKS;
  };
  return Math.min(...Array.from({ length: PICK_ROUNDS }, round));
}

function listed(name: string): PeerRecord {
  return record(name, `http://${name}`);
}

function assertOpen(hub: PeerHub, links: number): void {
  const open = hub.stats().filter(({ state }) => state === "open").length;
  if (open !== links) throw new Error(`${open} of ${links} links are open`);
}
