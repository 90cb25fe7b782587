/** `module:./origin.ts`: an origin in code, which runs in this process. */
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import type { Clock } from "../../core/base/clock.ts";
import { withTimeout } from "../../core/base/time/timeout.ts";
import { ConfigError, NotFoundError, OriginError, OriginTimeoutError, OverloadedError } from "../../core/errors.ts";
import type { LoadContext, Origin } from "../../core/ports.ts";
import { traceRecord } from "../../core/semantics/trace-context.ts";
import type { Answer } from "../../core/value.ts";
import { lifetimeOf, LOAD_TIMEOUT_MS, type OriginDeps } from "../deps.ts";
import { UnansweredError } from "../unanswered.ts";
import { answerOf, staleOf } from "./answer.ts";
import type { Load, LoadOptions } from "./contract.ts";
import { importModule, urlOfModule } from "./import-module.ts";

/** Calls `load` of a module that an operator has named. */
export class ModuleOrigin implements Origin {
  readonly #url: URL;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #deps: OriginDeps;
  readonly #closing = new AbortController();
  #load: Promise<Load> | undefined;

  /** @param options.specifier as {@link parseOrigin} has accepted it */
  constructor({ specifier }: { readonly specifier: string }, deps: OriginDeps) {
    this.#url = urlOfModule(specifier);
    this.#clock = deps.clock;
    this.#timeoutMs = deps.loadTimeoutMs ?? LOAD_TIMEOUT_MS;
    this.#deps = deps;
  }

  /**
   * Results of the module after the abort or the end of the time do not count.
   *
   * @throws NotFoundError it returned nothing, or threw an error of this name
   * @throws OriginTimeoutError it took too long, or threw a TimeoutError as AbortSignal.timeout does
   * @throws OverloadedError it threw an error of this name
   * @throws UnansweredError it threw any other error
   * @throws OriginError it returned something that is no value, or a value over the longest one
   */
  async load(key: string, signal: AbortSignal, { stale: held, loading, trace }: LoadContext = {}): Promise<Answer> {
    signal.throwIfAborted();
    const late = new AbortController();
    const cancel = this.#clock.after(this.#timeoutMs, () => {
      late.abort(new OriginTimeoutError(`${this.#name} did not end within ${this.#timeoutMs} ms`));
    });
    const within = AbortSignal.any([signal, late.signal, this.#closing.signal]);
    const stale = held && staleOf(held, this.#clock.nowMs());
    try {
      return await unlessAborted(within, async () => {
        const result = await this.#called(key, { signal: within, stale, trace: traceRecord(trace) });
        const { valueBytesMax } = this.#deps;
        const reading = { lifetime: lifetimeOf(this.#deps), valueBytesMax, stale, held, signal: within, loading };
        return await answerOf(result, reading);
      });
    } catch (error) {
      if (within.aborted) throw within.reason;
      throw this.#classed(error);
    } finally {
      cancel();
    }
  }

  /** @throws ConfigError the module cannot be imported, or exports no `load` */
  async check(): Promise<string | undefined> {
    const late = `${this.#name} has not been imported within ${this.#timeoutMs} ms: its loads wait for that`;
    return await withTimeout(this.#clock, this.#timeoutMs, async () => void await this.#imported(), late);
  }

  /** Makes loads in flight fail. The module itself stays, as no runtime can unload one. */
  close(): Promise<void> {
    this.#closing.abort(new OriginError("the origin is closed"));
    return Promise.resolve();
  }

  async #called(key: string, options: LoadOptions) {
    const load = await this.#imported();
    return await load(key, options);
  }

  #imported(): Promise<Load> {
    return this.#load ??= importModule(this.#url).then((module) => this.#loadOf(module));
  }

  #loadOf(module: Readonly<Record<string, unknown>>): Load {
    const other = module.default;
    if (typeof module.load === "function") return module.load as Load;
    if (typeof other === "function") return other as Load;
    if (typeof other === "object" && other !== null && typeof (other as { load?: unknown }).load === "function") {
      return (key, options) => (other as { load: Load }).load(key, options);
    }
    const rule = "it must export load: export function load(key, { signal, stale }) { … }";
    throw new ConfigError(`Cannot use the module ${fileURLToPath(this.#url)}: ${rule}`);
  }

  /** Compares names, because the module's own copy of a library has another class. */
  #classed(error: unknown): Error {
    const { name, message } = error instanceof Error ? error : { name: "", message: String(error) };
    if (name === "NotFoundError") return new NotFoundError(message, { cause: error });
    const text = `${this.#name}: ${message}${this.#placeOf(error)}`;
    if (name === "OverloadedError") return new OverloadedError(text, { cause: error });
    if (name === "TimeoutError" || name === "OriginTimeoutError") return new OriginTimeoutError(text, { cause: error });
    if (error instanceof OriginError) return new OriginError(text, { cause: error });
    return new UnansweredError(text, { cause: error });
  }

  /** The place in the module that threw the error, for the log: ` (line 3, column 9)`. */
  #placeOf(error: unknown): string {
    const stack = error instanceof Error ? error.stack ?? "" : "";
    const after = stack.split(`${this.#name}:`)[1];
    const place = /^(\d+):(\d+)/.exec(after ?? "");
    return place === null ? "" : ` (line ${place[1]}, column ${place[2]})`;
  }

  /** The name of the module for messages. */
  get #name(): string {
    return basename(fileURLToPath(this.#url));
  }
}

/** The result of `work`, unless the signal aborts first. @throws the signal's reason */
function unlessAborted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    work().then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
