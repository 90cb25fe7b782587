/** `GET /_admin/groups/<group>/explain?key=` says why a get of the key at this node is a hit or a miss. */
import type { Held, Reason } from "../../core/cache/describe.ts";
import { OverloadedError, PeerError } from "../../core/errors.ts";
import type { Label } from "../../core/invalidation/label.ts";
import type { NodeFace, ServedGroup } from "../ports.ts";

/** A node of the key, by rank. */
export interface RankedNode {
  /** 1: the owner. */
  readonly rank: number;
  readonly name: string;
  /** `null`: it has left this node's list. */
  readonly url: string | null;
  /** `self`, the state of this node's link to it, or `none`. */
  readonly link: string;
}

/** A value that this node holds under the key. Times are durations in milliseconds; `null`: no end. */
export interface HeldReport {
  readonly cache: "main" | "hot";
  readonly state: Held["state"];
  readonly ageMs: number;
  /** Below 0: the value has been stale for this long. */
  readonly freshMs: number | null;
  /** After `freshMs`: how long the value may be served while it is refreshed, or because the origin fails. */
  readonly staleWhileRevalidateMs: number | null;
  readonly staleIfErrorMs: number | null;
  readonly label: Label;
  /** The sequence of the last invalidation that touches it. */
  readonly lastInvalidation: number;
  readonly status: number;
  readonly contentType: string;
  /** The encoded size of its key, body and header fields. */
  readonly bytes: number;
  readonly bodyBytes: number;
  readonly tags: readonly string[] | "any";
  /** The names of the request fields that choose its variant. Their values are left out, as they may be secret. */
  readonly varies?: readonly string[];
}

/** The answer. */
export interface Explanation {
  readonly group: string;
  readonly key: string;
  /** The node that answers. */
  readonly node: string;
  /** Whether it serves the group; if not, it asks the nodes that do. */
  readonly serves: boolean;
  readonly isOwner: boolean;
  readonly applied: Label;
  readonly owners: readonly RankedNode[];
  readonly held: readonly HeldReport[];
  readonly get: { readonly result: "hit" | "miss"; readonly reason: Reason; readonly detail: string };
  /** Whether a load or a fetch of the key is in flight. */
  readonly isLoading: boolean;
  /** Whether each request for the key goes to the origin by itself, because the answers may not be shared. */
  readonly isPassed: boolean;
}

/**
 * Looks, and changes nothing. Where header fields choose a variant, it describes the variant for a request without
 * fields.
 */
export function explain(
  node: NodeFace,
  name: string,
  { group, isServed = true }: Pick<ServedGroup, "group" | "isServed">,
  key: string,
  nowMs: number,
): Explanation {
  const { owners, held, isHit, reason, applied, isLoading, isPassed } = group.describe(key);
  const ranked = rankedNodes(node, name, owners);
  const [owner] = ranked;
  const isOwner = owner?.link === "self";
  return {
    group: name,
    key,
    node: node.name,
    serves: isServed,
    isOwner,
    applied,
    owners: ranked,
    held: held.map((one) => reportOf(one, nowMs)),
    get: {
      result: isHit ? "hit" : "miss",
      reason,
      detail: `${IN_WORDS[reason]}${isHit ? "" : `: ${nextStep(owner, isPassed)}`}`,
    },
    isLoading,
    isPassed,
  };
}

/** A node's explanation of the key, or the reason why there is none. */
export interface ToldNode extends Omit<RankedNode, "url" | "rank"> {
  /** `null`: the asked node, if it is not among the first by rank. */
  readonly rank: number | null;
  readonly explanation?: Explanation;
  readonly fault?: string;
}

/** Asks each node of the key over the links, to show which nodes hold it. */
export async function explainAtAll(
  node: NodeFace,
  name: string,
  served: Pick<ServedGroup, "group" | "isServed">,
  key: string,
  nowMs: number,
): Promise<Explanation & { readonly nodes: readonly ToldNode[] }> {
  const own = explain(node, name, served, key, nowMs);
  const self = { name: own.node, link: "self", explanation: own };
  const nodes = await Promise.all(own.owners.map(async ({ rank, name: peer, link }): Promise<ToldNode> => {
    if (link === "self") return { ...self, rank };
    try {
      const explanation = await node.explainAtPeer?.(peer, name, key) as Explanation | undefined;
      return {
        name: peer,
        rank,
        link,
        ...(explanation === undefined ? { fault: "it is not known" } : { explanation }),
      };
    } catch (error) {
      if (!(error instanceof PeerError || error instanceof OverloadedError)) throw error;
      return { name: peer, rank, link, fault: error.message };
    }
  }));
  return {
    ...own,
    nodes: own.owners.some(({ link }) => link === "self") ? nodes : [...nodes, { ...self, rank: null }],
  };
}

const IN_WORDS: Readonly<Record<Reason, string>> = {
  "fresh": "this node holds a fresh value",
  "stale": "this node holds a stale value that may be served, and a get refreshes it",
  "not-held": "this node holds nothing under the key",
  "other-variant": "this node holds the key for requests with other header fields only",
  "expired": "the value that this node holds has expired",
  "invalidated": "the value that this node holds has been invalidated",
  "blind": "this node has been out of touch with the log of invalidations for too long to serve what it holds",
};

function nextStep(owner: RankedNode | undefined, isPassed: boolean): string {
  if (isPassed) return "each request asks the origin, as the last answer may not be shared";
  if (owner === undefined) return "no node that serves the group is known";
  return owner.link === "self" ? "a get loads it" : `a get asks its owner ${owner.name}`;
}

function rankedNodes(node: NodeFace, group: string, names: readonly (string | undefined)[]): RankedNode[] {
  const urls = new Map(node.roster(group)?.peers.map(({ name, url }) => [name, url]));
  const links = new Map(node.stats().links?.map(({ name, state }) => [name, state]));
  return names.map((peer, index) => {
    const name = peer ?? node.name;
    const link = peer === undefined ? "self" : links.get(name) ?? "none";
    return { rank: index + 1, name, url: urls.get(name) ?? null, link };
  });
}

function reportOf({ from, state, value, freshUntilMs, standing, bytes }: Held, nowMs: number): HeldReport {
  const { bornAtMs, staleWhileRevalidateMs, staleIfErrorMs, label, contentType, body, about } = value;
  return {
    cache: from,
    state,
    ageMs: Math.round(nowMs - bornAtMs),
    freshMs: finite(freshUntilMs - nowMs),
    staleWhileRevalidateMs: finite(staleWhileRevalidateMs),
    staleIfErrorMs: finite(staleIfErrorMs),
    label,
    lastInvalidation: standing.last,
    status: about.status,
    contentType,
    bytes,
    bodyBytes: body.byteLength,
    tags: about.tags,
    ...(about.selection !== undefined && { varies: about.selection.names }),
  };
}

/** JSON has no Infinity. */
function finite(ms: number): number | null {
  return Number.isFinite(ms) ? Math.round(ms) : null;
}
