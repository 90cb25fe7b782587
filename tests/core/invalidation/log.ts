/** A log of invalidations in one process, with a hand on what each node has been told. */
import type { Label } from "../../../lib/core/invalidation/label.ts";
import type { InvalidationLog, LogFollower } from "../../../lib/core/invalidation/log.ts";
import { encodeInvalidation, type Invalidation, invalidationOf } from "../../../lib/core/invalidation/message.ts";
import { LogPosition } from "../../../lib/core/invalidation/position.ts";
import { UnavailableError } from "../../../lib/core/errors.ts";
import type { ManualClock } from "../../support/clock.ts";

interface Message {
  readonly sequence: number;
  readonly group: string;
  readonly data: Uint8Array;
}

/** One node's view of the log. It is told everything at once, unless it is held or cut off. */
export class TestLogView implements InvalidationLog {
  readonly position: LogPosition;
  readonly #log: TestLog;
  readonly #clock: ManualClock;
  #follower: LogFollower | undefined;
  #epoch = 0;
  #sequence = 0;
  /** It learns nothing until somebody asks for it: it lags. */
  isHeld = false;
  /** It cannot reach the log at all. */
  isCut: boolean;

  constructor(log: TestLog, clock: ManualClock) {
    this.#log = log;
    this.isCut = log.isDown;
    this.#clock = clock;
    this.position = new LogPosition({ clock, log: this });
  }

  followLog(follower: LogFollower): void {
    this.#follower = follower;
    this.look();
  }

  async publish(group: string, data: Uint8Array): Promise<Label> {
    if (this.isCut) throw new UnavailableError("cut off", { isAmbiguous: false });
    return this.#log.add(group, data);
  }

  async catchUp(): Promise<void> {
    this.look();
  }

  cut(): void {
    this.isCut = true;
    this.#follower?.away();
  }

  heal(): void {
    this.isCut = false;
    this.look();
  }

  /** Is told what the log holds, `most` messages at most. */
  look(most = Infinity): void {
    if (this.isCut || this.#follower === undefined) return;
    const { epoch, messages, lastSequence } = this.#log;
    const first = messages[0]?.sequence ?? lastSequence + 1;
    if (epoch !== this.#epoch || first > this.#sequence + 1) {
      this.#epoch = epoch;
      this.#sequence = lastSequence;
      this.#follower.restart({ epoch, sequence: lastSequence });
    }
    for (
      const { sequence, group, data } of messages.filter(({ sequence }) => sequence > this.#sequence).slice(0, most)
    ) {
      this.#sequence = sequence;
      this.#follower.take(sequence, group, data);
    }
    if (this.#sequence === lastSequence) this.#follower.settled(lastSequence, this.#clock.nowMs());
  }
}

export class TestLog {
  epoch = 1;
  lastSequence = 0;
  messages: readonly Message[] = [];
  /** Nobody who comes now can reach it. */
  isDown = false;
  readonly #views: TestLogView[] = [];

  /** One more node's view, which is told what there is. */
  open(clock: ManualClock): TestLogView {
    const view = new TestLogView(this, clock);
    this.#views.push(view);
    view.followLog(view.position);
    return view;
  }

  invalidate(message: Partial<Invalidation>, group = "dict"): Label {
    return this.add(group, encodeInvalidation(invalidationOf(message)));
  }

  add(group: string, data: Uint8Array): Label {
    this.messages = [...this.messages, { sequence: ++this.lastSequence, group, data }];
    for (const view of this.#views) if (!view.isHeld) view.look();
    return { epoch: this.epoch, sequence: this.lastSequence };
  }

  /** As when it is deleted and made anew. */
  lose(): void {
    this.epoch++;
    this.lastSequence = 0;
    this.messages = [];
  }

  /** As when its oldest messages expire. */
  forget(count: number): void {
    this.messages = this.messages.slice(count);
  }
}
