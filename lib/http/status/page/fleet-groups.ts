/** The groups of the fleet: this node's figures and those that other nodes have sent, added up. */
import type { Latencies } from "../../../core/group/stats.ts";
import type { GroupAbout, GroupFigures, NodeReport, Rates } from "../../figures.ts";
import { allLatencies } from "../machine.ts";
import type { PeerReport } from "../peer-reports.ts";
import { byCounter, countsOf } from "../rates.ts";

/** One group at all nodes that have sent figures of it. */
export interface FleetGroup {
  /** How many nodes these are. */
  readonly nodes: number;
  /** From this node; without it from another one. */
  readonly about: Pick<GroupAbout, "origin" | "lifetime"> | undefined;
  /** False: this node asks the peers that serve the group. */
  readonly isServed: boolean;
  readonly usedBytes: number;
  /** `undefined`: no node has sent a budget. */
  readonly budgetBytes: number | undefined;
  /** Since each node started. */
  readonly counts: Rates & { readonly errors: number };
  /** `undefined`: no node has two samples yet. */
  readonly perSecond: Rates | undefined;
  /** The times of the last minute. */
  readonly latency: Latencies | undefined;
}

/** The figures of one node that are added up. A peer's report has them as an own one has. */
type Part = PeerReport["groups"][string] | GroupFigures;

/** By name: this node's groups first, then those that only other nodes have sent. */
export function fleetGroups(
  own: NodeReport["groups"],
  peers: ReadonlyMap<string, Pick<PeerReport, "groups">>,
): ReadonlyMap<string, FleetGroup> {
  const parts = new Map<string, Part[]>(Object.entries(own).map(([name, figures]) => [name, [figures]]));
  for (const { groups } of peers.values()) {
    for (const [name, figures] of Object.entries(groups)) {
      const others = parts.get(name);
      if (others === undefined) parts.set(name, [figures]);
      else others.push(figures);
    }
  }
  return new Map([...parts].map(([name, all]) => [name, fleetGroup(all, own[name]?.serves !== false)]));
}

function fleetGroup(parts: readonly Part[], isServed: boolean): FleetGroup {
  const sum = (figure: (part: Part) => number | undefined) =>
    parts.reduce((total, part) => total + (figure(part) ?? 0), 0);
  const abouts = parts.flatMap(({ about }) => about ?? []);
  const lately = parts.flatMap((part) => part.lately ?? []);
  const recent = lately.flatMap(({ latency }) => latency ?? []);
  return {
    nodes: parts.length,
    about: abouts[0],
    isServed,
    usedBytes: sum(({ mainCache, hotCache }) => (mainCache?.memoryBytes ?? 0) + (hotCache?.memoryBytes ?? 0)),
    budgetBytes: abouts.length === 0 ? undefined : abouts.reduce((total, { budgetBytes }) => total + budgetBytes, 0),
    counts: {
      ...added(parts.map(countsOf)),
      errors: sum(({ localLoadErrs = 0, peerErrors = 0 }) => localLoadErrs + peerErrors),
    },
    perSecond: lately.length === 0 ? undefined : added(lately.map(({ perSecond }) => perSecond)),
    latency: recent.length === 0 ? undefined : allLatencies(recent),
  };
}

function added(all: readonly Rates[]): Rates {
  return byCounter((counter) => all.reduce((total, one) => total + one[counter], 0));
}
