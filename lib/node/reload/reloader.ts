/** Reads the file of `--config` again, at a signal or when it has changed, and makes the running program follow it. */
import { type Changes, changesOf, changesText, reloaded } from "../../config/changes.ts";
import type { Config } from "../../config/config.ts";
import { withNewOrigins } from "./check-origins.ts";
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";
import type { ConfigFigures } from "../../http/figures.ts";

/** The time between two looks at the file. Chosen: a look costs 20 us, and an operator waits for it. */
const LOOK_MS = 2_000;
/** A file that has not changed for this long is completely written. Chosen. */
const SETTLE_MS = 200;
/** The time until a refused file is tried again. Chosen: a file that it names, or an origin, may appear later. */
const RETRY_MS = 30_000;
/** The most characters of a fault in `/stats` and on the page. Chosen. */
const MAX_SHOWN = 2_000;

/** A node, or a machine with several. */
export interface Reloadable {
  /** The options in force. */
  readonly config: Config;
  /**
   * Follows these options, all at once or not at all. Does nothing during a stop.
   *
   * @param config differs from its own options only in fields that can change while it runs
   * @throws TypeError, RangeError it cannot serve these groups; nothing has changed
   */
  reload(config: Config): void;
  /** Takes the state of the file, which operators see. */
  toldOfFile(figures: ConfigFigures): void;
}

/** Hears when options are read again, and the result: `undefined`, or the fault because of which they are not followed. */
export interface ReloadWatcher {
  reloading(): void;
  reloaded(fault: string | undefined): void;
}

export interface ReloaderOptions {
  /** The file of `--config`; `undefined`: there is none, or it can be read only once. */
  readonly path: string | undefined;
  /** The text of the file when the program's options were read. */
  readonly text: string | undefined;
  /** May throw. */
  readonly readFile: (path: string) => string;
  /**
   * Reads all options again, including flags and variables.
   *
   * @param running the program's present options: it serves their groups until a restart
   * @throws ConfigError
   */
  readonly readOptions: (readFile: (path: string) => string, running: Config) => Config;
  /** Resolves when the origins of these groups may be used. @throws ConfigError one can never answer */
  readonly checkOrigins: (groups: Config["groups"], serve: Config["serve"]) => Promise<void>;
  readonly program: Reloadable;
  /** @default none */
  readonly watcher?: ReloadWatcher | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/** One process's reloads, one at a time. Requests during a reload lead to one more reload after it. */
export class Reloader {
  readonly #options: ReloaderOptions;
  /** The text of the file at the last reading; `undefined`: it could not be read. */
  #text: string | undefined;
  #figures: ConfigFigures | undefined;
  #running: Promise<void> | undefined;
  #isAgain = false;
  /** Whether a signal or a changed file asked for the next reload. A retry did not. */
  #isAsked = false;
  /** When a refused file is tried again, in Unix milliseconds. */
  #retryAtMs = Infinity;
  #isStopped = false;
  #cancelLook = (): void => {};

  constructor(options: ReloaderOptions) {
    this.#options = options;
    const { path, text, clock } = options;
    if (path === undefined) return;
    this.#text = text;
    this.#tell({ path, readAt: isoOf(clock.nowMs()), needRestart: [] });
    this.#lookLater();
  }

  /** Reads the file again. Resolves when all reloads requested so far are done. Never rejects. */
  reload(): Promise<void> {
    const { path, log, watcher } = this.#options;
    if (this.#isStopped) return Promise.resolve();
    if (path === undefined) {
      // A service manager waits for an answer to its signal.
      watcher?.reloading();
      log.info("there is nothing to read again: --config names no regular file");
      watcher?.reloaded(undefined);
      return Promise.resolve();
    }
    this.#isAsked = true;
    return this.#again(path);
  }

  /** Stops looking at the file, and does not finish a reload that waits for an origin. */
  stop(): void {
    this.#isStopped = true;
    this.#cancelLook();
  }

  #again(path: string): Promise<void> {
    this.#isAgain = true;
    return this.#running ??= this.#run(path);
  }

  async #run(path: string): Promise<void> {
    while (this.#isAgain && !this.#isStopped) {
      const isAsked = this.#isAsked;
      this.#isAgain = this.#isAsked = false;
      // The looks at the file go on meanwhile: they must not order the next try before this one has failed.
      this.#retryAtMs = Infinity;
      const { watcher } = this.#options;
      const before = this.#figures?.fault?.reason;
      // In each pass: a signal during a reload is answered by the next reload.
      if (isAsked) watcher?.reloading();
      let fault: string | undefined;
      try {
        await this.#once(path);
      } catch (error) {
        fault = oneLine((error as Error).message);
        if (!this.#isStopped) this.#failed(path, fault, isAsked);
      }
      const isNews = this.#figures?.fault?.reason !== before;
      if (!isAsked && isNews) watcher?.reloading();
      if (isAsked || isNews) watcher?.reloaded(fault);
    }
    // In the same turn as the last look at #isAgain: a later request starts a new run.
    this.#running = undefined;
  }

  async #once(path: string): Promise<void> {
    const { readOptions, checkOrigins, program, log, clock } = this.#options;
    this.#text = undefined;
    const read = readOptions((each) => {
      const text = this.#options.readFile(each);
      if (each === path) this.#text = text;
      return text;
    }, program.config);
    const changes = changesOf(program.config, read);
    await checkOrigins(withNewOrigins(changes), program.config.serve);
    // A stop may have begun meanwhile. Only reloads change the options, so the comparison still holds.
    if (this.#isStopped) return;
    program.reload(reloaded(program.config, read));
    this.#tell({ path, readAt: isoOf(clock.nowMs()), needRestart: changes.needRestart });
    this.#say(path, changes, log);
  }

  #say(path: string, changes: Changes, log: Log): void {
    const { needRestart } = changes;
    const text = changesText(changes) ?? "nothing has changed";
    log.info(`read ${path} again: ${text}`, {}, { config: path });
    if (needRestart.length === 0) return;
    const said = `${needRestart.join(", ")} ${needRestart.length === 1 ? "has" : "have"} changed`;
    log.warn(`${said} in ${path}: that needs a restart; until then the former values count`, {}, { needRestart });
  }

  #failed(path: string, reason: string, isAsked: boolean): void {
    const { log, clock } = this.#options;
    this.#retryAtMs = clock.nowMs() + RETRY_MS;
    const { fault } = this.#figures!;
    const shown = reason.slice(0, MAX_SHOWN);
    if (!isAsked && fault?.reason === shown) return;
    log.error(`read ${path} again, and changed nothing: ${reason}`, {}, { config: path, reason });
    this.#tell({ ...this.#figures!, fault: { since: fault?.since ?? isoOf(clock.nowMs()), reason: shown } });
  }

  #tell(figures: ConfigFigures): void {
    this.#figures = figures;
    this.#options.program.toldOfFile(figures);
  }

  /** Compares the contents: editors replace the file, and Kubernetes replaces its folder. */
  #lookLater(): void {
    const { clock, path } = this.#options;
    this.#cancelLook = clock.after(LOOK_MS, () => {
      const text = this.#textNow();
      if (text === this.#text || this.#running !== undefined) {
        if (clock.nowMs() >= this.#retryAtMs) void this.#again(path!);
        return this.#lookLater();
      }
      this.#cancelLook = clock.after(SETTLE_MS, () => {
        if (this.#textNow() === text && text !== this.#text) void this.reload();
        this.#lookLater();
      });
    });
  }

  #textNow(): string | undefined {
    try {
      return this.#options.readFile(this.#options.path!);
    } catch {
      return undefined;
    }
  }
}

/** Turns a message with one fault per line into one line for the log. */
function oneLine(message: string): string {
  const lines = message.split("\n").map((line) => line.trim()).filter((line) => line !== "" && line !== "See --help.");
  const [first = "", ...faults] = lines;
  return faults.length === 0 ? first : `${first} ${faults.join("; ")}`;
}

function isoOf(unixMs: number): string {
  return new Date(unixMs).toISOString();
}
