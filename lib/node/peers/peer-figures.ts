/** Nodes ask each other for figures and about keys, over their links. So an operator needs to reach only one node. */
import type { Clock } from "../../core/base/clock.ts";
import { MAX_KEY_BYTES } from "../../core/base/limits.ts";
import { PeerError } from "../../core/errors.ts";
import { BLIND } from "../../core/invalidation/label.ts";
import type { Peer } from "../../core/ports.ts";
import { PLAIN, type Value } from "../../core/value.ts";
import type { Explanation } from "../../http/admin/explain.ts";
import type { NodeReport } from "../../http/figures.ts";
import type { PeerService } from "../../peer/service.ts";

/**
 * The figures travel as a value of a group that every node has, so this needs no new message. A node of the release
 * before has no such group, and says so at once. An operator's group cannot have this name.
 */
export const FIGURES_GROUP = "=figures";
const KEY = "now";
/** The start of a question about a key. The group and the key follow, with a line feed between: no group's name has one. */
const EXPLAIN = "explain ";
/** Chosen: an operator waits for the slowest of all nodes. */
const TIMEOUT_MS = 2_000;

const decoder = new TextDecoder();

/** The answers of a node to its peers. */
export interface Tellers {
  readonly report: () => NodeReport;
  /** `undefined`: the node has no such group. @throws BadKeyError */
  readonly explain: (group: string, key: string) => Explanation | undefined;
}

/** Adds the answers to peers' questions. `service` knows no group of that name. */
export function withFigures(service: PeerService, { report, explain }: Tellers, clock: Clock): PeerService {
  const tell = (question: string) => {
    if (!question.startsWith(EXPLAIN)) return report();
    const end = question.indexOf("\n");
    return explain(question.slice(EXPLAIN.length, end), question.slice(end + 1));
  };
  return {
    ...service,
    peek: (group, key, options) => {
      if (group !== FIGURES_GROUP) return service.peek?.(group, key, options);
      const told = tell(key);
      return told === undefined ? undefined : valueOf(told, clock.nowMs());
    },
  };
}

/**
 * Asks a peer for its figures. @throws PeerError it cannot be reached, is of the release before, or has not answered
 * within 2 s
 */
export async function figuresOf(peer: Peer): Promise<NodeReport> {
  return await told(peer, KEY, "its figures") as NodeReport;
}

/** Asks a peer about a key. @throws PeerError as {@linkcode figuresOf}, or the key is too long to ask about */
export async function explanationOf(peer: Peer, group: string, key: string): Promise<Explanation> {
  const question = `${EXPLAIN}${group}\n${key}`;
  if (Buffer.byteLength(question) > MAX_KEY_BYTES) throw new PeerError("the key is too long to ask about over a link");
  const answer = await told(peer, question, "what it holds") as Partial<Explanation>;
  // A node of the release before answers every question with its figures.
  if (!Array.isArray(answer.held)) throw new PeerError(`${peer.name} is of a release that explains no keys over links`);
  return answer as Explanation;
}

async function told(peer: Peer, question: string, what: string): Promise<object> {
  const options = { signal: new AbortController().signal, timeoutMs: TIMEOUT_MS };
  const value = await peer.peek(FIGURES_GROUP, question, options);
  if (value === undefined) throw new PeerError(`${peer.name} has not told ${what} within ${TIMEOUT_MS} ms`);
  try {
    return JSON.parse(decoder.decode(value.body)) as object;
  } catch {
    throw new PeerError(`${peer.name} has told something else than ${what}`);
  }
}

function valueOf(report: object, nowMs: number): Value {
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
