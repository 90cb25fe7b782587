/**
 * `dict://`, a dictionary server (RFC 2229), asked over a few kept connections on which many words are on the way at
 * once: a server such as dictd takes 45 ms for one word (Nagle's algorithm against delayed acknowledgement), and the same
 * for twenty that were sent together.
 */
import type { Clock } from "../../core/base/clock.ts";
import { ConfigError, NotFoundError, OriginError, OriginTimeoutError, OverloadedError } from "../../core/errors.ts";
import type { Origin } from "../../core/ports.ts";
import type { Fresh } from "../../core/value.ts";
import { LOAD_TIMEOUT_MS, type OriginDeps } from "../deps.ts";
import { type Outcome, UnknownDatabaseError } from "./answer.ts";
import { type Ask, DictConnection } from "./connection.ts";

/** For the check at start-up, which nobody should have to wait for: from its call to its end. */
const CHECK_TIMEOUT_MS = 2_000;
/** dictd makes a process for each connection, and takes 100. */
const MAX_CONNECTIONS = 4;
/** A further connection is opened when each has as many asks as this. */
const GROW_AT_ASKS = 16;
/** Asks on one connection; behind a slow one all others wait. */
const MAX_ASKS_PER_CONNECTION = 64;
/** Asks that wait for room on a connection, before further ones are refused. */
const MAX_WAITING_ASKS = 1_024;
/** RFC 2229, 2.3: a command line, CR LF included. */
const MAX_COMMAND_BYTES = 1_024;

/** The bytes of the definition as the server sent them: a dictionary may hold others than valid UTF-8. */
const CONTENT_TYPE = "text/plain; charset=utf-8";

export interface DictOptions {
  readonly host: string;
  readonly port: number;
  /** A database's name, `*` for all of them, `!` for the first that has the word. */
  readonly database: string;
}

/** First definitions from a DICT server. */
export class DictOrigin implements Origin {
  readonly #options: DictOptions;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #connections = new Set<DictConnection>();
  #waiting: Ask[] = [];
  #closed = false;

  constructor(options: DictOptions, deps: OriginDeps) {
    this.#options = options;
    this.#clock = deps.clock;
    this.#timeoutMs = deps.loadTimeoutMs ?? LOAD_TIMEOUT_MS;
  }

  /**
   * Asks the server at start-up whether it has the database.
   *
   * @returns what to warn of: a server that is not there now may come later
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
   * The first definition of `key`: its lines as they are, each ended by LF.
   *
   * @throws NotFoundError the server has no definition, or no command can carry the word (control characters, length)
   * @throws OriginTimeoutError no answer in time
   * @throws OverloadedError too many asks wait for a connection
   * @throws OriginError the server refused, broke or answered nonsense
   */
  async load(key: string, signal: AbortSignal): Promise<Fresh> {
    signal.throwIfAborted();
    return { body: await this.#define(key, signal, this.#timeoutMs), contentType: CONTENT_TYPE };
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
    // What was lost on a kept connection goes over a new one: the others may be as dead.
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
 * The command for a word. RFC 2229, 2.2: a word is any sequence of quoted strings and of backslashed characters. A quote
 * or a backslash stands between the quoted strings, as dictd takes a backslash inside of one for itself.
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
