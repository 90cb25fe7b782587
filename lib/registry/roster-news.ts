/** A new list of peers in the words of the log. */
import type { PeerRecord, Roster } from "../core/roster.ts";

/**
 * A longer list is told by what has changed. Chosen: a line of it has two thousand characters. A rolling restart of N nodes
 * is 3N lists, so whole ones would take N² URLs in the log of each node.
 */
const MOST_WHOLE = 64;
/** More of a kind are told by their number. Chosen. */
const MOST_NAMED = 8;

export interface RosterNews {
  readonly text: string;
  /** For a log of JSON: either all `peers`, or how many there are and whose records came, went and changed. */
  readonly facts: Readonly<Record<string, number | readonly string[]>>;
}

/** @param next a list with the same peers has other records of them, such as of one that is draining now */
export function rosterNews(former: Roster, next: Roster): RosterNews {
  const { peers } = next;
  if (peers.length <= MOST_WHOLE) return { text: urlsOf(peers).join(" "), facts: { peers: urlsOf(peers) } };
  const before = new Map(former.peers.map((peer) => [peer.name, peer]));
  const after = new Set(peers.map(({ name }) => name));
  const isNew = ({ name, incarnation }: PeerRecord) => before.get(name)?.incarnation !== incarnation;
  const added = peers.filter(isNew);
  const removed = former.peers.filter(({ name }) => !after.has(name));
  const changed = peers.filter((peer) => !isNew(peer) && before.get(peer.name) !== peer);
  const draining = changed.filter(({ state }) => state === "draining");
  const others = changed.filter(({ state }) => state !== "draining");
  const kinds = [["added", added], ["removed", removed], ["draining", draining], ["changed", others]] as const;
  const told = kinds.filter(([, all]) => all.length > 0);
  return {
    text: [`${peers.length} peers`, ...told.map(([kind, all]) => `${kind} ${named(urlsOf(all))}`)].join(", "),
    facts: { size: peers.length, ...Object.fromEntries(told.map(([kind, all]) => [kind, urlsOf(all)])) },
  };
}

function named(urls: readonly string[]): string {
  return urls.length <= MOST_NAMED ? urls.join(" ") : String(urls.length);
}

function urlsOf(peers: readonly PeerRecord[]): string[] {
  return peers.map(({ url }) => url);
}
