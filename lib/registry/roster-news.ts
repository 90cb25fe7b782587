/** Describes a new list of peers for the log. */
import type { PeerRecord, Roster } from "../core/roster.ts";

/**
 * Of a longer list only the changes are logged. Chosen: a line of this length has two thousand characters. A rolling
 * restart of N nodes makes 3N lists, so whole lists would put N² URLs into each node's log.
 */
const MOST_WHOLE = 64;
/** The most peers of one kind to name; more are only counted. Chosen. */
const MOST_NAMED = 8;

export interface RosterNews {
  readonly text: string;
  /** For JSON logs: either all `peers`, or their number and the added, removed and changed ones. */
  readonly facts: Readonly<Record<string, number | readonly string[]>>;
}

/** @param next a list with the same peers has changed records, for example of a peer that is draining now */
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
