/** A process that is one of the workers of a machine: one node, with a listener of its own and one that it shares. */
import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { createLog } from "../node/logging.ts";
import { Node } from "../node/node.ts";
import { onInputLine, tell, writeError } from "../runtime/process.ts";
import { type FromWorker, lineOf, type ToWorker, type WorkerSetup } from "./messages.ts";
import { PipeStore } from "./pipe-store.ts";
import { Siblings } from "./siblings.ts";

/**
 * A worker that has joined takes connections at once. One that has not, since NATS is away, would load for itself what
 * its siblings hold; when it takes too long, it serves all the same, as a node on its own does.
 */
const JOIN_PATIENCE_MS = 3_000;
const LOOK_MS = 20;

/** One worker, from its first message on. */
export class Worker {
  readonly log: Log;
  readonly drainTimeoutMs: number;
  readonly #setup: WorkerSetup;
  readonly #clock: Clock;
  readonly #node: Node;
  readonly #siblings: Siblings;
  readonly #store = new PipeStore(say);
  readonly #dismissed = Promise.withResolvers<void>();
  #isDismissed = false;
  #isStopping = false;

  /** Waits for the options that the supervisor sends; rejects when the pipe ends without them. */
  static receive(clock: Clock): Promise<Worker> {
    return new Promise((resolve, reject) => {
      let worker: Worker | undefined;
      onInputLine((line) => {
        const message = JSON.parse(line) as ToWorker;
        if (message.type === "setup") resolve(worker = new Worker(message.setup, clock));
        else worker?.heard(message);
      }, () => {
        worker?.abandon();
        reject(new Error("A worker is started by its supervisor: use --workers"));
      });
    });
  }

  private constructor(setup: WorkerSetup, clock: Clock) {
    const { name, config, reachedAt } = setup;
    this.#setup = setup;
    this.#clock = clock;
    this.drainTimeoutMs = config.drainTimeoutMs;
    this.log = named(
      createLog({ format: config.log, write: (line) => writeError(`${line}\n`), nowMs: Date.now }),
      name,
    );
    this.#siblings = new Siblings(setup);
    const listedAs = (port: number) => ({ url: `http://${reachedAt}:${port}`, name });
    this.#node = new Node(config, { clock, log: this.log, worker: { listedAs, store: this.#store } });
    void this.failed.then(() => say({ type: "refuses" }));
  }

  /** As the node's. */
  get failed(): Promise<Error> {
    return this.#node.failed;
  }

  /** Resolves when the supervisor has all workers stop, or has ended itself. */
  get dismissed(): Promise<void> {
    return this.#dismissed.promise;
  }

  /** @throws Error an address cannot be had */
  async start(): Promise<void> {
    await this.#node.start();
    say({ type: "listening", port: this.#node.port });
    await this.#joined();
    if (this.#isStopping) return;
    await this.#node.share(this.#setup.sharedAddr, this.#siblings);
    say({ type: "sharing" });
  }

  /** As the node's. A worker that stops alone leaves new connections to the others; where all stop, there are none. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    if (!this.#isDismissed) void this.#node.unshare();
    await this.#node.stop();
  }

  /** Takes what the supervisor says after the options. */
  heard(message: Exclude<ToWorker, { type: "setup" }>): void {
    if (message.type === "workers") this.#siblings.moved(message.workers);
    else if (message.type === "stop") this.#dismiss();
    else this.#store.receive(message);
  }

  /** There is no supervisor any more: what it kept cannot be reached. */
  abandon(): void {
    void this.#store.close();
    this.#dismiss();
  }

  async #joined(): Promise<void> {
    const untilMs = this.#clock.nowMs() + JOIN_PATIENCE_MS;
    while (!this.#node.isReady() && !this.#isStopping && this.#clock.nowMs() < untilMs) {
      await new Promise<void>((resolve) => this.#clock.after(LOOK_MS, resolve));
    }
  }

  #dismiss(): void {
    this.#isDismissed = true;
    this.#dismissed.resolve();
  }
}

function say(message: FromWorker): void {
  tell(lineOf(message));
}

/** A log whose every line says which worker wrote it. */
function named(log: Log, worker: string): Log {
  const say = (level: keyof Log) => (message: string, fields?: Record<string, unknown>) =>
    log[level](message, { ...fields, worker });
  return { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") };
}
