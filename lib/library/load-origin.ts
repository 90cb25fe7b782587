/** A function of this program as the origin of a group. */
import type { GroupConfig } from "../config/config.ts";
import type { Clock } from "../core/base/clock.ts";
import { NotFoundError, OriginTimeoutError, OverloadedError } from "../core/errors.ts";
import type { LoadContext } from "../core/ports.ts";
import { traceRecord } from "../core/semantics/trace-context.ts";
import type { Answer } from "../core/value.ts";
import { answerOf, staleOf } from "../origins/module/answer.ts";
import type { LoadOptions } from "../origins/module/contract.ts";
import type { CheckedOrigin } from "../origins/origin.ts";
import { UnansweredError } from "../origins/unanswered.ts";
import type { Codec } from "./codec.ts";

/** A group's function. A reload may replace it; loads in flight go on with the former one. */
export interface Loader {
  load: (key: string, options: LoadOptions) => unknown;
}

/** Calls the function, with the same contract as a module's `load`. */
export class LoadOrigin implements CheckedOrigin {
  readonly #loader: Loader;
  readonly #codec: Codec;
  readonly #config: GroupConfig;
  readonly #clock: Clock;

  constructor(config: GroupConfig, codec: Codec, clock: Clock, loader: Loader) {
    this.#config = config;
    this.#codec = codec;
    this.#clock = clock;
    this.#loader = loader;
  }

  /**
   * Results of the function after the abort do not count.
   *
   * @param signal also aborted after the group's `loadTimeoutMs`
   * @throws NotFoundError it returned nothing, or threw an error of this name
   * @throws OriginTimeoutError, OverloadedError it threw an error of this name, or a TimeoutError
   * @throws OriginError it failed, or returned something that is no value, or a value over the longest one
   */
  async load(key: string, signal: AbortSignal, { stale: held, loading, trace }: LoadContext = {}): Promise<Answer> {
    signal.throwIfAborted();
    const over = Promise.withResolvers<never>();
    const abort = () => over.reject(signal.reason);
    signal.addEventListener("abort", abort);
    const stale = held && staleOf(held, this.#clock.nowMs());
    const { valueBytesMax } = this.#config;
    const reading = { lifetime: this.#config, valueBytesMax, stale, held, signal, loading };
    const { load } = this.#loader;
    const answer = async () => {
      return await answerOf(
        this.#codec.resultOf(await load(key, { signal, stale, trace: traceRecord(trace) })),
        reading,
      );
    };
    try {
      return await Promise.race([answer(), over.promise]);
    } catch (error) {
      throw signal.aborted ? signal.reason : classed(error);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  /** Nothing can be checked before a load. */
  check(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Compares names, as the function may have another copy of this library. */
function classed(error: unknown): Error {
  const { name, message } = error instanceof Error ? error : { name: "", message: String(error) };
  if (name === "NotFoundError") {
    return new NotFoundError(message, { cause: error });
  }
  if (name === "OverloadedError") {
    return new OverloadedError(message, { cause: error });
  }
  const text = `load failed: ${name === "" ? message : `${name}: ${message}`}`;
  if (name === "TimeoutError" || name === "OriginTimeoutError") {
    return new OriginTimeoutError(text, { cause: error });
  }
  return new UnansweredError(text, { cause: error });
}
