/** A simulated connection from one node to another, for the interfaces in lib/core. */
import { PeerError } from "../../../lib/core/errors.ts";
import type { Label } from "../../../lib/core/invalidation/label.ts";
import type { ProbedPeer, Suspect } from "../../../lib/core/liveness/liveness.ts";
import { type Ask, asked, type AskOptions, type Entry, type Peer, type PushOptions } from "../../../lib/core/ports.ts";
import type { PeerRecord } from "../../../lib/core/roster.ts";
import type { Value } from "../../../lib/core/value.ts";
import type { Kind } from "./network.ts";
import type { SimNode } from "./node.ts";
import type { World } from "./world.ts";

/** One end; a killed process refuses at once. */
export class SimLink implements Peer, ProbedPeer {
  record: PeerRecord;
  isOpen = false;
  readonly #from: SimNode;
  readonly #world: World;
  #emptyAtMs: number | undefined;

  constructor(from: SimNode, record: PeerRecord, world: World) {
    this.#from = from;
    this.record = record;
    this.#world = world;
  }

  get name(): string {
    return this.record.name;
  }

  /** The node at the other end, if it runs with the listed incarnation. */
  get target(): SimNode | undefined {
    return this.#world.running(this.record);
  }

  /** The greeting. @returns whether there is a connection now */
  open(): boolean {
    const { target } = this;
    if (target === undefined) return false;
    this.isOpen = true;
    if (target.group.isEmpty) this.#emptyAtMs = this.#world.network.clock.nowMs();
    return true;
  }

  emptyAtMs(): number | undefined {
    return this.#emptyAtMs;
  }

  probe(): Promise<void> {
    return this.#question("probe", (to) => Promise.resolve(to.liveness.probed()));
  }

  probeIndirectly(suspect: Suspect, { timeoutMs }: { timeoutMs: number }): Promise<boolean> {
    return this.#question("indirect probe", (to) => to.liveness.probeIndirectly(suspect, { timeoutMs }));
  }

  ask(_group: string, key: string, ask: Ask): void {
    const { signal, timeoutMs, request, after } = ask;
    this.#question("get", async ({ group }) => {
      const found = group.lookupAsOwner(key, request, after)?.value;
      const load = (question: Ask) => group.loadAsOwner(key, question);
      return { ...found ?? await asked({ signal, timeoutMs, after, request }, load) };
    }).then((value) => ask.resolve(value), (error) => ask.reject(error));
  }

  peek(_group: string, key: string, { signal }: AskOptions): Promise<Value | undefined> {
    return this.#question("peek", async ({ group }) => await group.peek(key, { signal }));
  }

  push(_group: string, entries: readonly Entry[], { isWritten }: PushOptions): Promise<number> {
    const copies = entries.map(({ key, value }) => ({ key, value: { ...value } }));
    const from = this.#from.record.name;
    return this.#question("push", ({ group }) => Promise.resolve(group.accept(copies, from, isWritten)));
  }

  catchUp(label: Label, { timeoutMs }: AskOptions): Promise<Label> {
    return this.#question("catch-up", ({ invalidations }) => invalidations.catchUp(label, timeoutMs));
  }

  async #question<T>(kind: Kind, serve: (to: SimNode) => Promise<T>): Promise<T> {
    const { network } = this.#world;
    network.count(kind, 1);
    await network.way();
    const { target } = this;
    if (target === undefined) throw new PeerError(`${this.name} refuses the connection`);
    network.count(kind, 1);
    const answer = target.lists(this.#from.record) ? serve(target) : Promise.reject(new PeerError("a stranger asks"));
    await Promise.allSettled([answer]);
    // If a node dies before its answer, the answer is lost with the connection.
    await network.way();
    return await answer;
  }
}
