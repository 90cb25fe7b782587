/** Nodes ask each other for figures over the links between them, so that an operator needs to reach only one node. */
import type { Clock } from "../../core/base/clock.ts";
import { PeerError } from "../../core/errors.ts";
import { BLIND } from "../../core/invalidation/label.ts";
import type { Peer } from "../../core/ports.ts";
import { PLAIN, type Value } from "../../core/value.ts";
import type { NodeReport } from "../../http/ports.ts";
import type { PeerService } from "../../peer/service.ts";

/**
 * The figures travel as a value of a group that every node has, so this needs no new message. A node of the release
 * before has no such group, and says so at once. An operator's group cannot have this name.
 */
export const FIGURES_GROUP = "=figures";
const KEY = "now";
/** Chosen: short, since an operator waits for the slowest of all nodes. */
const TIMEOUT_MS = 2_000;

const decoder = new TextDecoder();

/** Adds the answers about this node's figures to `service`, which has no group of that name. */
export function withFigures(service: PeerService, report: () => NodeReport, clock: Clock): PeerService {
  return {
    ...service,
    peek: (group, key, options) =>
      group === FIGURES_GROUP ? valueOf(report(), clock.nowMs()) : service.peek?.(group, key, options),
  };
}

/**
 * Asks a peer for its figures. @throws PeerError it cannot be reached, is of the release before, or has not answered
 * within 2 s
 */
export async function figuresOf(peer: Peer): Promise<NodeReport> {
  const value = await peer.peek(FIGURES_GROUP, KEY, { signal: new AbortController().signal, timeoutMs: TIMEOUT_MS });
  if (value === undefined) throw new PeerError(`${peer.name} has not told its figures within ${TIMEOUT_MS} ms`);
  try {
    return JSON.parse(decoder.decode(value.body)) as NodeReport;
  } catch {
    throw new PeerError(`${peer.name} has told something else than its figures`);
  }
}

function valueOf(report: NodeReport, nowMs: number): Value {
  return {
    body: new TextEncoder().encode(JSON.stringify(report)),
    contentType: "application/json",
    loadMs: 0,
    about: PLAIN,
    bornAtMs: nowMs,
    freshUntilMs: nowMs,
    staleWhileRevalidateMs: 0,
    staleIfErrorMs: 0,
    label: BLIND,
  };
}
