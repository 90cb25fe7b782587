/** Keeps the workers of a machine running and stops them together. The caller passes in how to start a process. */
import { type Backoff, backoffMs } from "../core/base/time/backoff.ts";
import type { Clock } from "../core/base/clock.ts";
import { ConfigError } from "../core/errors.ts";
import type { Log, LogFields } from "../core/base/log.ts";
import type { FromWorker, ToWorker } from "./messages.ts";

/** One process of a worker; a worker that ends gets a new one. */
export interface WorkerProcess {
  readonly pid: number;
  /** Its exit code. */
  readonly exited: Promise<number>;
  send(message: ToWorker): void;
  /** Ends it at once. */
  kill(): void;
}

export interface SupervisorOptions {
  /** One per worker. */
  readonly names: readonly string[];
  /** @throws Error the process cannot be started */
  readonly start: (name: string, onMessage: (message: FromWorker) => void) => WorkerProcess;
  readonly clock: Clock;
  readonly log: Log;
}

/** The delay before a worker is started again. Chosen: quick after one crash, gentle when it crashes each time. */
const RESTART: Backoff = { firstMs: 100, mostMs: 10_000 };
/** After a life of this length the delay starts at its first value again. Chosen: three times the longest delay. */
const STABLE_MS = 30_000;
/** A worker that takes no connections by then counts as hanging, and is killed. Chosen: ten times JOIN_PATIENCE_MS. */
const START_TIMEOUT_MS = 30_000;

interface Slot {
  readonly name: string;
  life: WorkerProcess | undefined;
  /** The port of its own listener. */
  port: number | undefined;
  isSharing: boolean;
  /** How often in a row it ended after a short life; 0 only in its first life. */
  falls: number;
  cancelRestart: () => void;
}

/** Starts the workers, restarts each worker that ends, and stops them all. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #slots: readonly Slot[];
  readonly #allShare = Promise.withResolvers<void>();
  readonly #failed = Promise.withResolvers<Error>();
  #hasStarted = false;
  #isStopping = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#slots = options.names.map((name) => ({
      name,
      life: undefined,
      port: undefined,
      isSharing: false,
      falls: 0,
      cancelRestart: () => {},
    }));
  }

  /**
   * Resolves when the machine cannot be started: a worker ended before all were up, or refuses to run in its first
   * life. It may refuse even after it took connections. Exit code 2 gives a ConfigError. A worker that refuses in a
   * later life is restarted like one that crashed: it ran before, so something outside has changed.
   */
  get failed(): Promise<Error> {
    return this.#failed.promise;
  }

  /**
   * Resolves when every worker has taken connections at the shared address.
   *
   * @throws Error a worker's process cannot be started
   */
  async start(): Promise<void> {
    for (const slot of this.#slots) this.#begin(slot);
    await this.#allShare.promise;
  }

  /** Whether some worker takes connections. */
  get isSharing(): boolean {
    return this.#slots.some(({ isSharing }) => isSharing);
  }

  /** Sends a message to every running worker; a worker that is started later gets the same contents from `start`. */
  tell(message: ToWorker): void {
    for (const { life } of this.#slots) life?.send(message);
  }

  /** Stops all workers, and kills those that still run after `timeoutMs`. Resolves when all have ended. */
  async stop(timeoutMs: number): Promise<void> {
    this.#isStopping = true;
    const running = this.#slots.flatMap(({ life }) => life ?? []);
    for (const { cancelRestart } of this.#slots) cancelRestart();
    for (const life of running) life.send({ type: "stop" });
    const cancel = this.#options.clock.after(timeoutMs, () => {
      for (const { name, life } of this.#slots) {
        if (life === undefined) continue;
        this.#options.log.warn(`${name} did not stop in time: ended it`, { pid: life.pid }, { worker: name });
        life.kill();
      }
    });
    await Promise.all(running.map(({ exited }) => exited));
    cancel();
  }

  /** Kills all workers. */
  kill(): void {
    this.#isStopping = true;
    for (const { life } of this.#slots) life?.kill();
  }

  #begin(slot: Slot): void {
    const { clock, start, log } = this.#options;
    const sinceMs = clock.nowMs();
    let refuses = false;
    const life = start(slot.name, (message) => {
      if (message.type === "refuses") refuses = true;
      else if (message.type === "listening") this.#placed(slot, message.port);
      else if (message.type === "sharing") this.#shares(slot, cancelTimer);
    });
    const cancelTimer = clock.after(START_TIMEOUT_MS, () => {
      const worker = slot.name;
      log.error(`${worker} does not come up within ${START_TIMEOUT_MS} ms: ending it`, { pid: life.pid }, { worker });
      life.kill();
    });
    slot.life = life;
    void life.exited.then((code) => {
      cancelTimer();
      this.#ended(slot, code, refuses || code === 2, clock.nowMs() - sinceMs);
    });
  }

  #shares(slot: Slot, cancelTimer: () => void): void {
    cancelTimer();
    slot.isSharing = true;
    if (this.#hasStarted || !this.#slots.every(({ isSharing }) => isSharing)) return;
    this.#hasStarted = true;
    this.#allShare.resolve();
  }

  /** Tells every worker all ports, because a worker that is asked for figures gathers them from the others. */
  #placed(slot: Slot, port: number | undefined): void {
    slot.port = port;
    this.tell({ type: "workers", workers: this.#slots.map(({ name, port }) => ({ name, port })) });
  }

  #ended(slot: Slot, code: number, refuses: boolean, livedMs: number): void {
    const pid = slot.life?.pid;
    slot.life = undefined;
    slot.isSharing = false;
    if (this.#isStopping) return;
    if (!this.#hasStarted || refuses && slot.falls === 0) {
      const what = refuses ? "refuses to run" : "ended before all workers were up";
      const message = `${slot.name} ${what} (exit code ${code}): its log tells why`;
      return this.#failed.resolve(code === 2 ? new ConfigError(message) : new Error(message));
    }
    this.#placed(slot, undefined);
    if (livedMs >= STABLE_MS) slot.falls = 0;
    const what = refuses ? `refuses to run (exit code ${code})` : `has ended with exit code ${code}`;
    this.#fell(slot, what, { pid, code });
  }

  #fell(slot: Slot, what: string, fields?: LogFields): void {
    const { clock, log } = this.#options;
    const delayMs = backoffMs(slot.falls++, RESTART);
    log.warn(`${slot.name} ${what}: starting it again in ${delayMs} ms`, fields, { worker: slot.name, delayMs });
    slot.cancelRestart = clock.after(delayMs, () => this.#beginAgain(slot));
  }

  /** Tries again after a failure: the system may be short of memory or processes only for a while. */
  #beginAgain(slot: Slot): void {
    try {
      this.#begin(slot);
    } catch (error) {
      this.#fell(slot, `cannot be started (${(error as Error).message})`);
    }
  }
}
