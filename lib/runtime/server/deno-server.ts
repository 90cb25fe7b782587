/**
 * The server under Deno. It has no time-outs, and it ends when it cannot accept a connection. Only its end closes idle
 * connections. So this code replaces it by a new server on the same port.
 */
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";
import { Deno, type DenoServer, type Fetch } from "../globals.ts";

/** The port becomes free some 8 ms after the former server released it (measured). */
const RETRY_MS = 2;
/** The interval after QUICK_RETRIES attempts, and the wait after a server that could not accept. Chosen. */
const SLOW_RETRY_MS = 100;
/** The number of attempts at the short interval; then the log says so. Chosen. */
const QUICK_RETRIES = 100;

/** A server that is replaced when it ends. The server that got a request also sends its answer. */
export class RenewedServer {
  readonly port: number;
  readonly #serve: (port: number) => DenoServer;
  readonly #clock: Clock;
  readonly #log: Log;
  /** `undefined` while it is being replaced. */
  #current: DenoServer | undefined;
  /** Former servers with answers in flight. */
  readonly #ending = new Set<Promise<void>>();
  #isStopped = false;
  /** Whether an end was logged. Once is enough, as a crowd can make the server end many times a second. */
  #isTold = false;
  #cancelRetry = () => {};

  /** @throws Error it cannot listen at the address */
  constructor(
    address: { hostname: string; port: number; reusePort: boolean },
    fetch: Fetch,
    clock: Clock,
    log: Log,
  ) {
    this.#clock = clock;
    this.#log = log;
    // By default Deno writes a broken answer to standard error with a stack.
    const onError = (error: unknown) => {
      log.debug(`an answer broke off: ${error instanceof Error ? error.message : String(error)}`);
      return new Response(null, { status: 500 });
    };
    this.#serve = (port) => Deno!.serve({ ...address, port, onListen() {}, onError }, fetch);
    const first = this.#serve(address.port);
    this.port = first.addr.port;
    this.#follow(first);
  }

  #follow(server: DenoServer): void {
    this.#current = server;
    server.finished.catch((error: unknown) => {
      if (this.#current !== server || this.#isStopped) return;
      if (!this.#isTold) {
        this.#log.warn(`the server ended and starts anew; its idle connections are ended: ${messageOf(error)}`);
      }
      this.#isTold = true;
      // A server that cannot accept keeps its connections until it is shut down.
      this.relieve(SLOW_RETRY_MS);
    });
  }

  /**
   * Ends all connections without a whole request, and all WebSockets. No connection can open until the port is free.
   *
   * @param delayMs the wait before it listens on the port again
   */
  relieve(delayMs: number = RETRY_MS): void {
    const former = this.#current;
    if (former === undefined || this.#isStopped) return;
    this.#current = undefined;
    const ended = former.shutdown().catch(() => {}).finally(() => this.#ending.delete(ended));
    this.#ending.add(ended);
    this.#cancelRetry = this.#clock.after(delayMs, () => this.#renew(1));
  }

  #renew(tries: number): void {
    if (this.#isStopped) return;
    try {
      this.#follow(this.#serve(this.port));
    } catch (error) {
      if (tries === QUICK_RETRIES) this.#log.error(`cannot listen on port ${this.port} again: ${messageOf(error)}`);
      const delayMs = tries < QUICK_RETRIES ? RETRY_MS : SLOW_RETRY_MS;
      this.#cancelRetry = this.#clock.after(delayMs, () => this.#renew(tries + 1));
    }
  }

  /** Accepts no more connections. Resolves when the requests in flight are answered. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelRetry();
    await Promise.all([this.#current?.shutdown(), ...this.#ending]);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
