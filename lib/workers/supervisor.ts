/** Keeps the workers of a machine running, and ends them together. Knows no runtime: what starts them is handed in. */
import { type Backoff, backoffMs } from "../core/base/backoff.ts";
import type { Clock } from "../core/base/clock.ts";
import { ConfigError } from "../core/errors.ts";
import type { Log } from "../core/base/log.ts";
import type { FromWorker, ToWorker } from "./messages.ts";

/** One life of a worker. */
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
  /** @throws Error it cannot be started at all */
  readonly start: (name: string, onMessage: (message: FromWorker) => void) => WorkerProcess;
  readonly clock: Clock;
  readonly log: Log;
}

const RESTART: Backoff = { firstMs: 100, mostMs: 10_000 };
/** After so long a life the next end is the first one again. */
const STABLE_MS = 30_000;
/** A worker that does not share the address by then hangs, and is ended. */
const START_TIMEOUT_MS = 30_000;

interface Slot {
  readonly name: string;
  life: WorkerProcess | undefined;
  /** Of its own listener. */
  port: number | undefined;
  isSharing: boolean;
  /** Ends in a row, each after a short life; 0 in its first life alone. */
  falls: number;
  cancelRestart: () => void;
}

/** Starts workers, starts each again that falls, and stops them all. */
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
   * Resolves when the machine cannot be started: a worker has ended before all were up, or refuses to run in its first
   * life, as it may find out later than it takes connections. ConfigError where the worker's exit code says so. What a later
   * life refuses has changed since all were well: it is a fall like any other, and the others serve on.
   */
  get failed(): Promise<Error> {
    return this.#failed.promise;
  }

  /**
   * Resolves when every worker takes connections at the shared address, each having been so once.
   *
   * @throws Error a worker cannot be started at all
   */
  async start(): Promise<void> {
    for (const slot of this.#slots) this.#begin(slot);
    await this.#allShare.promise;
  }

  /** Has all of them stop, and ends those that still run after `timeoutMs`. Resolves when none is left. */
  async stop(timeoutMs: number): Promise<void> {
    this.#isStopping = true;
    const running = this.#slots.flatMap(({ life }) => life ?? []);
    for (const { cancelRestart } of this.#slots) cancelRestart();
    for (const life of running) life.send({ type: "stop" });
    const cancel = this.#options.clock.after(timeoutMs, () => {
      for (const { name, life } of this.#slots) {
        if (life === undefined) continue;
        this.#options.log.warn(`${name} did not stop in time: ended it`, { pid: life.pid });
        life.kill();
      }
    });
    await Promise.all(running.map(({ exited }) => exited));
    cancel();
  }

  /** Ends all at once. */
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
      log.error(`${slot.name} does not come up within ${START_TIMEOUT_MS} ms: ending it`, { pid: life.pid });
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

  /** Everyone is told where everyone is: figures are gathered by whoever is asked for them. */
  #placed(slot: Slot, port: number | undefined): void {
    slot.port = port;
    const workers = this.#slots.map(({ name, port }) => ({ name, port }));
    for (const { life } of this.#slots) life?.send({ type: "workers", workers });
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

  #fell(slot: Slot, what: string, fields?: Record<string, unknown>): void {
    const { clock, log } = this.#options;
    const delayMs = backoffMs(slot.falls++, RESTART);
    log.warn(`${slot.name} ${what}: starting it again in ${delayMs} ms`, fields);
    slot.cancelRestart = clock.after(delayMs, () => this.#beginAgain(slot));
  }

  /** A machine that is short of memory or of processes now may have them again later. */
  #beginAgain(slot: Slot): void {
    try {
      this.#begin(slot);
    } catch (error) {
      this.#fell(slot, `cannot be started (${(error as Error).message})`);
    }
  }
}
