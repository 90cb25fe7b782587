/**
 * Many gets in one request: `POST /cache/<group>/_get` with `{"keys":[…]}`. The answer is NDJSON: one line per key, in
 * order of arrival. A line is made when the client has room for it. No get begins while too much waits for the client.
 */
import { Buffer, isUtf8 } from "node:buffer";
import { Cancel } from "../../core/base/cancel.ts";
import type { Clock } from "../../core/base/clock.ts";
import type { Trace } from "../../core/base/trace.ts";
import { NotFoundError } from "../../core/errors.ts";
import type { Hit, Loaded } from "../../core/group/loaded.ts";
import { Waiter } from "../../core/load/flights.ts";
import type { Value } from "../../core/value.ts";
import type { Bodies } from "../admin/body.ts";
import { Refusal } from "../admin/refusal.ts";
import { checkKey } from "../key.ts";
import { SANDBOX } from "../security.ts";
import type { CacheGroup } from "../ports.ts";
import { problemResponse } from "../problem.ts";
import type { HowLoaded } from "./cache-status.ts";
import { isNothing } from "./value-response.ts";

/** Stands in the place of the key. A GET of it is still the get of a key with this name. */
export const BATCH_KEY = "_get";

/** Chosen: the queue of a guarded origin takes 1,000 by default. */
const MAX_KEYS = 1_000;
/** Derived: the most keys, each of the greatest length and quoted, with some room for escapes. */
const MAX_REQUEST_BYTES = 1024 * 1024;
/** An error message shows at most this much of an unknown field. Chosen. */
const MAX_SHOWN_UNITS = 64;
/**
 * Gets in flight plus answers that wait for the client. Chosen: one batch takes a quarter of a node's 1,024 requests to
 * an HTTP origin. All 1,000 keys at once would be one message to each owner, and a second batch would fail as
 * overloaded.
 */
const MAX_OUTSTANDING = 256;
/** The next gets begin together, once no more than this many are left, so that they share messages. */
const FEW_OUTSTANDING = MAX_OUTSTANDING / 2;
/** No get begins while more bytes of values than this wait for the client. Chosen. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024;
/** The server gets the answer in pieces of this size. Chosen. */
const PIECE_BYTES = 64 * 1024;
/** A client that takes no piece for this long loses its answer. Chosen: the same as the time for a request's body. */
const STALL_MS = 30_000;

/** Why a key has no value. */
export interface KeyFailure {
  readonly status: number;
  readonly detail: string;
  readonly cacheStatus: string;
}

/** What the routes do for a batch. */
export interface BatchAnswers {
  /** The group of this name, as it is served now; `undefined`: there is none, or it has become a site. */
  groupNow(name: string): CacheGroup | undefined;
  /** Whether this node has applied all invalidations that the client has seen. @throws BadAfterError */
  reached(request: Request, group: CacheGroup): true | Promise<boolean>;
  /** The `Cache-Status` of a value from memory. */
  hitStatus(group: CacheGroup, hit: Hit): string;
  /** The `Cache-Status` of a value that was loaded. */
  loadedStatus(group: CacheGroup, loaded: Loaded, how: HowLoaded): string;
  /** Describes a key that failed. @param isRefused whether the key was refused before the cache was asked */
  keyFailure(request: Request, error: unknown, group: string, isRefused: boolean): KeyFailure;
  noGroup(name: string): KeyFailure;
  /** The answer to an error before the first get. */
  failed(request: Request, error: unknown, group: string): Response;
  /** The trace of the batch; all its gets share it. */
  traceOf(request: Request): Trace | undefined;
}

/** The answer for one key; each is one line. */
type Answer =
  | { readonly key: string; readonly failure: KeyFailure }
  | { readonly key: string; readonly value: Value; readonly cacheStatus: string };

/** Answers one batch. Never rejects. @param query of the URL, with its `?`; `""` for none */
export async function answerBatch(
  request: Request,
  group: CacheGroup,
  query: string,
  bodies: Bodies,
  clock: Clock,
  answers: BatchAnswers,
): Promise<Response> {
  try {
    if (query.length > 1) throw new Refusal(400, "a batch has no query");
    const keys = keysIn(await bodies.read(request, MAX_REQUEST_BYTES));
    // Once for all keys is enough: this node never goes back in the log.
    const isReached = await answers.reached(request, group);
    const batch = new Batch(request, group.name, keys, !isReached, clock, answers);
    const { signal } = request;
    if (signal.aborted) batch.cancel();
    else signal.addEventListener("abort", () => batch.cancel(), { once: true });
    // Nothing is made in advance: values wait as they are until the client has room.
    return new Response(new ReadableStream(batch, { highWaterMark: 0 }), {
      headers: {
        "content-type": "application/x-ndjson",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "content-security-policy": SANDBOX,
      },
    });
  } catch (error) {
    return error instanceof Refusal ? problemResponse(error.problem) : answers.failed(request, error, group.name);
  }
}

/** The keys in the body of a batch. @throws Refusal it is not `{"keys":[…]}` with at most 1,000 strings */
export function keysIn(body: Uint8Array): readonly string[] {
  const wanted = 'a batch is {"keys":[…]}, with strings';
  let json: unknown;
  try {
    json = JSON.parse(strictDecoder.decode(body));
  } catch {
    throw new Refusal(400, `${wanted}: this is not JSON in UTF-8`);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw new Refusal(400, wanted);
  const { keys, ...others } = json as Record<string, unknown>;
  const [other] = Object.keys(others);
  if (other !== undefined) {
    throw new Refusal(400, `${wanted}: there is no field ${JSON.stringify(other.slice(0, MAX_SHOWN_UNITS))}`);
  }
  if (!Array.isArray(keys)) throw new Refusal(400, wanted);
  if (keys.length > MAX_KEYS) throw new Refusal(413, `a batch has at most ${MAX_KEYS} keys: this has ${keys.length}`);
  if (!keys.every((key) => typeof key === "string")) throw new Refusal(400, wanted);
  return keys;
}

/** The stream of one answer. */
class Batch implements UnderlyingDefaultSource<Uint8Array> {
  readonly #request: Request;
  readonly #groupName: string;
  readonly #keys: readonly string[];
  readonly #isUnkept: boolean;
  readonly #clock: Clock;
  readonly #answers: BatchAnswers;
  /** Aborts the gets in flight. */
  readonly #left = new Cancel();
  #begun = 0;
  #inFlight = 0;
  #waiting: Answer[] = [];
  #waitingBytes = 0;
  /** Lines that are made and not yet handed over. */
  #made = NOTHING;
  #wake = () => {};
  #cancelStall = () => {};

  /** @param isUnkept whether this node is behind the client's place in the log; then no cache may answer */
  constructor(
    request: Request,
    groupName: string,
    keys: readonly string[],
    isUnkept: boolean,
    clock: Clock,
    answers: BatchAnswers,
  ) {
    this.#request = request;
    this.#groupName = groupName;
    this.#keys = keys;
    this.#isUnkept = isUnkept;
    this.#clock = clock;
    this.#answers = answers;
  }

  /** The client has room for a piece. */
  async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    this.#cancelStall();
    this.#begin();
    while (this.#made.length === 0 && this.#waiting.length === 0 && this.#inFlight > 0) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    // After a cancel by the server this does nothing.
    if (this.#left.aborted) return controller.error(this.#left.reason);
    if (this.#made.length === 0) this.#makeLines();
    if (this.#made.length > 0) {
      controller.enqueue(this.#made.subarray(0, PIECE_BYTES));
      this.#made = this.#made.subarray(PIECE_BYTES);
    }
    // The next values load while the client reads this piece.
    this.#begin();
    if (this.#made.length === 0 && this.#waiting.length === 0 && this.#inFlight === 0) return controller.close();
    this.#cancelStall = this.#clock.after(STALL_MS, () => {
      this.cancel();
      controller.error(new Error(`the client has taken nothing for ${STALL_MS} ms`));
    });
  }

  /** The client has gone: the gets in flight end, and no other begins. Idempotent. */
  cancel(): void {
    this.#cancelStall();
    this.#left.abort(new Error("the client went away"));
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#made = NOTHING;
    this.#wake();
  }

  /** Called by a get that has its value. */
  loaded(key: string, group: CacheGroup, loaded: Loaded, how: HowLoaded): void {
    this.#inFlight--;
    this.#found(key, loaded.value, this.#answers.loadedStatus(group, loaded, how));
  }

  /** Called by a get that has failed. */
  failed(key: string, error: unknown): void {
    this.#inFlight--;
    if (this.#left.aborted) return this.#wake();
    this.#arrived({ key, failure: this.#answers.keyFailure(this.#request, error, this.#groupName, false) });
  }

  /** Begins gets, as many as there is room for, all in one tick. */
  #begin(): void {
    if (this.#inFlight + this.#waiting.length > FEW_OUTSTANDING) return;
    const keys = this.#keys;
    while (
      this.#begun < keys.length && !this.#left.aborted && this.#waitingBytes <= MAX_WAITING_BYTES &&
      this.#inFlight + this.#waiting.length < MAX_OUTSTANDING
    ) this.#get(keys[this.#begun++]!);
  }

  /** Follows the rules of a request for this key alone. */
  #get(key: string): void {
    try {
      checkKey(key);
    } catch (error) {
      return this.#arrived({ key, failure: this.#answers.keyFailure(this.#request, error, this.#groupName, true) });
    }
    const group = this.#answers.groupNow(this.#groupName);
    if (group === undefined) return this.#arrived({ key, failure: this.#answers.noGroup(this.#groupName) });
    const hit = this.#isUnkept ? undefined : group.lookup(key);
    if (hit !== undefined) return this.#found(key, hit.value, this.#answers.hitStatus(group, hit));
    const get = new BatchedGet(this, group, key, this.#isUnkept, this.#left, this.#answers.traceOf(this.#request));
    this.#inFlight++;
    try {
      if (this.#isUnkept) group.loadUnkept(key, get);
      else group.load(key, get);
    } catch (error) {
      get.reject(error);
    }
  }

  #found(key: string, value: Value, cacheStatus: string): void {
    if (!isNothing(value)) return this.#arrived({ key, value, cacheStatus });
    const error = new NotFoundError("the origin has no such value");
    this.#arrived({ key, failure: this.#answers.keyFailure(this.#request, error, this.#groupName, false) });
  }

  #arrived(answer: Answer): void {
    if (this.#left.aborted) return;
    this.#waiting.push(answer);
    if ("value" in answer) this.#waitingBytes += answer.value.body.byteLength;
    this.#wake();
  }

  /** Makes the lines of one piece; a long line makes several pieces. */
  #makeLines(): void {
    const lines: Uint8Array[] = [];
    let [count, bytes] = [0, 0];
    while (count < this.#waiting.length && bytes < PIECE_BYTES) {
      const answer = this.#waiting[count++]!;
      if ("value" in answer) this.#waitingBytes -= answer.value.body.byteLength;
      const line = encoder.encode(`${JSON.stringify(this.#told(answer))}\n`);
      lines.push(line);
      bytes += line.byteLength;
    }
    this.#waiting.splice(0, count);
    this.#made = Buffer.concat(lines);
  }

  #told(answer: Answer): object {
    const { key } = answer;
    if ("failure" in answer) {
      const { status, cacheStatus, detail } = answer.failure;
      return { key, status, cacheStatus, detail };
    }
    const { value: { body, contentType, about: { status } }, cacheStatus } = answer;
    const head = { key, status, cacheStatus, contentType };
    return isUtf8(body)
      ? { ...head, body: decoder.decode(body) }
      : { ...head, base64: Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("base64") };
  }
}

/** One key of a batch that waits for its value. */
class BatchedGet extends Waiter<Loaded> implements HowLoaded {
  readonly isUnkept: boolean;
  private readonly batch: Batch;
  private readonly group: CacheGroup;
  private readonly key: string;

  constructor(
    batch: Batch,
    group: CacheGroup,
    key: string,
    isUnkept: boolean,
    left: Cancel,
    trace: Trace | undefined,
  ) {
    super(left, undefined, trace);
    this.batch = batch;
    this.group = group;
    this.key = key;
    this.isUnkept = isUnkept;
  }

  resolve(loaded: Loaded): void {
    this.batch.loaded(this.key, this.group, loaded, this);
  }

  reject(error: unknown): void {
    this.batch.failed(this.key, error);
  }
}

const NOTHING: Uint8Array = new Uint8Array(0);
const encoder = new TextEncoder();
/** Keeps a byte order mark, as it is part of the body. */
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const strictDecoder = new TextDecoder("utf-8", { fatal: true });
