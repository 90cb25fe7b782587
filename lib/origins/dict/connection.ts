/**
 * One connection to a DICT server: the banner, one CLIENT, then pipelined DEFINE commands. Answers come in the order of
 * the commands (RFC 2229, 4), so each line belongs to the oldest command in flight.
 */
import { connect, type Socket } from "node:net";
import type { Clock } from "../../core/base/clock.ts";
import { connectFault } from "../../core/base/connect-fault.ts";
import { OriginError, OriginTimeoutError, OriginUnreachableError } from "../../core/errors.ts";
import { UnansweredError } from "../unanswered.ts";
import { DefineAnswer, type Outcome, ServerLeavesError, type Status, statusOf, unexpected } from "./answer.ts";
import { LineReader } from "./lines.ts";

/** From the start of a connection to the server's banner. Chosen: half of a load's usual time. */
const GREETING_TIMEOUT_MS = 5_000;
/** A connection without asks is closed before the server closes it (dictd does after 600 s). */
const IDLE_TIMEOUT_MS = 300_000;

/** One word to define. `settle` may be called late and more than once: only the first call counts. */
export interface Ask {
  readonly word: string;
  /** The command line, with its CR LF. */
  readonly command: string;
  /** Whether it has its outcome, or its caller has gone. */
  settled: boolean;
  /** Whether it was lost once, on a connection that the server had closed or was about to close. */
  retried: boolean;
  settle(outcome: Outcome): void;
}

export interface ConnectionOptions {
  readonly host: string;
  readonly port: number;
  readonly clock: Clock;
  /** The time for the connection itself, including the look-up of the name. */
  readonly connectTimeoutMs: number;
  /** How long the oldest command may wait for its whole answer: all others on the connection wait behind it. */
  readonly answerTimeoutMs: number;
  /** Called when an ask has left the connection, so that there may be room for another. */
  readonly onRoom: (connection: DictConnection) => void;
  /**
   * Called when the connection has ended. `untouched` are its asks that may be sent again, see {@link DictConnection}.
   */
  readonly onGone: (connection: DictConnection, untouched: Ask[]) => void;
}

/** A command in flight. */
interface InFlight {
  readonly ask: Ask;
  readonly answer: DefineAnswer;
}

/**
 * A server may close an idle connection while commands are on their way, and then it never reads them. Such asks are
 * given back and sent again. They count as lost if no byte has come since, or if the server says that it closes.
 */
export class DictConnection {
  readonly #options: ConnectionOptions;
  readonly #socket: Socket;
  readonly #reader = new LineReader();
  /** Asks to send after the banner. The asks of one tick are sent together, in one write. */
  #unsent: Ask[] = [];
  #inFlight: InFlight[] = [];
  #phase: "greeting" | "client" | "ready" | "gone" = "greeting";
  #flushing = false;
  #kept = false;
  #silentSinceIdle = false;
  #cancelTimer: () => void = () => {};

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#socket = connect({ host: options.host, port: options.port });
    this.#socket.setNoDelay(true);
    this.#socket.on("data", (chunk: Uint8Array) => this.#take(chunk));
    const lost = (message: string, options?: ErrorOptions) => {
      // Before its greeting the server has done nothing.
      const Kind = this.#phase === "greeting" ? OriginUnreachableError : UnansweredError;
      this.destroy(new Kind(message, options));
    };
    this.#socket.on(
      "error",
      (cause) => lost(`the connection to the DICT server broke: ${connectFault(cause.message)}`, { cause }),
    );
    const closed = () => lost("the DICT server closed the connection");
    this.#socket.on("end", closed);
    this.#socket.on("close", closed);
    const { clock, connectTimeoutMs } = options;
    const cancel = clock.after(
      connectTimeoutMs,
      () => lost(`no connection to the DICT server within ${connectTimeoutMs} ms`),
    );
    this.#socket.once("connect", cancel);
    this.#socket.once("close", cancel);
    this.#expectWithin(GREETING_TIMEOUT_MS, "the DICT server did not greet");
  }

  /** How many asks wait, including those whose caller has gone, as the server still answers them. */
  get load(): number {
    return this.#unsent.length + this.#inFlight.length;
  }

  /** Whether it was idle before, so that the server may have closed it. */
  get kept(): boolean {
    return this.#kept;
  }

  get idle(): boolean {
    return this.#phase === "ready" && this.load === 0;
  }

  send(ask: Ask): void {
    if (this.#phase === "gone") throw new TypeError("Cannot send on a connection that is gone");
    this.#unsent.push(ask);
    this.#flushSoon();
  }

  /** Drops an ask that was not sent yet. One in flight stays, as its answer will come. */
  forget(ask: Ask): void {
    const before = this.#unsent.length;
    this.#unsent = this.#unsent.filter((other) => other !== ask);
    if (this.#unsent.length < before) this.#afterLeaving();
  }

  /** Ends the connection. Its asks fail with `error`, or are given back. */
  destroy(error: Error): void {
    if (this.#phase === "gone") return;
    const isLate = error instanceof OriginTimeoutError;
    const mayRetry = this.#kept && (this.#silentSinceIdle && !isLate || error instanceof ServerLeavesError);
    // The oldest ask is too late; the others only waited behind it.
    const oldest = isLate && this.#phase === "ready" ? this.#inFlight[0]?.ask : undefined;
    this.#phase = "gone";
    this.#cancelTimer();
    this.#socket.destroy();
    const untouched: Ask[] = [];
    for (const ask of [...this.#inFlight.map(({ ask }) => ask), ...this.#unsent]) {
      if (ask.settled) continue;
      if ((mayRetry || oldest !== undefined && ask !== oldest) && !ask.retried) untouched.push(ask);
      else ask.settle({ error });
    }
    this.#inFlight = [];
    this.#unsent = [];
    this.#options.onGone(this, untouched);
  }

  /** Sends QUIT when the connection is idle, and ends it. */
  close(): void {
    if (this.idle) this.#socket.end("QUIT\r\n");
    this.destroy(new OriginError("the origin is closed"));
  }

  #flushSoon(): void {
    if (this.#flushing || this.#phase === "greeting") return;
    this.#flushing = true;
    queueMicrotask(() => this.#flush());
  }

  #flush(prelude = ""): void {
    this.#flushing = false;
    if (this.#phase === "gone") return;
    const asks = this.#unsent;
    this.#unsent = [];
    const wasEmpty = this.#inFlight.length === 0;
    for (const ask of asks) this.#inFlight.push({ ask, answer: new DefineAnswer(ask.word) });
    const text = prelude + asks.map(({ command }) => command).join("");
    if (text === "") return;
    this.#socket.write(text);
    if (wasEmpty) this.#expectWithin(this.#options.answerTimeoutMs, "the DICT server did not answer");
  }

  #take(chunk: Uint8Array): void {
    this.#silentSinceIdle = false;
    try {
      this.#reader.push(chunk, (bytes, start, end) => {
        this.#takeLine(bytes, start, end);
        // The caller of the last answer may have closed the origin.
        return this.#phase !== "gone";
      });
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  #takeLine(bytes: Uint8Array, start: number, end: number): void {
    if (this.#phase === "greeting" || this.#phase === "client") {
      return this.#takeHandshake(statusOf(bytes.subarray(start, end)));
    }
    const oldest = this.#inFlight[0];
    if (oldest === undefined) throw unexpected(statusOf(bytes.subarray(start, end)));
    const outcome = oldest.answer.take(bytes, start, end);
    if (outcome === undefined) return;
    this.#inFlight.shift();
    oldest.ask.settle(outcome);
    this.#afterLeaving();
  }

  #takeHandshake(status: Status): void {
    if (this.#phase === "greeting") {
      if (status.code !== 220) throw unexpected(status);
      this.#phase = "client";
      this.#flush('CLIENT "muster"\r\n');
      this.#expectWithin(this.#options.answerTimeoutMs, "the DICT server did not answer");
      return;
    }
    // A server that does not know CLIENT (500, 502) does not need it.
    if (status.code !== 250 && status.code < 500) throw unexpected(status);
    this.#phase = "ready";
    this.#afterLeaving();
  }

  /** Called when an ask has left. Either the next one is now the oldest, or the connection is idle. */
  #afterLeaving(): void {
    if (this.#phase !== "ready") return;
    if (this.#inFlight.length > 0) {
      this.#expectWithin(this.#options.answerTimeoutMs, "the DICT server did not answer");
    } else if (this.#unsent.length === 0) {
      this.#kept = true;
      this.#silentSinceIdle = true;
      this.#cancelTimer();
      this.#cancelTimer = this.#options.clock.after(IDLE_TIMEOUT_MS, () => this.close());
    }
    this.#options.onRoom(this);
  }

  #expectWithin(timeoutMs: number, what: string): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#options.clock.after(timeoutMs, () => {
      this.destroy(new OriginTimeoutError(`${what} within ${timeoutMs} ms`));
    });
  }
}
