/** The logs on which the contract is checked: memory, the same behind a pipe, and a real nats-server. */
import { connect } from "nats";
import type { InvalidationLog, LogFollower } from "../../../lib/core/invalidation/log.ts";
import type { Label } from "../../../lib/core/invalidation/label.ts";
import { NatsStore } from "../../../lib/nats/peer-store.ts";
import { MemoryStream } from "../../../lib/registry/store/memory-log.ts";
import { PipeLog, serveLog } from "../../../lib/workers/pipe-log.ts";
import { MemoryLog as LogLines } from "../../support/log.ts";
import { startNats } from "../../support/nats-server.ts";
import type { Defer, Needs } from "../../support/test.ts";
import { lossyProxy } from "../harnesses.ts";
import { realClock, textOf } from "../support.ts";

/** One node's log. */
export interface OpenedLog {
  readonly log: InvalidationLog;
  /** The next message through this log is added, but the answer is lost. */
  loseNextAnswer(): void;
  /** The node is told nothing more, until `mend`. */
  cut(): void;
  mend(): void;
  close(): Promise<void>;
}

/** One log, and the means of breaking it. */
export interface LogHarness {
  open(): Promise<OpenedLog>;
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
  /** Deletes the log; it is made again. */
  lose(): Promise<void>;
  /** Deletes all messages. */
  forget(): Promise<void>;
}

export interface LogHarnessKind {
  readonly name: string;
  readonly needs: Needs;
  start(defer: Defer): Promise<LogHarness>;
}

/** A follower that writes down what it is told. */
export class Recorder implements LogFollower {
  /** Such as `restart 5`, `take 6 dict {"all":true}`, `settled 6`, `away`; the same `settled` once only. */
  readonly events: string[] = [];
  label: Label = { epoch: 0, sequence: 0 };
  askedAtMs = 0;
  isAway = false;

  restart(label: Label): void {
    this.label = label;
    this.#add(`restart ${label.sequence}`);
  }
  take(sequence: number, group: string, data: Uint8Array, _ageMs?: number): void {
    this.label = { epoch: this.label.epoch, sequence };
    this.#add(`take ${sequence} ${group} ${textOf(data)}`);
  }
  /** Where it stands for what tells it, too. */
  pass(sequence: number): void {
    this.label = { epoch: this.label.epoch, sequence };
  }
  settled(sequence: number, askedAtMs: number): void {
    this.isAway = false;
    this.askedAtMs = askedAtMs;
    if (this.label.sequence !== sequence) this.pass(sequence);
    if (this.events.at(-1) !== `settled ${sequence}`) this.#add(`settled ${sequence}`);
  }
  away(): void {
    this.isAway = true;
    this.#add("away");
  }

  /** All but the `settled`. */
  get told(): string[] {
    return this.events.filter((event) => !event.startsWith("settled"));
  }
  get isSettled(): boolean {
    return this.events.at(-1) === `settled ${this.label.sequence}`;
  }

  #add(event: string): void {
    this.events.push(event);
  }
}

export const memory: LogHarnessKind = {
  name: "memory",
  needs: {},
  async start() {
    const stream = new MemoryStream(realClock);
    return {
      ...around(stream),
      async open() {
        const log = stream.open();
        return {
          log,
          loseNextAnswer: () => log.loseNextAnswer(),
          cut: () => log.hold(),
          mend: () => log.release(),
          close: async () => log.close(),
        };
      },
    };
  },
};

/** The same memory, reached as a worker reaches its supervisor's: each message through JSON, and later. */
export const pipe: LogHarnessKind = {
  name: "pipe",
  needs: {},
  async start() {
    const stream = new MemoryStream(realClock);
    const copied = <T>(message: T): T => JSON.parse(JSON.stringify(message));
    return {
      ...around(stream),
      async open() {
        const behind = stream.open();
        const serve = serveLog(behind, (message) => setImmediate(() => log.receive(copied(message))));
        const log = new PipeLog((message) => setImmediate(() => serve(copied(message))));
        return {
          log,
          loseNextAnswer: () => behind.loseNextAnswer(),
          cut: () => behind.hold(),
          mend: () => behind.release(),
          close: async () => log.close(),
        };
      },
    };
  },
};

function around(stream: MemoryStream) {
  return {
    goAway: async () => stream.goAway(),
    comeBack: async () => stream.comeBack(),
    lose: async () => stream.lose(),
    forget: async () => stream.forget(),
  };
}

export const nats: LogHarnessKind = {
  name: "nats",
  needs: { timeoutMs: 60_000 },
  async start(defer) {
    const server = await startNats(defer);
    return {
      async open() {
        const proxy = await lossyProxy(defer, server.port, "HPUB peers.invalidate.");
        const store = natsStoreOn(defer, [`nats://127.0.0.1:${proxy.port}`]).store;
        return { ...proxy, log: store, close: () => store.close() };
      },
      goAway: () => server.stop("SIGKILL"),
      comeBack: () => server.restart(),
      lose: () => administered(server.url, async (jsm) => void await jsm.streams.delete("peers-invalidations")),
      forget: () => administered(server.url, async (jsm) => void await jsm.streams.purge("peers-invalidations")),
    };
  },
};

/** A store with short delays. Without `isWatched`, the caller must watch it. */
export function natsStoreOn(
  defer: Defer,
  urls: readonly string[],
  options: Partial<ConstructorParameters<typeof NatsStore>[0]> = {},
  isWatched = true,
) {
  const log = new LogLines();
  const store = new NatsStore({
    urls,
    clock: realClock,
    log,
    requestTimeoutMs: 1_000,
    checkIntervalMs: 200,
    retryMostMs: 300,
    ...options,
  });
  defer(() => store.close());
  if (isWatched) store.watch({ onView() {}, onAway() {}, onBack() {} });
  return { store, log };
}

export type Jsm = Awaited<ReturnType<Awaited<ReturnType<typeof connect>>["jetstreamManager"]>>;

export async function administered<T>(url: string, work: (jsm: Jsm) => Promise<T>): Promise<T> {
  const connection = await connect({ servers: url });
  try {
    return await work(await connection.jetstreamManager());
  } finally {
    await connection.close();
  }
}
