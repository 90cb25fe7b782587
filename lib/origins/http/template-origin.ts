/** `http(s)://host/path/{key}`: any web server as an origin, one GET per value. */
import type { Clock } from "../../core/base/clock.ts";
import type { Trace } from "../../core/base/trace.ts";
import { MAX_BODY_BYTES } from "../../core/base/limits.ts";
import { NotFoundError, OriginError, OriginTimeoutError } from "../../core/errors.ts";
import type { LifetimePolicy } from "../../core/lifetime/policy.ts";
import type { LoadContext, LoadingBody, Origin } from "../../core/ports.ts";
import { freshened, isAbout, validatorsOf } from "../../core/semantics/conditional.ts";
import { endToEnd, type Fields, linesOf, without } from "../../core/semantics/fields.ts";
import { type Freshness, freshnessOf } from "../../core/semantics/freshness.ts";
import { TagReader } from "../../core/semantics/tags.ts";
import { traceFields } from "../../core/semantics/trace-context.ts";
import type { Answer, Value } from "../../core/value.ts";
import { connectTimeoutOf, lifetimeOf, LOAD_TIMEOUT_MS, type OriginDeps } from "../deps.ts";
import { type AddressKind, checkLiteral, kindOf, lookupWithin } from "./addresses.ts";
import {
  contentTypeOf,
  decoded,
  freshnessPolicy,
  keptFields,
  keptInDoubt,
  readWhole,
  taggedBy,
  withinDoubt,
} from "./answer.ts";
import { collect, discard, type Exchanged, HttpClient } from "./client.ts";
import { Connections } from "./connections.ts";
import { hasDotSegment } from "./dot-segments.ts";

const DEFAULT_CONTENT_TYPE = "application/octet-stream";

/** The most redirects that are followed. Chosen: in practice one or two are needed. */
const MAX_REDIRECTS = 5;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** How many hosts of redirects have their own connections; chosen. */
const MAX_CLIENTS = 16;
/**
 * Stands for the key while the URL parser normalises a template. The parser leaves this name unchanged in every place.
 */
const SEGMENT_MARK = "muster0key0mark";
const PATH_MARK = "muster0path0mark";
const EMPTY = new Uint8Array(0);
/** Left out: no client's fields went to the origin, so every client gets the same answer. */
const NOT_FOR_CLIENTS: ReadonlySet<string> = new Set(["vary"]);

/** Values from a web server. It follows redirects; the last answer counts. */
export class TemplateOrigin implements Origin {
  readonly #template: string;
  readonly #host: string;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #lifetime: LifetimePolicy;
  readonly #deps: OriginDeps;
  readonly #fields: Fields;
  /** Fields for other hosts after a redirect. The group's own fields may be secrets, so they are left out. */
  readonly #plainFields: Fields;
  readonly #closing = new AbortController();
  readonly #tags = new TagReader();
  /** The client for the origin itself. Its address may be of any kind, as the operator has named it. */
  readonly #own: HttpClient;
  /** Shared with the client for redirects to the origin itself, so that both together stay within the limit. */
  readonly #connections = new Connections();
  /** The clients for targets of redirects, by scheme, host, port, and the kind of the redirecting address. */
  readonly #led = new Map<string, HttpClient>();
  #mostIdle = Infinity;

  /**
   * @param options.template a URL with `{key}` (one segment) or `{+key}` (slashes are kept, RFC 6570) in its path or query,
   * as {@link parseOrigin} has accepted it
   */
  constructor(options: { readonly template: string }, deps: OriginDeps) {
    const marked = options.template.replaceAll("{key}", SEGMENT_MARK).replaceAll("{+key}", PATH_MARK);
    this.#template = new URL(marked).href;
    this.#host = new URL(this.#template).host;
    this.#clock = deps.clock;
    this.#timeoutMs = deps.loadTimeoutMs ?? LOAD_TIMEOUT_MS;
    this.#lifetime = lifetimeOf(deps);
    this.#deps = deps;
    const connecting = {
      connectTimeoutMs: connectTimeoutOf(this.#timeoutMs),
      lookup: deps.lookup,
      connections: this.#connections,
    };
    this.#own = new HttpClient(new URL(this.#template), deps.clock, connecting);
    const { fields = [], version } = deps;
    this.#plainFields = [
      ["accept", "*/*"],
      ["accept-encoding", "identity"],
      ["user-agent", version === undefined ? "muster" : `muster/${version}`],
    ];
    this.#fields = [...without(this.#plainFields, new Set(fields.map(([name]) => name))), ...fields];
  }

  /**
   * @returns status 404 when the server says 404 or 410
   * @throws NotFoundError no URL can carry the key: a lone surrogate, or a dot segment in any spelling in its path
   * @throws OriginTimeoutError no end of the body in time
   * @throws OverloadedError too many requests in flight
   * @throws OriginError any other status, a body over the longest value, one in an encoding that was not asked for, a
   * content type that no peer accepts, or a forbidden redirect
   * @throws OriginUnreachableError no connection, or no answer over it
   */
  async load(key: string, signal: AbortSignal, { stale, loading, trace }: LoadContext = {}): Promise<Answer> {
    signal.throwIfAborted();
    const url = this.#urlOf(key);
    const late = new AbortController();
    const cancel = this.#clock.after(this.#timeoutMs, () => {
      late.abort(new OriginTimeoutError(`${nameOf(url)} did not end within ${this.#timeoutMs} ms`));
    });
    try {
      const within = AbortSignal.any([signal, late.signal, this.#closing.signal]);
      return await this.#load(url, stale, loading, trace, within);
    } finally {
      cancel();
    }
  }

  /** There is nothing to check without a key; the server may start later. */
  check(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  /** Counts for the hosts of redirects too. */
  keepIdle(most: number): void {
    this.#mostIdle = most;
    for (const client of [this.#own, ...this.#led.values()]) client.keepIdle(most);
  }

  retire(): void {
    for (const client of [this.#own, ...this.#led.values()]) client.retire();
  }

  /** Loads in flight fail. */
  close(): Promise<void> {
    this.#closing.abort(new OriginError("the origin is closed"));
    for (const client of [this.#own, ...this.#led.values()]) client.close();
    return Promise.resolve();
  }

  async #load(
    url: string,
    stale: Value | undefined,
    loading: LoadingBody | undefined,
    trace: Trace | undefined,
    signal: AbortSignal,
  ): Promise<Answer> {
    const validators = stale === undefined ? [] : validatorsOf(stale.about.fields);
    const answer = await this.#followed(url, [...validators, ...this.#traceFields(trace)], signal);
    if (answer.status === 304) {
      discard(answer, this.#clock);
      if (stale !== undefined && isAbout(stale.about.fields, answer.fields)) return this.#freshened(stale, answer, url);
      throw new OriginError(`${nameOf(url)} answered 304, which nobody asked for`);
    }
    if (answer.status === 404 || answer.status === 410) {
      discard(answer, this.#clock);
      return {
        body: EMPTY,
        contentType: "text/plain",
        status: 404,
        freshness: this.#freshness({ ...answer, status: 404 }),
        ...taggedBy(answer.fields, this.#tags),
      };
    }
    if (answer.status !== 200) {
      discard(answer, this.#clock);
      const [after] = linesOf(answer.fields, "retry-after");
      throw new OriginError(
        `${nameOf(url)} answered ${answer.status}${after === undefined ? "" : `, retry after ${after}`}`,
      );
    }
    const maxBytes = this.#deps.valueBytesMax ?? MAX_BODY_BYTES;
    const read = await readWhole(collect(answer, maxBytes, { loading, signal }), answer, nameOf(url), signal);
    if (read === undefined) throw new OriginError(`${nameOf(url)} has a body of more than ${maxBytes} bytes`);
    const { body, fields } = await decoded(read, answer.fields, nameOf(url), maxBytes);
    await loading?.hold(body.length, signal);
    return {
      body,
      contentType: contentTypeOf(fields, nameOf(url), DEFAULT_CONTENT_TYPE),
      fields: keptInDoubt(without(keptFields(fields, nameOf(url)), NOT_FOR_CLIENTS), answer),
      freshness: withinDoubt(this.#freshness(answer), answer),
      ...taggedBy(fields, this.#tags),
    };
  }

  /** If the group sets some of these fields itself, its own ones count. */
  #traceFields(trace: Trace | undefined): Fields {
    return trace === undefined ? [] : without(traceFields(trace), new Set(this.#fields.map(([name]) => name)));
  }

  /** The answer at the end of the redirects. @param more the fields of this request alone */
  async #followed(url: string, more: Fields, signal: AbortSignal): Promise<Exchanged> {
    let at = url;
    let client = this.#own;
    /** The kind of the origin's own address, from the connection of the first answer. */
    let kind: AddressKind | undefined;
    for (let redirects = 0;; redirects++) {
      const target = new URL(at);
      const fields = target.host === this.#host ? this.#fields : this.#plainFields;
      const head = { method: "GET", target: target.pathname + target.search, fields: [...fields, ...more] };
      const answer = await client.exchange(head, null, signal);
      const [location] = linesOf(answer.fields, "location");
      if (!REDIRECTS.has(answer.status) || location === undefined) return answer;
      discard(answer, this.#clock);
      if (redirects === MAX_REDIRECTS) {
        throw new OriginError(`${nameOf(url)} redirects more than ${MAX_REDIRECTS} times`);
      }
      at = this.#next(at, location);
      kind ??= answer.remoteAddress === undefined ? "public" : kindOf(answer.remoteAddress);
      client = this.#clientWithin(new URL(at), kind);
    }
  }

  #next(at: string, location: string): string {
    if (!URL.canParse(location, at)) throw new OriginError(`${nameOf(at)} redirects to what is no URL`);
    const next = new URL(location, at);
    if (next.protocol !== new URL(at).protocol) throw new OriginError(`${nameOf(at)} redirects to another scheme`);
    next.hash = "";
    return next.href;
  }

  /** A redirect may reach a non-public address only if the origin's own address is of the same kind. */
  #clientWithin(target: URL, kind: AddressKind): HttpClient {
    checkLiteral(target.hostname.replace(/^\[|\]$/g, ""), kind);
    const key = `${target.origin} ${kind}`;
    let client = this.#led.get(key);
    if (client !== undefined) {
      // Moves the client to the end: the map's order is by last use.
      this.#led.delete(key);
      this.#led.set(key, client);
      return client;
    }
    if (this.#led.size >= MAX_CLIENTS) {
      const [oldest] = this.#led.keys();
      this.#led.get(oldest!)!.retire();
      this.#led.delete(oldest!);
    }
    const lookup = lookupWithin(kind, this.#deps.lookup);
    const connections = target.origin === new URL(this.#template).origin ? this.#connections : new Connections();
    const connectTimeoutMs = connectTimeoutOf(this.#timeoutMs);
    client = new HttpClient(target, this.#clock, { connectTimeoutMs, lookup, connections });
    client.keepIdle(this.#mostIdle);
    this.#led.set(key, client);
    return client;
  }

  #freshened(stale: Value, notModified: Exchanged, url: string): Answer {
    const fields = without(
      keptFields(freshened(stale.about.fields, endToEnd(notModified.fields)), nameOf(url)),
      NOT_FOR_CLIENTS,
    );
    const { requestedAtMs, receivedAtMs, clockAheadMs, fields: told } = notModified;
    const timed = [
      ...without(fields, new Set(["date"])),
      ...told.filter(([name]) => name === "age" || name === "date"),
    ];
    const freshness = this.#freshness({ status: 200, fields: timed, requestedAtMs, receivedAtMs, clockAheadMs });
    const { body, contentType } = stale;
    return { body, contentType, fields, freshness, ...taggedBy(fields, this.#tags) };
  }

  #freshness(
    answer: Pick<Exchanged, "status" | "fields" | "requestedAtMs" | "receivedAtMs" | "clockAheadMs">,
  ): Freshness {
    const options = { hasHeuristics: false, keepsCookies: this.#deps.keepsCookies ?? false, status: answer.status };
    // The node's own credentials are the same for all clients, so they do not make an answer private.
    return freshnessOf({ ...answer, requestFields: [] }, freshnessPolicy(this.#lifetime, options));
  }

  #urlOf(key: string): string {
    if (!key.isWellFormed()) throw new NotFoundError(`no URL can carry ${JSON.stringify(key)}`);
    const segment = encodeKey(key);
    const path = key.split("/").map(encodeKey).join("/");
    const url = this.#template.replaceAll(SEGMENT_MARK, segment).replaceAll(PATH_MARK, path);
    // The URL parser treats `.` and `..` as steps in the path, also when written `%2E`. That would request another
    // resource, maybe another user's. Servers decode a path before they follow its steps, some of them twice. So such a
    // key is "not found".
    const { href, pathname } = new URL(url);
    if (href !== url || hasDotSegment(pathname)) {
      throw new NotFoundError(`no URL can carry ${JSON.stringify(key)} in this place`);
    }
    return url;
  }
}

/** Writes all but RFC 3986's unreserved characters as `%XX` of their UTF-8 bytes. */
function encodeKey(key: string): string {
  return encodeURIComponent(key)
    .replaceAll(/[!'()*]/g, (char) => "%" + char.charCodeAt(0).toString(16).toUpperCase());
}

/** For messages: without the query, which may hold a secret. */
function nameOf(url: string): string {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}
