/** Groups of one process that are each other's peers: no socket, no timer, no registry. */
import { entryBytes } from "../../lib/core/cache/byte-cache.ts";
import type { CancelSignal } from "../../lib/core/base/cancel.ts";
import { OriginUnreachableError, PeerError } from "../../lib/core/errors.ts";
import { Group } from "../../lib/core/group/group.ts";
import type { GroupOptions } from "../../lib/core/group/options.ts";
import { asked, type LoadContext, NoPeers, type Origin, type Peer, type RequestHead } from "../../lib/core/ports.ts";
import type { Label } from "../../lib/core/invalidation/label.ts";
import type { Answer, Value } from "../../lib/core/value.ts";
import { RosterPicker } from "../../lib/core/placement/picker.ts";
import { type PeerRecord, rosterOf } from "../../lib/core/roster.ts";
import { ManualClock } from "../support/clock.ts";
import { TestLog, type TestLogView } from "./invalidation/log.ts";

export const text = (body: string): Answer => ({ body: new TextEncoder().encode(body), contentType: "text/plain" });
export const read = ({ value }: { value: Answer }) => new TextDecoder().decode(value.body);

/** An origin that counts its loads, and holds them while the gate is shut. */
export class CountingOrigin {
  loads: string[] = [];
  signals: AbortSignal[] = [];
  contexts: LoadContext[] = [];
  gate: Promise<unknown> = Promise.resolve();
  answer: (key: string, context: LoadContext) => Answer | Promise<Answer> = (key) => text(`value of ${key}`);

  async load(key: string, signal: AbortSignal, context: LoadContext = {}): Promise<Answer> {
    this.loads.push(key);
    this.signals.push(signal);
    this.contexts.push(context);
    await this.gate;
    return await this.answer(key, context);
  }
}

export function makeGroup(options: Partial<GroupOptions> & { origin: Origin }) {
  const clock = (options.clock ?? new ManualClock()) as ManualClock;
  const group = new Group({
    name: "dict",
    picker: NoPeers,
    clock,
    // Budgets of encoded bytes: the tests count entries.
    costOf: entryBytes,
    budgetBytes: 1_000_000,
    loadTimeoutMs: 10_000,
    ...options,
    // Lifetimes to the millisecond, but where a test is about jitter.
    lifetime: { ttlJitter: 0, ...options.lifetime },
  });
  return { clock, group };
}

/** A peer that answers by a promise. */
export function askBy(
  get: (key: string, signal: CancelSignal, request: RequestHead | undefined, after: Label) => Promise<Value>,
): Peer["ask"] {
  return (_group, key, question) => {
    get(key, question.signal, question.request, question.after).then(
      (value) => question.resolve(value),
      (error) => question.reject(error),
    );
  };
}

/** Nodes in one process. `asks` lists the questions between them. A node in `dead` is listed but cannot be reached. */
export function makeCluster(
  names: string[],
  { rosters = {}, options = {} }: { rosters?: Record<string, string[]>; options?: Partial<GroupOptions> } = {},
) {
  const origin = new CountingOrigin();
  const clock = new ManualClock();
  const asks: string[] = [];
  const peeks: string[] = [];
  const dead = new Set<string>();
  /** These nodes take questions and never answer. */
  const stalled = new Set<string>();
  /** These nodes have no way to the origin, and find that out after so many milliseconds. */
  const cutOff = new Map<string, number>();
  /** The loads that they began, as `node key`. */
  const inVain: string[] = [];
  const originOf = (self: string): Origin => ({
    async load(key, signal, context) {
      const afterMs = cutOff.get(self);
      if (afterMs === undefined) return await origin.load(key, signal, context);
      inVain.push(`${self} ${key}`);
      if (afterMs > 0) await new Promise<void>((over) => clock.after(afterMs, over));
      throw new OriginUnreachableError(`${self} has no way`);
    },
  });
  const late = new Map<string, number>();
  const emptyAtMs = new Map<string, number>();
  const reach = async (name: string) => {
    if (stalled.has(name)) await new Promise(() => {});
    if (dead.has(name)) throw new PeerError(`${name} is dead`);
  };
  const log = new TestLog();
  const logs = new Map<string, TestLogView>();
  const groups = new Map<string, Group>();
  const pickers = new Map<string, RosterPicker>();
  /** For each node, the others as it reaches them. */
  const peersOf = new Map<string, Map<string, Peer>>();
  const start = (self: string, others: Partial<GroupOptions> = {}) => {
    const makePeer = (name: string): Peer => ({
      name,
      emptyAtMs: () => emptyAtMs.get(name),
      ask: askBy(async (key, signal, request, after) => {
        asks.push(`${self}>${name}`);
        await reach(name);
        const afterMs = late.get(name);
        if (afterMs !== undefined) {
          await new Promise<void>((over) => clock.after(afterMs, over));
          throw new PeerError(`${name} was lost`);
        }
        const owner = groups.get(name)!;
        const found = owner.lookupAsOwner(key, request, after)?.value;
        // A copy, as after a way through the network.
        if (found !== undefined) return { ...found };
        return await asked(
          { signal, timeoutMs: 0, after },
          (question) => owner.loadAsOwner(key, { ...question, request }),
        );
      }),
      async peek(_group, key, { signal }) {
        peeks.push(`${self}>${name}`);
        await reach(name);
        return await groups.get(name)!.peek(key, { signal });
      },
      async push(_group, entries, { isWritten }) {
        await reach(name);
        return groups.get(name)!.accept(
          entries.map(({ key, value }) => ({ key, value: { ...value } })),
          self,
          isWritten,
        );
      },
      async catchUp(label) {
        await reach(name);
        const { position } = logs.get(name)!;
        await position.reach(label, 250);
        return position.label;
      },
    });
    const peers = new Map<string, Peer>();
    peersOf.set(self, peers);
    const peerOf = (name: string) => peers.get(name) ?? peers.set(name, makePeer(name)).get(name);
    const picker = new RosterPicker("dict", self, peerOf, clock);
    picker.swap(rosterOf("dict", 1, (rosters[self] ?? names).map(record)));
    pickers.set(self, picker);
    logs.set(self, log.open(clock));
    const { position } = logs.get(self)!;
    groups.set(self, makeGroup({ position, ...options, ...others, origin: originOf(self), picker, clock }).group);
  };
  for (const name of names) start(name);
  /** A node restarts: it holds nothing and is reached anew. The others see that in their next roster. */
  const restart = (name: string, others: Partial<GroupOptions> = {}) => {
    for (const peers of peersOf.values()) peers.delete(name);
    start(name, others);
  };
  /** These nodes see a new roster; the others keep theirs. */
  let revision = 1;
  const swap = (peers: readonly (string | PeerRecord)[], seenBy: readonly string[] = names) => {
    const roster = rosterOf("dict", ++revision, peers.map((peer) => typeof peer === "string" ? record(peer) : peer));
    for (const name of seenBy) {
      pickers.get(name)!.swap(roster);
      void groups.get(name)!.ownersChanged();
    }
  };
  /** From now on, the connection to a node is lost `afterMs` after each question for a value. */
  const lateDeath = (name: string, afterMs: number) => late.set(name, afterMs);
  /** A node tells the others whether it holds anything, as its greeting does. */
  const greet = (name: string) => {
    if (groups.get(name)!.isEmpty) emptyAtMs.set(name, clock.nowMs());
    else emptyAtMs.delete(name);
  };
  return {
    log,
    logs,
    greet,
    restart,
    late,
    lateDeath,
    cutOff,
    inVain,
    origin,
    clock,
    asks,
    peeks,
    dead,
    stalled,
    groups,
    pickers,
    swap,
  };
}

export function record(name: string): PeerRecord {
  const url = `http://${name}`;
  return {
    name,
    url,
    incarnation: "1",
    key: "A".repeat(43),
    state: "serving",
    weight: 1,
    zone: "",
    joined: "2026-01-01T00:00:00.000Z",
    version: "0",
    runtime: "",
  };
}
