/** A worker process: one node, with its own listener and one that it shares with the other workers. */
import type { Config } from "../config/config.ts";
import type { LogLevel } from "../config/options.ts";
import type { Clock } from "../core/base/clock.ts";
import type { Log, LogCall } from "../core/base/log.ts";
import type { ConfigFigures } from "../http/figures.ts";
import { AccessQueue } from "../node/log/access-queue.ts";
import { createLog } from "../node/log/logging.ts";
import { Node } from "../node/node.ts";
import { onInputLine, tell, writeError, writeWhole } from "../runtime/process.ts";
import { completed } from "./completed.ts";
import { type FromWorker, lineOf, type ToWorker, type WorkerSetup } from "./messages.ts";
import { isForFollower, PipeLog } from "./pipe-log.ts";
import { PipeStore } from "./pipe-store.ts";
import { Siblings } from "./siblings.ts";

/**
 * How long a worker waits to join before it takes connections. Before it has joined it would load values that its
 * siblings hold. With NATS away it serves after this time, as a single node does. Chosen.
 */
const JOIN_PATIENCE_MS = 3_000;
/** How often a worker checks whether it has joined. Chosen: a client does not notice so short a delay. */
const JOIN_CHECK_MS = 20;

/** One worker, once it has its options. */
export class Worker {
  readonly log: Log;
  readonly drainTimeoutMs: number;
  readonly #setup: WorkerSetup;
  readonly #clock: Clock;
  readonly #node: Node;
  readonly #siblings: Siblings;
  readonly #say = (message: FromWorker): void => tell(lineOf(message, this.#setup.mark));
  readonly #store = new PipeStore(this.#say);
  readonly #invalidations = new PipeLog(this.#say);
  readonly #access: AccessQueue;
  readonly #dismissed = Promise.withResolvers<void>();
  #level: LogLevel;
  /** Why this worker alone does not follow the latest options. */
  #refused: Pick<ConfigFigures, "fault"> = {};
  #isDismissed = false;
  #isStopping = false;

  /** Resolves with the worker when the supervisor has sent its options; rejects when the pipe ends before. */
  static receive(clock: Clock): Promise<Worker> {
    return new Promise((resolve, reject) => {
      let worker: Worker | undefined;
      onInputLine((line) => {
        const message = JSON.parse(line) as ToWorker;
        if (message.type === "setup") {
          const { setup } = message;
          resolve(worker = new Worker({ ...setup, config: completed(setup.config) }, clock));
        } else worker?.heard(message);
      }, () => {
        worker?.abandon();
        reject(new Error("Cannot start a worker by hand: use --workers"));
      });
    });
  }

  private constructor(setup: WorkerSetup, clock: Clock) {
    const { name, config, reachedAt } = setup;
    this.#setup = setup;
    this.#clock = clock;
    this.drainTimeoutMs = config.drainTimeoutMs;
    this.#level = config.logLevel;
    const write = (line: string) => writeError(`${line}\n`);
    const lowestLevel = () => this.#level;
    this.log = named(createLog({ format: config.log, write, nowMs: Date.now, lowestLevel }), name);
    this.#siblings = new Siblings(setup);
    const listedAs = (port: number) => ({ url: `http://${reachedAt}:${port}`, name });
    const writeAccess = (lines: string) => writeWhole(lineOf({ type: "access", lines }, setup.mark));
    this.#access = new AccessQueue(writeAccess, { clock, log: this.log });
    this.#node = new Node(config, {
      clock,
      log: this.log,
      writeAccess: this.#access.write,
      worker: { listedAs, store: this.#store, log: this.#invalidations, statsToken: setup.statsToken },
    });
    if (setup.file !== undefined) this.#node.toldOfFile(setup.file);
    void this.failed.then(() => this.#say({ type: "refuses" }));
  }

  /** See {@link Node.failed}. */
  get failed(): Promise<Error> {
    return this.#node.failed;
  }

  /** See {@link Node.ready}. */
  get ready(): Promise<void> {
    return this.#node.ready;
  }

  /** See {@link Node.isAlive}. */
  isAlive(): Promise<boolean> {
    return this.#node.isAlive();
  }

  /** Resolves when the supervisor stops all workers, or has ended. */
  get dismissed(): Promise<void> {
    return this.#dismissed.promise;
  }

  /** @throws Error the node cannot listen on an address */
  async start(): Promise<void> {
    await this.#node.start();
    this.#say({ type: "listening", port: this.#node.port });
    await this.#joined();
    if (this.#isStopping) return;
    await this.#node.share(this.#setup.sharedAddr, this.#siblings);
    this.#say({ type: "sharing" });
  }

  /** Stops the node. A worker that stops alone closes the shared listener at once: the others take new connections. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    if (!this.#isDismissed) void this.#node.unshare();
    await this.#node.stop();
    await this.#access.flushed();
  }

  /** Handles a message that the supervisor sends after the options. */
  heard(message: Exclude<ToWorker, { type: "setup" }>): void {
    if (message.type === "workers") this.#siblings.moved(message.workers);
    else if (message.type === "stop") this.#dismiss();
    else if (message.type === "file") this.#node.toldOfFile({ ...message.file, ...this.#refused });
    else if (message.type === "reload") this.#reload(completed(message.config));
    else if (isForFollower(message)) this.#invalidations.receive(message);
    else this.#store.receive(message);
  }

  /** Called when the supervisor has ended, and with it the list of peers that it kept. */
  abandon(): void {
    void this.#store.close();
    this.#invalidations.close();
    this.#dismiss();
  }

  /**
   * Only the workers know the groups that NATS defines, so this reports conflicts that the supervisor could not see.
   */
  #reload(config: Config): void {
    try {
      this.#node.reload(config);
      this.#level = config.logLevel;
      this.#refused = {};
    } catch (error) {
      const reason = (error as Error).message;
      this.#refused = { fault: { since: new Date(this.#clock.nowMs()).toISOString(), reason } };
      this.log.error(`cannot follow the options that were read again: ${reason}`, {}, { reason });
    }
  }

  async #joined(): Promise<void> {
    const untilMs = this.#clock.nowMs() + JOIN_PATIENCE_MS;
    while (!this.#node.isReady() && !this.#isStopping && this.#clock.nowMs() < untilMs) {
      await new Promise<void>((resolve) => this.#clock.after(JOIN_CHECK_MS, resolve));
    }
  }

  #dismiss(): void {
    this.#isDismissed = true;
    this.#dismissed.resolve();
  }
}

/** Adds the worker's name to every line. */
function named(log: Log, worker: string): Log {
  const say = (level: keyof Log): LogCall => (message, fields, facts) =>
    log[level](message, { ...fields, worker }, facts);
  return { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") };
}
