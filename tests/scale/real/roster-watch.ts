/** Follows the lists of peers in the nodes' logs, which costs the nodes nothing, unlike questions. */
import type { AnyProcess } from "../../chaos/fleet.ts";
import { groupName } from "../../chaos/fleet.ts";

const LOOK_MS = 2;

interface Told {
  readonly revision: number;
  readonly urls: readonly string[];
}

/** The last list of each node of a fleet. */
export class RosterWatch {
  readonly #members: ReadonlyMap<string, AnyProcess>;
  readonly #told = new Map<AnyProcess, { seen: number; last?: Told }>();

  constructor(members: ReadonlyMap<string, AnyProcess>) {
    this.#members = members;
  }

  /**
   * Resolves when every member has logged the same list of exactly the members, to the time of the last log line.
   *
   * @throws Error they did not in time
   */
  async agreed(timeoutMs: number): Promise<number> {
    const deadlineMs = performance.now() + timeoutMs;
    while (!this.#isAgreed()) {
      if (performance.now() > deadlineMs) throw new Error(`the nodes did not agree within ${timeoutMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    return performance.now();
  }

  #isAgreed(): boolean {
    const members = [...this.#members.values()];
    const wanted = members.map(({ url }) => url).sort().join(" ");
    const lists = members.map((member) => this.#lastOf(member));
    return lists.every((list) => list?.revision === lists[0]?.revision && list?.urls.join(" ") === wanted);
  }

  #lastOf(member: AnyProcess): Told | undefined {
    const told = this.#told.get(member) ?? { seen: 0 };
    this.#told.set(member, told);
    for (; told.seen < member.lines.length; told.seen++) {
      const line = member.lines[told.seen]!;
      if (!line.includes(`got new peer list of ${groupName} `)) continue;
      const { revision, peers } = JSON.parse(line) as { revision: number; peers: string[] };
      told.last = { revision, urls: peers.sort() };
    }
    return told.last;
  }
}
