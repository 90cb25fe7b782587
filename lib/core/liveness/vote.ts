/** What others say of a suspect, each after a poll of its own. */
import type { Clock } from "../base/clock.ts";
import { withTimeout } from "../base/timeout.ts";
import type { ProbedPeer, Suspect } from "./probed-peer.ts";

export interface Vote {
  readonly asked: number;
  /** Said that the suspect is dead, or alive. */
  readonly answered: number;
  readonly dead: number;
  /** Who could not be asked, or could not say; not all of them where the majority was clear before they were heard. */
  readonly silent: readonly string[];
}

/**
 * Asks all voters at once, and waits until so many have said "dead" that, with the one who asks, they are more than half
 * of all, or until all were heard or have had `timeoutMs`.
 */
export function holdVote(
  suspect: Suspect,
  voters: readonly ProbedPeer[],
  { clock, timeoutMs }: { clock: Clock; timeoutMs: number },
): Promise<Vote> {
  const asked = voters.length;
  let answered = 0;
  let dead = 0;
  let heard = 0;
  const silent: string[] = [];
  return new Promise((resolve) => {
    const end = () => resolve({ asked, answered, dead, silent: [...silent] });
    if (asked === 0) return end();
    for (const voter of voters) {
      const ask = () => voter.probeIndirectly(suspect, { timeoutMs });
      void withTimeout(clock, timeoutMs, ask, undefined).catch(() => undefined).then((isAlive) => {
        heard++;
        if (isAlive === undefined) silent.push(voter.record.name);
        else {
          answered++;
          if (!isAlive) dead++;
        }
        if (heard === asked || isMajority(1 + dead, 1 + asked)) end();
      });
    }
  });
}

/** More than half. */
export function isMajority(votes: number, total: number): boolean {
  return 2 * votes > total;
}
