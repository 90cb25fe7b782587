/**
 * `dict://`, a dictionary server (RFC 2229), asked over a few kept connections with pipelined words. Measured with dictd:
 * one word takes 45 ms (Nagle's algorithm and delayed acknowledgement), and twenty sent together take the same 45 ms.
 */
import type { Clock } from "../../core/base/clock.ts";
import { MAX_BODY_BYTES } from "../../core/base/limits.ts";
import { ConfigError, NotFoundError, OriginError, OriginTimeoutError, OverloadedError } from "../../core/errors.ts";
import type { Origin } from "../../core/ports.ts";
import type { Answer } from "../../core/value.ts";
import { connectTimeoutOf, LOAD_TIMEOUT_MS, type OriginDeps } from "../deps.ts";
import { type Outcome, UnknownDatabaseError } from "./answer.ts";
import { type Ask, DictConnection } from "./connection.ts";

/** The time for the whole check at start-up. Chosen: a warning should come with the first log lines. */
const CHECK_TIMEOUT_MS = 2_000;
/** Chosen: dictd starts a process for each connection, and accepts 100 in all. */
const MAX_CONNECTIONS = 4;
/** Another connection opens when each has this many asks. Chosen: dictd answers about this many in 45 ms. */
const GROW_AT_ASKS = 16;
/** The most asks on one connection. Chosen low, as all of them wait behind a slow one. */
const MAX_ASKS_PER_CONNECTION = 64;
/** The most asks that wait for room on a connection; further ones are refused. Chosen: four times those in flight. */
const MAX_WAITING_ASKS = 1_024;
/** RFC 2229, 2.3: a command line, CR LF included. */
const MAX_COMMAND_BYTES = 1_024;

/** The body is the server's bytes unchanged, so it may hold invalid UTF-8. */
const CONTENT_TYPE = "text/plain; charset=utf-8";

export interface DictOptions {
  readonly host: string;
  readonly port: number;
  /** A database's name, `*` for all of them, `!` for the first that has the word. */
  readonly database: string;
}

/** Gets first definitions from a DICT server. */
export class DictOrigin implements Origin {
  readonly #options: DictOptions;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #valueBytesMax: number;
  readonly #connections = new Set<DictConnection>();
  #waiting: Ask[] = [];
  #closed = false;

  constructor(options: DictOptions, deps: OriginDeps) {
    this.#options = options;
    this.#clock = deps.clock;
    this.#timeoutMs = deps.loadTimeoutMs ?? LOAD_TIMEOUT_MS;
    this.#valueBytesMax = deps.valueBytesMax ?? MAX_BODY_BYTES;
  }

  /**
   * Asks the server at start-up whether it has the database.
   *
   * @returns a warning when the server does not answer: it may start later
   * @throws ConfigError the server has no such database
   */
  async check(): Promise<string | undefined> {
    const { host, port, database } = this.#options;
    try {
      await this.#define("dictionary", undefined, CHECK_TIMEOUT_MS);
    } catch (error) {
      if (error instanceof NotFoundError) return undefined;
      if (error instanceof UnknownDatabaseError) {
        throw new ConfigError(
          `Cannot use dict://${host}:${port}/${database} as the server has no such database: ${error.message}`,
          { cause: error },
        );
      }
      return `dict://${host}:${port} cannot be asked now: ${(error as Error).message}`;
    }
    return undefined;
  }

  /**
   * Loads the first definition of `key`: its lines unchanged, each ended by LF.
   *
   * @throws NotFoundError the server has no definition, or no command can carry the word (control characters, length)
   * @throws OriginTimeoutError no answer in time
   * @throws OverloadedError too many asks wait for a connection
   * @throws OriginUnreachableError no connection, or it ended before the greeting
   * @throws OriginError the server refused, broke or answered nonsense, or more than the longest value
   */
  async load(key: string, signal: AbortSignal): Promise<Answer> {
    signal.throwIfAborted();
    const body = await this.#define(key, signal, this.#timeoutMs);
    if (body.length > this.#valueBytesMax) {
      throw new OriginError(`the definition is longer than the longest value, which has ${this.#valueBytesMax} bytes`);
    }
    return { body, contentType: CONTENT_TYPE };
  }

  close(): Promise<void> {
    this.#closed = true;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const ask of waiting) ask.settle({ error: new OriginError("the origin is closed") });
    for (const connection of [...this.#connections]) connection.close();
    return Promise.resolve();
  }

  #define(word: string, signal: AbortSignal | undefined, timeoutMs: number): Promise<Uint8Array<ArrayBuffer>> {
    return new Promise((resolve, reject) => {
      const command = defineCommand(this.#options.database, word);
      if (this.#closed) throw new OriginError("the origin is closed");
      if (this.#waiting.length >= MAX_WAITING_ASKS) {
        throw new OverloadedError(`${MAX_WAITING_ASKS} words wait for the DICT server already`);
      }
      const ask: Ask = {
        word,
        command,
        settled: false,
        retried: false,
        settle: (outcome: Outcome) => {
          if (ask.settled) return;
          ask.settled = true;
          cancelTimer();
          signal?.removeEventListener("abort", onAbort);
          if ("error" in outcome) reject(outcome.error);
          else resolve(outcome.definition);
        },
      };
      const leave = (error: Error) => {
        ask.settle({ error });
        this.#waiting = this.#waiting.filter((other) => other !== ask);
        for (const connection of this.#connections) connection.forget(ask);
      };
      const onAbort = () => leave(signal!.reason);
      const cancelTimer = this.#clock.after(timeoutMs, () => {
        leave(new OriginTimeoutError(`the DICT server did not answer within ${timeoutMs} ms`));
      });
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiting.push(ask);
      this.#dispatch();
    });
  }

  /** Gives asks to connections, in their order, while there is room. */
  #dispatch(): void {
    while (this.#waiting.length > 0) {
      const connection = this.#connectionFor(this.#waiting[0]!);
      if (connection === undefined) return;
      connection.send(this.#waiting.shift()!);
    }
  }

  #connectionFor(ask: Ask): DictConnection | undefined {
    const all = [...this.#connections];
    // An ask that was lost on a kept connection needs a new connection, as the other kept ones may be closed too.
    const best = leastLoaded(ask.retried ? all.filter((connection) => !connection.kept) : all);
    if (best !== undefined && best.load < GROW_AT_ASKS) return best;
    if (all.length < MAX_CONNECTIONS) return this.#open();
    const taken = best ?? leastLoaded(all)!;
    return taken.load < MAX_ASKS_PER_CONNECTION ? taken : undefined;
  }

  #open(): DictConnection {
    const connection = new DictConnection({
      host: this.#options.host,
      port: this.#options.port,
      clock: this.#clock,
      connectTimeoutMs: connectTimeoutOf(this.#timeoutMs),
      answerTimeoutMs: this.#timeoutMs,
      onRoom: () => this.#dispatch(),
      onGone: (gone, untouched) => {
        this.#connections.delete(gone);
        for (const ask of untouched) ask.retried = true;
        if (this.#closed) {
          for (const ask of untouched) ask.settle({ error: new OriginError("the origin is closed") });
        } else this.#waiting.unshift(...untouched);
        this.#dispatch();
      },
    });
    this.#connections.add(connection);
    return connection;
  }
}

function leastLoaded(connections: readonly DictConnection[]): DictConnection | undefined {
  let least = connections[0];
  for (const connection of connections) if (connection.load < least!.load) least = connection;
  return least;
}

/**
 * The command for a word. RFC 2229, 2.2: a word is any sequence of quoted strings and escaped characters. A quote or a
 * backslash is put between quoted strings, because dictd takes a backslash inside one literally.
 *
 * @throws NotFoundError control characters (a line break would begin a second command), or over 1,024 bytes
 */
function defineCommand(database: string, word: string): string {
  // deno-lint-ignore no-control-regex
  if (word === "" || /[\x00-\x1f\x7f-\x9f\u2028\u2029]/.test(word) || !word.isWellFormed()) {
    throw new NotFoundError(`no dictionary can hold ${JSON.stringify(word)}`);
  }
  const quoted = word.replaceAll(/[^"\\]+|["\\]/g, (part) => part === '"' || part === "\\" ? `\\${part}` : `"${part}"`);
  const command = `DEFINE ${database} ${quoted}\r\n`;
  if (new TextEncoder().encode(command).length > MAX_COMMAND_BYTES) {
    throw new NotFoundError(`a word of ${word.length} characters does not fit into a DICT command`);
  }
  return command;
}
