/** The log of the model. Each node's view of it is told what the schedule says, when it says so. */
import type { Label } from "../../../../lib/core/invalidation/label.ts";
import type { InvalidationLog, LogFollower } from "../../../../lib/core/invalidation/log.ts";
import { encodeInvalidation, type Invalidation } from "../../../../lib/core/invalidation/message.ts";
import { UnavailableError } from "../../../../lib/core/errors.ts";
import type { History, Published } from "./spec.ts";

export const GROUP = "g";

export class ModelLog {
  epoch = 1;
  lastSequence = 0;
  /** The oldest sequence that it holds still. */
  firstSequence = 1;
  /** Of all lives; also what it holds no longer. */
  readonly published: Published[] = [];

  publish(message: Invalidation, versions: readonly number[]): Published {
    const published: Published = {
      epoch: this.epoch,
      sequence: ++this.lastSequence,
      message,
      versions: [...versions],
      data: encodeInvalidation(message),
      lastAppliedMs: -Infinity,
    };
    this.published.push(published);
    return published;
  }

  /** A message about no group of this node takes a number too. */
  passOver(): void {
    this.lastSequence++;
  }

  /** As when its stream is deleted and made anew. */
  lose(): void {
    this.epoch++;
    this.lastSequence = 0;
    this.firstSequence = 1;
  }

  /** As when its oldest messages expire. */
  forget(count: number): void {
    this.firstSequence = Math.min(this.lastSequence + 1, this.firstSequence + count);
  }

  upTo({ epoch, sequence }: Label): readonly Published[] {
    return this.published.filter((one) => one.epoch === epoch && one.sequence <= sequence);
  }
}

export class ModelLogView implements InvalidationLog {
  readonly #log: ModelLog;
  readonly #history: History;
  readonly #nowMs: () => number;
  readonly #asked: (askedAtMs: number) => void;
  #follower: LogFollower | undefined;
  isCut = false;

  /** @param asked the node looks at the log: `tell` answers that, at any later time */
  constructor(log: ModelLog, history: History, nowMs: () => number, asked: (askedAtMs: number) => void) {
    this.#log = log;
    this.#history = history;
    this.#nowMs = nowMs;
    this.#asked = asked;
  }

  followLog(follower: LogFollower): void {
    this.#follower = follower;
  }

  publish(): Promise<Label> {
    return Promise.reject(new UnavailableError("the model publishes by itself", { isAmbiguous: false }));
  }

  catchUp(): Promise<void> {
    if (!this.isCut) this.#asked(this.#nowMs());
    return Promise.resolve();
  }

  cut(): void {
    if (this.isCut) return;
    this.isCut = true;
    this.#follower!.away();
  }

  /**
   * Tells the node what the log holds.
   *
   * @param most messages
   * @param isAtEnd whether a node that has missed messages goes on at the end of the log, or at its oldest message
   */
  tell(most: number, askedAtMs: number, isAtEnd: boolean): void {
    if (this.isCut) return;
    const log = this.#log;
    const history = this.#history;
    if (history.epoch !== log.epoch || history.sequence < log.firstSequence - 1) {
      const sequence = isAtEnd ? log.lastSequence : log.firstSequence - 1;
      const label = { epoch: log.epoch, sequence };
      history.restarted(log.epoch, sequence, log.upTo(label));
      this.#follower!.restart(label);
    }
    let left = most;
    for (const one of log.published) {
      if (one.epoch !== log.epoch || one.sequence <= history.sequence) continue;
      if (left-- === 0) return;
      history.told(one, this.#nowMs());
      this.#follower!.take(one.sequence, GROUP, one.data);
    }
    history.sequence = log.lastSequence;
    history.contactMs = Math.max(history.contactMs, askedAtMs);
    this.#follower!.settled(log.lastSequence, askedAtMs);
  }
}
