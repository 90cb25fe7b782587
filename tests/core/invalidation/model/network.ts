/** The network of the model: every message waits until the schedule delivers or loses it. */
import { Cancel, type CancelSignal } from "../../../../lib/core/base/cancel.ts";
import type { Clock } from "../../../../lib/core/base/clock.ts";
import type { Reply } from "../../../../lib/core/base/reply.ts";
import { PeerError } from "../../../../lib/core/errors.ts";
import { BLIND, type Label } from "../../../../lib/core/invalidation/label.ts";
import type { Ask, AskOptions, Entry, Peer, PushOptions } from "../../../../lib/core/ports.ts";
import type { Value } from "../../../../lib/core/value.ts";

/** Something on its way. */
export interface Item {
  readonly what: string;
  run(): void;
  /** The connection is lost. */
  lose(): void;
}

/** One life of a node, as the network sees it. */
export interface Station {
  readonly name: string;
  isDead: boolean;
}

/** What a node answers; the answer may come at once. */
export interface Service {
  get(key: string, ask: Ask): void;
  peek(key: string, signal: CancelSignal, reply: Reply<Value | undefined>): void;
  push(entries: readonly Entry[], from: string, isWritten: boolean): number;
  catchUp(label: Label, timeoutMs: number): Promise<Label>;
}

export class ModelNetwork {
  items: Item[] = [];
  readonly clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  peer(self: Station, target: Station & { readonly service: Service }): Peer {
    const { name } = target;
    const exchange = <T>(what: string, options: AskOptions, work: Work<T>, reply: Reply<T>) =>
      new Exchange(this, self, target, `${what} ${self.name}>${name}`, options, work, reply).begin();
    const byPromise = <T>(what: string, options: AskOptions, work: Work<T>) =>
      new Promise<T>((resolve, reject) => exchange(what, options, work, { resolve, reject }));
    return {
      name,
      ask: (_group, key, ask) =>
        exchange(
          `get ${key}`,
          ask,
          ({ signal, timeoutMs }, reply) => {
            const { after, request } = ask;
            const resolve = (value: Value) => reply.resolve(copied(value));
            target.service.get(key, {
              signal,
              timeoutMs,
              request,
              after: copiedLabel(after),
              resolve,
              reject: reply.reject,
            });
          },
          ask,
        ),
      peek: (_group, key, options) =>
        byPromise<Value | undefined>(`peek ${key}`, options, ({ signal }, { resolve, reject }) => {
          target.service.peek(key, signal, { resolve: (value) => resolve(value && copied(value)), reject });
        }),
      push: (_group, entries, options: PushOptions) => {
        const sent = entries.map(({ key, value }) => ({ key, value: copied(value) }));
        return byPromise(`push ${entries.map(({ key }) => key)}`, options, (_asked, { resolve }) => {
          resolve(target.service.push(sent, self.name, options.isWritten ?? false));
        });
      },
      catchUp: (label, options) =>
        byPromise("catch up", options, ({ timeoutMs }, { resolve, reject }) => {
          target.service.catchUp(label, timeoutMs).then(resolve, reject);
        }),
    };
  }
}

type Work<T> = (asked: { signal: Cancel; timeoutMs: number }, reply: Reply<T>) => void;

/** A question and its answer: two messages. */
class Exchange<T> {
  readonly #network: ModelNetwork;
  readonly #self: Station;
  readonly #target: Station;
  readonly #what: string;
  readonly #options: AskOptions;
  readonly #work: Work<T>;
  readonly #reply: Reply<T>;
  /** The target's: aborted when the question is not wanted any more. */
  readonly #cancel = new Cancel();
  #isOver = false;
  #isAnswered = false;
  #stopTimer: () => void = () => {};

  constructor(
    network: ModelNetwork,
    self: Station,
    target: Station,
    what: string,
    options: AskOptions,
    work: Work<T>,
    reply: Reply<T>,
  ) {
    this.#network = network;
    this.#self = self;
    this.#target = target;
    this.#what = what;
    this.#options = options;
    this.#work = work;
    this.#reply = reply;
  }

  begin(): void {
    // A node that is dead says nothing, and hears nothing.
    if (this.#self.isDead) return;
    const { signal, timeoutMs } = this.#options;
    if (signal.aborted) return this.#end(() => this.#reply.reject(signal.reason));
    signal.addEventListener("abort", this);
    this.#stopTimer = this.#network.clock.after(timeoutMs, () => this.#lost());
    this.#send(this.#what, () => {
      if (this.#isOver) return;
      if (this.#target.isDead) return this.#lost();
      const answer = (tell: () => void) => {
        if (this.#isAnswered) return;
        this.#isAnswered = true;
        if (this.#isOver) return;
        this.#send(`reply to ${this.#what}`, () => this.#end(tell));
      };
      this.#work({ signal: this.#cancel, timeoutMs }, {
        resolve: (value) => answer(() => this.#reply.resolve(value)),
        reject: (error) => answer(() => this.#reply.reject(error)),
      });
    });
  }

  handleEvent(): void {
    this.#end(() => this.#reply.reject(this.#options.signal.reason));
  }

  #send(what: string, run: () => void): void {
    this.#network.items.push({ what, run, lose: () => this.#lost() });
  }

  #lost(): void {
    this.#end(() => this.#reply.reject(new PeerError(`${this.#target.name} is lost`)));
  }

  #end(tell: () => void): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stopTimer();
    this.#options.signal.removeEventListener("abort", this);
    if (!this.#self.isDead) tell();
    this.#cancel.abort(new DOMException("the asker has gone away", "AbortError"));
  }
}

/** As a value comes out of a frame: an object of its own, and a label of its own. */
function copied(value: Value): Value {
  return { ...value, label: copiedLabel(value.label) };
}

function copiedLabel(label: Label): Label {
  return label.epoch === 0 ? BLIND : { ...label };
}
