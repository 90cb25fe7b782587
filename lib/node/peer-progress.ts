/** Tracks how far one peer has applied the log. Many concurrent writes share few questions to it. */
import type { Clock } from "../core/base/clock.ts";
import { withTimeout } from "../core/base/time/timeout.ts";
import type { Label } from "../core/invalidation/label.ts";
import type { Peer } from "../core/ports.ts";

/** The longest time for one question. Chosen: the longest time that a caller waits. */
const MAX_WAIT_MS = 5_000;

interface Question {
  label: Label;
  /** The peer's position at the end of the question; `undefined`: the peer could not be asked. */
  readonly reached: Promise<Label | undefined>;
}

function isAt(reached: Label | undefined, { epoch, sequence }: Label): boolean {
  return reached !== undefined && reached.epoch === epoch && reached.sequence >= sequence;
}

/** The progress of one peer in the log. */
export class PeerProgress {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  /** `undefined`: there is no connection to it. */
  readonly #peer: () => Peer | undefined;
  #asked: Question | undefined;
  #next: Question | undefined;

  /** @param signal ends all waits when it aborts */
  constructor(peer: () => Peer | undefined, clock: Clock, signal: AbortSignal) {
    this.#peer = peer;
    this.#clock = clock;
    this.#signal = signal;
  }

  /** Whether the peer has applied everything up to the label, within that time. Never rejects. */
  async hasApplied(label: Label, timeoutMs: number): Promise<boolean> {
    return isAt(await withTimeout(this.#clock, timeoutMs, () => this.#question(label), undefined), label);
  }

  /** At most one question is in flight. One more waits for its end, with the latest label that a caller wants. */
  #question(label: Label): Promise<Label | undefined> {
    if (this.#asked === undefined) {
      this.#asked = this.#begin(label);
      return this.#asked.reached;
    }
    if (isAt(this.#asked.label, label)) return this.#asked.reached;
    if (this.#next === undefined) {
      const next: Question = { label, reached: this.#asked.reached.then(() => this.#turn()) };
      this.#next = next;
    } else if (!isAt(this.#next.label, label)) this.#next.label = label;
    return this.#next.reached;
  }

  #turn(): Promise<Label | undefined> {
    const { label } = this.#next!;
    this.#next = undefined;
    this.#asked = this.#begin(label);
    return this.#asked.reached;
  }

  #begin(label: Label): Question {
    const question: Question = { label, reached: this.#ask(label) };
    void question.reached.then(() => {
      if (this.#asked === question && this.#next === undefined) this.#asked = undefined;
    });
    return question;
  }

  async #ask(label: Label): Promise<Label | undefined> {
    try {
      return await this.#peer()?.catchUp(label, { signal: this.#signal, timeoutMs: MAX_WAIT_MS });
    } catch {
      return undefined;
    }
  }
}
