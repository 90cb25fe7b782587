/**
 * Tells systemd the state of this service (sd_notify(3)), by the program systemd-notify: neither runtime has datagrams
 * for Unix sockets, and calls into the C library would need all of Deno's permissions.
 */
import { spawn } from "node:child_process";
import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { process } from "./globals.ts";

/** They tell where systemd listens, how often it expects a sign of life, and where systemd-notify is. */
const VARIABLES = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "PATH"] as const;

/** After this time a message is given up. Chosen: systemd-notify itself waits 5 s for systemd. */
const SEND_TIMEOUT_MS = 8_000;

/** The arguments are the assignments; the environment comes from this process. */
const SCRIPT = 'exec systemd-notify "$@"';
/**
 * `Type=notify-reload` asks for MONOTONIC_USEC, which `systemd-notify` adds since systemd 253. Neither runtime can add it:
 * their monotonic clocks begin with the process, or with the runtime.
 */
const RELOADING_SCRIPT = 'systemd-notify --reloading "$@" 2>/dev/null || exec systemd-notify RELOADING=1 "$@"';
/** The most characters of a status, which systemctl shows in one line. Chosen: the log has the whole text. */
const MAX_STATUS = 200;

/** systemd, if it runs this program as a service of `Type=notify`. */
export class ServiceManager {
  readonly #env: Readonly<Record<string, string>>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #watchdogMs: number | undefined;
  /** The last message. They are sent one after the other, so that systemd does not get the end before the start. */
  #sending: Promise<void> = Promise.resolve();
  #hasFailed = false;
  #isReady = false;
  #isReloading = false;
  #isStopping = false;

  /** @param env the values of `VARIABLES` */
  constructor(env: Readonly<Record<string, string | undefined>>, clock: Clock, log: Log) {
    this.#env = { NOTIFY_SOCKET: env["NOTIFY_SOCKET"] ?? "", PATH: env["PATH"] ?? "" };
    this.#clock = clock;
    this.#log = log;
    const { WATCHDOG_USEC: usec, WATCHDOG_PID: pid } = env;
    const isForThis = pid === undefined || pid === String(process.pid);
    if (isForThis && Number(usec) > 0) this.#watchdogMs = Number(usec) / 1_000;
  }

  /** Tells that this node serves. */
  ready(): void {
    this.#isReady = true;
    void this.#send(SCRIPT, "READY=1", "STATUS=serving");
  }

  /** Tells that this node reads its options again. Not before it is ready: the end of a reload says READY=1. */
  reloading(): void {
    if (!this.#isReady || this.#isStopping) return;
    this.#isReloading = true;
    void this.#send(RELOADING_SCRIPT, "STATUS=reading the options again");
  }

  /** Tells the end of the reload. @param fault why the former options still count; `undefined`: the new ones count */
  reloaded(fault: string | undefined): void {
    if (!this.#isReloading || this.#isStopping) return;
    this.#isReloading = false;
    const text = fault === undefined ? "serving" : `serving by the former options: ${fault.replace(/\s+/g, " ")}`;
    void this.#send(SCRIPT, "READY=1", `STATUS=${text.slice(0, MAX_STATUS)}`);
  }

  /** Tells that this node leaves. That may take `withinMs`, even if the unit allows less. */
  stopping(withinMs: number): void {
    this.#isStopping = true;
    void this.#send(SCRIPT, "STOPPING=1", "STATUS=leaving", `EXTEND_TIMEOUT_USEC=${Math.round(withinMs * 1_000)}`);
  }

  /**
   * Tells that the service lives, twice in the unit's watchdog time, as long as `isAlive` resolves to true. A process
   * with a blocked event loop tells nothing. Does nothing if the unit has no watchdog.
   */
  watch(isAlive: () => Promise<boolean>): void {
    const allowedMs = this.#watchdogMs;
    if (allowedMs === undefined) return;
    const look = async (): Promise<void> => {
      if (await isAlive().catch(() => false)) await this.#send(SCRIPT, "WATCHDOG=1");
      else this.#log.warn("this node does not answer itself: systemd is not told that it lives");
      this.#clock.after(allowedMs / 2, look);
    };
    void look();
  }

  #send(script: string, ...assignments: readonly string[]): Promise<void> {
    return this.#sending = this.#sending.then(async () => {
      const fault = await run(script, assignments, this.#env, this.#clock);
      if (fault === undefined || this.#hasFailed) return;
      this.#hasFailed = true;
      this.#log.warn(`cannot tell systemd how this service is: ${fault}`, {}, { reason: fault });
    });
  }
}

/** @returns systemd, if it listens. @param read reads the values of variables */
export function serviceManager(
  read: (names: readonly string[]) => Record<string, string | undefined>,
  clock: Clock,
  log: Log,
): ServiceManager | undefined {
  const env = read(VARIABLES);
  return env["NOTIFY_SOCKET"] ? new ServiceManager(env, clock, log) : undefined;
}

/**
 * Sends a message; resolves to the reason if that failed. Uses /bin/sh, the only program that Deno's least permissions
 * allow.
 */
function run(
  script: string,
  assignments: readonly string[],
  env: Readonly<Record<string, string>>,
  clock: Clock,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    let errors = "";
    const args = ["-c", script, "sh", ...assignments];
    const child = spawn("/bin/sh", args, { stdio: ["ignore", "ignore", "pipe"], env });
    const cancel = clock.after(SEND_TIMEOUT_MS, () => {
      child.kill("SIGKILL");
      resolve("systemd-notify does not end");
    });
    child.stderr!.on("data", (chunk) => errors = (errors + chunk).slice(-500));
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code) => {
      cancel();
      resolve(code === 0 ? undefined : errors.trim() || `systemd-notify ended with exit code ${code}`);
    });
  });
}
