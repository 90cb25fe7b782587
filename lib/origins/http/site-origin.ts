/** `http(s)://host/base/*`: a whole web site as an origin, for a shared HTTP cache (RFC 9111) in front of it. */
import { Buffer } from "node:buffer";
import type { Clock } from "../../core/base/clock.ts";
import type { Trace } from "../../core/base/trace.ts";
import { MAX_BODY_BYTES, MAX_KEY_BYTES } from "../../core/base/limits.ts";
import { BadKeyError, OriginError, OriginTimeoutError, PassThroughError } from "../../core/errors.ts";
import { type Invalidation, invalidationOf, MAX_NAMES } from "../../core/invalidation/message.ts";
import type { LifetimePolicy } from "../../core/lifetime/policy.ts";
import type { ForwardedAnswer, ForwardedRequest, LoadContext, LoadingBody, Origin } from "../../core/ports.ts";
import { freshened, isAbout, unconditional, validatorsOf } from "../../core/semantics/conditional.ts";
import { endToEnd, type Fields, linesOf, without } from "../../core/semantics/fields.ts";
import { type Freshness, freshnessOf, hasExplicitLifetime } from "../../core/semantics/freshness.ts";
import { invalidatedTags, TagReader } from "../../core/semantics/tags.ts";
import { tracedBy } from "../../core/semantics/trace-context.ts";
import { selectionOf, varyingNames } from "../../core/semantics/vary.ts";
import type { Answer, Selection, Value } from "../../core/value.ts";
import { connectTimeoutOf, lifetimeOf, LOAD_TIMEOUT_MS, type OriginDeps } from "../deps.ts";
import { contentTypeOf, freshnessPolicy, keptFields, keptInDoubt, readWhole, taggedBy, withinDoubt } from "./answer.ts";
import { collect, discard, type Exchanged, HttpClient } from "./client.ts";
import { leadsOut } from "./dot-segments.ts";
import { ORIGIN_IDLE_MS, passThrough } from "./through.ts";

/** Fields that are set again for the next hop. */
const OF_THIS_HOP: ReadonlySet<string> = new Set(["host", "content-length", "expect"]);

/** The characters that a request line may have; a fragment is not allowed (RFC 9112, section 3.2.1). */
const TARGET = /^[\x21\x22\x24-\x7e]*$/;

/** A site, one request per load. Redirects are answers like any other. */
export class SiteOrigin implements Origin {
  readonly #base: URL;
  readonly #client: HttpClient;
  readonly #clock: Clock;
  readonly #lifetime: LifetimePolicy;
  readonly #deps: OriginDeps;
  readonly #closing = new AbortController();
  readonly #tags = new TagReader();

  /** @param options.base ends with a slash; keys are appended to it */
  constructor(options: { readonly base: string }, deps: OriginDeps) {
    this.#base = new URL(options.base);
    const connectTimeoutMs = connectTimeoutOf(deps.loadTimeoutMs ?? LOAD_TIMEOUT_MS);
    this.#client = new HttpClient(this.#base, deps.clock, { connectTimeoutMs, lookup: deps.lookup });
    this.#clock = deps.clock;
    this.#lifetime = lifetimeOf(deps);
    this.#deps = deps;
  }

  /**
   * One GET. If a stale value has a validator, the site may confirm it.
   *
   * @throws BadKeyError the path leads out of the site; OriginError the answer was cut; OriginUnreachableError no
   * answer; OriginTimeoutError; OverloadedError; PassThroughError a body over the longest value
   */
  async load(key: string, signal: AbortSignal, { stale, request, loading, trace }: LoadContext = {}): Promise<Answer> {
    return await this.#timed(signal, async (within) => {
      const asked = unconditional(request?.fields ?? []);
      const validators = stale === undefined ? [] : validatorsOf(stale.about.fields);
      const answer = await this.#get(key, [...asked, ...validators], trace, within);
      if (answer.status !== 304) return await this.#whole(key, answer, asked, within, loading);
      discard(answer, this.#clock);
      if (stale !== undefined && validators.length > 0 && isAbout(stale.about.fields, answer.fields)) {
        return this.#freshened(stale, answer, asked);
      }
      if (validators.length === 0) throw new OriginError(`${this.#name(key)} answered 304, which nobody asked for`);
      return await this.#whole(key, await this.#get(key, asked, trace, within), asked, within, loading);
    });
  }

  /**
   * Sends a request of any method with its body. Streams both ways, and never retries. Throws the errors of `load` without
   * PassThroughError; also RequestBodyError.
   */
  async forward({ method, key, fields, body, trace }: ForwardedRequest, signal: AbortSignal): Promise<ForwardedAnswer> {
    const target = this.#checkedTarget(key);
    const sent = { method, target, fields: this.#outgoing(tracedBy(trace, fields), body !== null) };
    const within = AbortSignal.any([signal, this.#closing.signal]);
    // A load may be silent for `loadTimeoutMs`, so other requests may be too.
    const idleMs = Math.max(ORIGIN_IDLE_MS, this.#deps.loadTimeoutMs ?? LOAD_TIMEOUT_MS);
    const through = { client: this.#client, clock: this.#clock, idleMs, name: this.#name(key) };
    const { answer, body: content } = await passThrough(sent, body, within, through);
    return {
      status: answer.status,
      fields: without(endToEnd(answer.fields), new Set(["age"])),
      body: content,
      isStorable: this.#freshness(answer, fields).isStorable,
      kept: method === "POST" ? this.#keptOf(key, answer, fields) : undefined,
    };
  }

  /**
   * The answer to a POST serves later GETs if it has a lifetime, and its `Content-Location` says that it is the new
   * state of the requested URI (RFC 9110, sections 8.7 and 9.3.3).
   */
  #keptOf(key: string, answer: Exchanged, fields: Fields): Omit<Answer, "body"> | undefined {
    const at = this.#base.origin + this.#target(key);
    const [location, another] = linesOf(answer.fields, "content-location");
    if (answer.status !== 200 || location === undefined || another !== undefined) return undefined;
    if (!URL.canParse(location, at) || new URL(location, at).href !== new URL(at).href) return undefined;
    const asked = unconditional(fields);
    const freshness = this.#freshness(answer, asked);
    if (!freshness.isStorable || freshness.freshMs <= 0 || !hasExplicitLifetime(answer.fields)) return undefined;
    try {
      return this.#aboutOf(key, answer, asked, freshness);
    } catch (error) {
      // Its fields are too long to keep. The site has done the work, so the client still gets the answer.
      if (error instanceof OriginError) return undefined;
      throw error;
    }
  }

  /**
   * The changes by a successful unsafe request: its own key, the keys that `Location` and `Content-Location` name on
   * this site (RFC 9111, section 4.4), and the tags that `Cache-Group-Invalidation` names (RFC 9875, section 3).
   *
   * @returns `undefined`: it changed nothing that a cache can hold
   */
  changedBy(key: string, answer: Fields): Invalidation | undefined {
    const at = this.#base.origin + this.#target(key);
    const named = [...linesOf(answer, "location"), ...linesOf(answer, "content-location")];
    const others = named.filter((reference) => URL.canParse(reference, at)).map((reference) => new URL(reference, at))
      .filter(({ origin, pathname }) => origin === this.#base.origin && pathname.startsWith(this.#base.pathname))
      .map(({ pathname, search }) => (pathname + search).slice(this.#base.pathname.length));
    const keys = [...new Set([key, ...others])].filter((changed) => Buffer.byteLength(changed) <= MAX_KEY_BYTES);
    const tags = invalidatedTags(answer);
    if (tags === "any" || keys.length + tags.length > MAX_NAMES) return invalidationOf({ all: true });
    return keys.length + tags.length === 0 ? undefined : invalidationOf({ keys, tags });
  }

  /** There is nothing to check without a key; the site may start later. */
  check(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  keepIdle(most: number): void {
    this.#client.keepIdle(most);
  }

  retire(): void {
    this.#client.retire();
  }

  /** Makes loads in flight fail. */
  close(): Promise<void> {
    this.#closing.abort(new OriginError("the origin is closed"));
    this.#client.close();
    return Promise.resolve();
  }

  async #timed<T>(signal: AbortSignal, work: (within: AbortSignal) => Promise<T>): Promise<T> {
    const late = new AbortController();
    const timeoutMs = this.#deps.loadTimeoutMs ?? LOAD_TIMEOUT_MS;
    const cancel = this.#clock.after(timeoutMs, () => {
      late.abort(new OriginTimeoutError(`${this.#base.origin} did not end within ${timeoutMs} ms`));
    });
    try {
      return await work(AbortSignal.any([signal, late.signal, this.#closing.signal]));
    } finally {
      cancel();
    }
  }

  #get(key: string, asked: Fields, trace: Trace | undefined, signal: AbortSignal): Promise<Exchanged> {
    const fields = this.#outgoing(tracedBy(trace, asked), false);
    const head = { method: "GET", target: this.#checkedTarget(key), fields };
    return this.#client.exchange(head, null, signal);
  }

  async #whole(
    key: string,
    answer: Exchanged,
    asked: Fields,
    signal: AbortSignal,
    loading: LoadingBody | undefined,
  ): Promise<Answer> {
    const name = this.#name(key);
    const { valueBytesMax = MAX_BODY_BYTES } = this.#deps;
    const body = await readWhole(collect(answer, valueBytesMax, { loading, signal }), answer, name, signal);
    if (body === undefined) throw new PassThroughError(`${name} is longer than the longest value`);
    return { body, ...this.#aboutOf(key, answer, asked, this.#freshness(answer, asked)) };
  }

  /** An answer without its body. @throws OriginError its fields are too long */
  #aboutOf(key: string, answer: Exchanged, asked: Fields, freshness: Freshness): Omit<Answer, "body"> {
    const name = this.#name(key);
    return {
      contentType: contentTypeOf(answer.fields, name, ""),
      status: answer.status,
      fields: keptInDoubt(keptFields(answer.fields, name), answer),
      freshness: withinDoubt(freshness, answer),
      ...selectedBy(answer.fields, asked),
      ...taggedBy(answer.fields, this.#tags),
    };
  }

  /** The stored answer, freshened by a 304 (RFC 9111, section 4.3.4). */
  #freshened(stale: Value, notModified: Exchanged, asked: Fields): Answer {
    const fields = keptFields(freshened(stale.about.fields, endToEnd(notModified.fields)), this.#base.origin);
    // Use the age and the date of the 304, not those of the stored answer.
    const { requestedAtMs, receivedAtMs, clockAheadMs, fields: told } = notModified;
    const timed = [
      ...without(fields, new Set(["age", "date"])),
      ...told.filter(([name]) => name === "age" || name === "date"),
    ];
    const exchange = { status: stale.about.status, fields: timed, requestedAtMs, receivedAtMs, clockAheadMs };
    return {
      body: stale.body,
      contentType: stale.contentType,
      status: stale.about.status,
      fields,
      freshness: this.#freshness(exchange, asked),
      ...selectedBy(fields, asked),
      ...taggedBy(fields, this.#tags),
    };
  }

  #freshness(
    exchange: Pick<Exchanged, "status" | "fields" | "requestedAtMs" | "receivedAtMs" | "clockAheadMs">,
    asked: Fields,
  ): Freshness {
    const { keepsCookies = false } = this.#deps;
    const options = { hasHeuristics: true, keepsCookies, status: exchange.status };
    return freshnessOf({ ...exchange, requestFields: asked }, freshnessPolicy(this.#lifetime, options));
  }

  #outgoing(fields: Fields, hasBody: boolean): Fields {
    const { fields: own = [] } = this.#deps;
    const lengths = hasBody ? fields.filter(([name]) => name === "content-length") : [];
    // Both runtimes accept two equal lines and join them. Not every site reads that as one length, so such a body goes
    // in chunks.
    const length = lengths.length === 1 && /^\d+$/.test(lengths[0]![1]) ? lengths : [];
    return [...without(fields, new Set([...OF_THIS_HOP, ...own.map(([name]) => name)])), ...length, ...own];
  }

  /**
   * The site gets the bytes of a key unchanged, so they must be checked. Deno's server lets more than ASCII through,
   * and peers, Go peers and programs may name any key.
   *
   * @throws BadKeyError no request can carry it, or a server could take it out of the site's folder
   */
  #checkedTarget(key: string): string {
    if (!TARGET.test(key)) {
      throw new BadKeyError("Cannot use a path with spaces, # or characters outside ASCII: they must be escaped");
    }
    if (leadsOut(key.replace(/\?.*$/s, ""))) {
      throw new BadKeyError("Cannot use a path whose dot segments, in any spelling, lead out of the site");
    }
    return this.#target(key);
  }

  #target(key: string): string {
    return this.#base.pathname + key;
  }

  /** The URL for messages, without the query, which may hold a secret. */
  #name(key: string): string {
    return this.#base.origin + this.#target(key).replace(/\?.*$/s, "");
  }
}

function selectedBy(fields: Fields, asked: Fields): { selection?: Selection } {
  const names = varyingNames(fields);
  return names.length === 0 ? {} : { selection: { names, says: selectionOf(names, asked) } };
}
