/**
 * One HTTP/1.1 exchange with an origin, through node:http, which gives unchanged fields and bodies on both runtimes.
 * `fetch` does not: Deno decodes gzip but leaves the header, and both join lines and follow proxies of the environment.
 */
import { Agent as PlainAgent, type IncomingMessage, request as plainRequest } from "node:http";
import { Agent as SecureAgent, request as secureRequest, type RequestOptions } from "node:https";
import { isIP, type LookupFunction, type Socket } from "node:net";
import type { Clock } from "../../core/base/clock.ts";
import { GrowingBytes } from "../../core/base/growing-bytes.ts";
import { connectFault } from "../../core/base/connect-fault.ts";
import { OriginError, OriginUnreachableError, OverloadedError, RequestBodyError } from "../../core/errors.ts";
import type { LoadingBody } from "../../core/ports.ts";
import { type Fields, has, isFieldName, isFieldValue, linesOf, membersOf } from "../../core/semantics/fields.ts";
import { connectTimeoutOf, LOAD_TIMEOUT_MS } from "../deps.ts";
import { UnansweredError } from "../unanswered.ts";
import { Connections } from "./connections.ts";
import { OriginClock } from "./origin-clock.ts";

/** The head of a request. */
export interface RequestHead {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  /** Without `Host` and the fields of this hop. */
  readonly fields: Fields;
}

/** An unchanged answer whose body is still arriving. */
export interface Exchanged {
  readonly status: number;
  /** Includes the fields of this hop. */
  readonly fields: Fields;
  /** By the client's clock. */
  readonly requestedAtMs: number;
  readonly receivedAtMs: number;
  /** How far that clock is ahead of the origin's: see origin-clock.ts. */
  readonly clockAheadMs: number;
  /** The address that answered; `undefined`: the runtime does not tell. */
  readonly remoteAddress: string | undefined;
  /** Only the end of the connection ends the body: nothing says whether it is whole (RFC 9112, section 8). */
  readonly isCloseDelimited: boolean;
  readonly body: IncomingMessage;
}

/** How connections are made. */
export interface ConnectOptions {
  /** The time for a connection, including the look-up of its name. @default 4 s */
  readonly connectTimeoutMs?: number | undefined;
  /** Gives the addresses for a host's name. @default the system's */
  readonly lookup?: LookupFunction | undefined;
  /** Shared with other clients of the same origin. @default its own */
  readonly connections?: Connections | undefined;
}

/** Requests in flight to one origin before further ones are refused; chosen. */
const MAX_REQUESTS = 1_024;
/** How many idle connections are kept. Chosen: a burst of misses need not open them all again. */
const MAX_IDLE_SOCKETS = 64;
/** How long to wait after a stalled process has woken. Chosen: a few turns of the event loop. */
const AFTER_STALL_MS = 50;
/** The longest head of an answer that is read. Chosen: four times the limit of browsers and nginx. */
const MAX_HEAD_BYTES = 64 * 1024;
/** Codes for a kept connection that the origin has closed: there was no answer, so a GET may be sent once more. */
const CLOSED_CODES: ReadonlySet<unknown> = new Set(["ECONNRESET", "EPIPE"]);

/** Requests to one origin, over kept connections. */
export class HttpClient {
  readonly #base: URL;
  readonly #clock: Clock;
  readonly #originClock = new OriginClock();
  readonly #agent: PlainAgent | SecureAgent;
  /** Opens a new connection for each request and closes it afterwards, so that the origin cannot be just closing it. */
  readonly #once: PlainAgent | SecureAgent;
  readonly #connecting: ConnectOptions;
  readonly #connections: Connections;
  #inFlight = 0;
  #isClosed = false;

  /** @param base only its scheme, host and port are used */
  constructor(base: URL, clock: Clock, connecting: ConnectOptions = {}) {
    this.#base = base;
    this.#connecting = connecting;
    this.#clock = clock;
    const options = { keepAlive: true, maxFreeSockets: MAX_IDLE_SOCKETS };
    const Agent = base.protocol === "https:" ? SecureAgent : PlainAgent;
    this.#agent = new Agent(options);
    this.#once = new Agent({ keepAlive: false });
    this.#connections = connecting.connections ?? new Connections();
    this.#connections.add(this.#agent, this.#once);
    this.#agent.on("free", () => this.#connections.freed());
  }

  /**
   * Sends a request and resolves with the head of the answer. 1xx answers are ignored.
   *
   * @param body is streamed, and read no faster than the origin takes it
   * @throws OverloadedError too many are in flight; OriginUnreachableError no connection, or not a byte came over it;
   * UnansweredError no complete HTTP head; OriginError a status outside 200 to 599, or a bad field; RequestBodyError
   * `body` broke off; the signal's reason
   */
  async exchange(head: RequestHead, body: ReadableStream<Uint8Array> | null, signal: AbortSignal): Promise<Exchanged> {
    signal.throwIfAborted();
    if (this.#isClosed) throw new OriginError("the origin is closed");
    if (this.#inFlight >= MAX_REQUESTS) {
      throw new OverloadedError(`${MAX_REQUESTS} requests to ${this.#base.host} are in flight already`);
    }
    this.#inFlight++;
    try {
      const isRepeatable = body === null && (head.method === "GET" || head.method === "HEAD");
      return await this.#send(head, body, signal, isRepeatable);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (error instanceof OriginError || error instanceof RequestBodyError) throw error;
      // Without the query, which may hold a secret.
      const name = this.#base.origin + head.target.replace(/\?.*$/s, "");
      const isUnreachable = error instanceof LostExchange && !error.hasBegun;
      const Kind = isUnreachable ? OriginUnreachableError : UnansweredError;
      throw new Kind(`${name} cannot be fetched: ${reasonOf(error instanceof LostExchange ? error.reason : error)}`);
    } finally {
      this.#inFlight--;
    }
  }

  /**
   * Sets the most connections from now on; idle and closing ones count. Ends idle ones over the limit. Connections in use
   * from a higher limit stay until their requests end.
   */
  keepIdle(most: number): void {
    this.#connections.bound(most);
    this.#agent.maxFreeSockets = Math.min(most, MAX_IDLE_SOCKETS);
    // Connections in use count too; otherwise an idle one from a higher limit would stay beside them.
    this.#agent.maxSockets = Math.max(most, 1);
    for (const socket of this.#idle().slice(this.#agent.maxFreeSockets)) socket.destroy();
  }

  /** Ends idle connections now. A connection in use ends after its request. */
  retire(): void {
    this.#agent.maxFreeSockets = 0;
    for (const socket of this.#idle()) socket.destroy();
    this.#connections.remove(this.#agent, this.#once);
  }

  /** Ends all connections, and with them the requests in flight. */
  close(): void {
    this.#isClosed = true;
    this.#connections.remove(this.#agent, this.#once);
    this.#agent.destroy();
  }

  #idle(): Socket[] {
    return Object.values(this.#agent.freeSockets).flatMap((sockets) => sockets ?? []);
  }

  async #send(
    head: RequestHead,
    body: ReadableStream<Uint8Array> | null,
    signal: AbortSignal,
    isRepeatable: boolean,
  ): Promise<Exchanged> {
    const reusing = isRepeatable ? this.#agent : undefined;
    while (!this.#connections.hasRoom(reusing)) await this.#connections.changed(signal);
    return await this.#sendNow(head, body, signal, isRepeatable);
  }

  #sendNow(
    head: RequestHead,
    body: ReadableStream<Uint8Array> | null,
    signal: AbortSignal,
    isRepeatable: boolean,
  ): Promise<Exchanged> {
    const { method } = head;
    const requestedAtMs = this.#clock.nowMs();
    // Not the caller's signal: when it aborts after the answer, Deno would destroy the kept connection. Nothing handles
    // that error any more.
    const inFlight = new AbortController();
    const abort = () => inFlight.abort(signal.reason);
    const detach = () => signal.removeEventListener("abort", abort);
    signal.addEventListener("abort", abort, { once: true });
    return new Promise((resolve, reject) => {
      const send = this.#base.protocol === "https:" ? secureRequest : plainRequest;
      let answered: IncomingMessage | undefined;
      const options = { ...this.#optionsOf(head, body !== null, isRepeatable), signal: inFlight.signal };
      const sent = send(options, (answer) => {
        answered = answer;
        answer.once("end", detach);
        try {
          resolve(this.#exchanged(method, answer, requestedAtMs));
        } catch (error) {
          answer.destroy();
          reject(error);
        }
      });
      let isReused = false;
      let socket: Socket | undefined;
      let bytesBefore = 0;
      sent.on("socket", (used) => {
        socket = used;
        this.#connections.uses(used);
        isReused = sent.reusedSocket;
        bytesBefore = used.bytesRead;
        // Deno would send any request on a kept connection again by itself, even a POST or an aborted one.
        sent.reusedSocket = false;
        if (used.connecting) this.#expectConnection(used, (error) => sent.destroy(error));
      });
      // No request asks for another protocol. Without this listener the request would never end, on both runtimes.
      sent.once("upgrade", (_answer, socket) => {
        socket.destroy();
        detach();
        reject(new OriginError(`${this.#base.origin} answered with status 101`));
      });
      sent.once("close", detach);
      sent.on("error", (error: NodeJS.ErrnoException) => {
        detach();
        // After a reset, the runtimes end such a body without an error.
        if (answered !== undefined) {
          if (isEndedByClose(method, answered.statusCode!, fieldsOf(answered.rawHeaders))) answered.destroy(error);
        } else if (isRepeatable && isReused && CLOSED_CODES.has(error.code) && !signal.aborted) {
          this.#send(head, null, signal, false).then(resolve, reject);
        } else if (error instanceof OriginError || error instanceof RequestBodyError) reject(error);
        else reject(new LostExchange(error, (socket?.bytesRead ?? 0) > bytesBefore));
      });
      if (body === null) sent.end();
      else void pour(body, sent).catch((error) => sent.destroy(bodyFault(error)));
    });
  }

  #optionsOf({ method, target, fields }: RequestHead, hasBody: boolean, isRepeatable: boolean): RequestOptions {
    const hostname = this.#base.hostname.replace(/^\[|\]$/g, "");
    return {
      hostname,
      port: this.#base.port,
      ...(this.#base.protocol === "https:" && isIP(hostname) === 0 ? { servername: hostname } : {}),
      ...(this.#connecting.lookup && { lookup: this.#connecting.lookup }),
      method,
      path: target,
      headers: linesByName(framed(fields, hasBody), this.#base.host),
      // An origin may close an idle connection at any time (RFC 9112, section 9.5). A request sent at that moment may have
      // been read or not. So a request that must not be sent twice gets a new connection.
      agent: isRepeatable ? this.#agent : this.#once,
      maxHeaderSize: MAX_HEAD_BYTES,
    };
  }

  /** @throws OriginError a status outside 200 to 599, or a field that HTTP does not allow */
  #exchanged(method: string, answer: IncomingMessage, requestedAtMs: number): Exchanged {
    const { statusCode: status = 0, socket: { remoteAddress } } = answer;
    if (status < 200 || status > 599) throw new OriginError(`${this.#base.origin} answered with status ${status}`);
    const fields = fieldsOf(answer.rawHeaders);
    // Both runtimes refuse most of these themselves. Do not just leave the field out: it may forbid keeping the answer.
    const broken = fields.find(([name, value]) => !isFieldName(name) || !isFieldValue(value));
    if (broken !== undefined) {
      throw new OriginError(`${this.#base.origin} answered with a field that is none: ${JSON.stringify(broken[0])}`);
    }
    const isCloseDelimited = isEndedByClose(method, status, fields);
    const receivedAtMs = this.#clock.nowMs();
    const clockAheadMs = this.#originClock.aheadMs(fields, receivedAtMs);
    return { status, fields, requestedAtMs, receivedAtMs, clockAheadMs, remoteAddress, isCloseDelimited, body: answer };
  }

  #expectConnection(socket: Socket, giveUp: (error: Error) => void): void {
    const { connectTimeoutMs = connectTimeoutOf(LOAD_TIMEOUT_MS) } = this.#connecting;
    let cancel = this.#clock.after(connectTimeoutMs, () => {
      // A process that was stopped first runs its timers, and only then sees connections that opened in the meantime.
      cancel = this.#clock.after(AFTER_STALL_MS, () => {
        if (!socket.connecting) return;
        giveUp(new OriginUnreachableError(`${this.#base.origin} took no connection within ${connectTimeoutMs} ms`));
      });
    });
    const settled = () => cancel();
    socket.once("connect", settled);
    socket.once("close", settled);
  }
}

/** Why an exchange has no answer, and whether one had begun. */
class LostExchange extends Error {
  readonly reason: unknown;
  readonly hasBegun: boolean;

  constructor(reason: unknown, hasBegun: boolean) {
    super("lost");
    this.reason = reason;
    this.hasBegun = hasBegun;
  }
}

/** RFC 9112, section 6.3. */
function isEndedByClose(method: string, status: number, fields: Fields): boolean {
  if (method === "HEAD" || status === 204 || status === 304) return false;
  const codings = membersOf(linesOf(fields, "transfer-encoding").join(","));
  return codings.length > 0 ? codings.at(-1)!.toLowerCase() !== "chunked" : !has(fields, "content-length");
}

const NEVER = new AbortController().signal;

/** The limit on the memory of loads. */
interface Bound {
  readonly loading?: LoadingBody | undefined;
  /** Aborts a wait for room. */
  readonly signal?: AbortSignal;
}

/**
 * Reads the bytes of a body; `undefined` if there are more than `maxBytes`, and then the rest is not read.
 *
 * @param bound the limit on the memory of all loads; with a `Content-Length` all of it is reserved at the start
 * @throws OverloadedError loads hold too much already; the error that breaks the body off
 */
export async function collect(
  { body, fields }: Exchanged,
  maxBytes: number,
  { loading, signal = NEVER }: Bound = {},
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const told = fields.find(([name]) => name === "content-length");
  if (told !== undefined && Number(told[1]) > maxBytes) {
    body.destroy();
    return undefined;
  }
  if (told !== undefined) await loading?.hold(Number(told[1]), signal);
  const bytes = new GrowingBytes();
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    if (bytes.length + chunk.length > maxBytes) {
      body.destroy();
      return undefined;
    }
    const turn = loading?.hold(bytes.length + chunk.length, signal);
    if (turn !== undefined) await turn;
    bytes.append(chunk);
  }
  return bytes.take();
}

/** The most bytes read of an unused body, so that its connection can be kept. Chosen: an error page is shorter. */
const MAX_DISCARDED_BYTES = 64 * 1024;
/** Chosen: as long as the guard keeps the slot of an abandoned request. */
const DISCARD_TIMEOUT_MS = 1_000;

/** Reads the rest of an unused body, if it is short and comes at once. If not, it ends the connection. */
export function discard({ body, fields }: Pick<Exchanged, "body" | "fields">, clock: Clock): void {
  const end = () => void body.destroy();
  // No caller needs this error any more.
  body.on("error", () => {});
  if (Number(linesOf(fields, "content-length")[0] ?? 0) > MAX_DISCARDED_BYTES) return end();
  const cancel = clock.after(DISCARD_TIMEOUT_MS, end);
  let bytes = 0;
  body.on("data", (chunk: Uint8Array) => {
    bytes += chunk.length;
    if (bytes > MAX_DISCARDED_BYTES) end();
  });
  body.once("end", cancel).once("close", cancel);
}

/** The body as a web stream, read no faster than its reader takes it. A body that is cut breaks the stream. */
export function streamOf(body: IncomingMessage): ReadableStream<Uint8Array> {
  const chunks = (body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { value, done } = await chunks.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel() {
      body.destroy();
    },
  }, { highWaterMark: 0 });
}

/** The reason of an error. It shows no secret. */
function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: string };
  const isCodeTold = typeof code !== "string" || message === undefined || message.includes(code);
  return connectFault(isCodeTold ? `${message}` : `${message} (${code})`);
}

/** Without this the origin would be blamed, and this node taken for one without a way to it. */
export function bodyFault(error: unknown): RequestBodyError {
  if (error instanceof RequestBodyError) return error;
  return new RequestBodyError(`the body of the request broke off: ${reasonOf(error)}`, { cause: error });
}

function fieldsOf(raw: readonly string[]): Fields {
  const fields: [string, string][] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) fields.push([raw[i]!.toLowerCase(), raw[i + 1]!.trim()]);
  return fields;
}

/**
 * A body without a length is sent in chunks. node:http does not do that for DELETE, OPTIONS and TRACE. Their body would
 * follow the head like another request, so a client could smuggle a request in.
 */
function framed(fields: Fields, hasBody: boolean): Fields {
  const isFramed = !hasBody || has(fields, "content-length");
  return isFramed ? fields : [...fields, ["transfer-encoding", "chunked"]];
}

/** In the form for node:http: lines with the same name together. */
function linesByName(fields: Fields, host: string): Record<string, string | string[]> {
  const lines: Record<string, string | string[]> = { host };
  for (const [name, value] of fields) {
    const before = lines[name];
    lines[name] = before === undefined || name === "host"
      ? value
      : [...(Array.isArray(before) ? before : [before]), value];
  }
  lines["host"] = host;
  return lines;
}

interface Sink {
  write(chunk: Uint8Array): boolean;
  end(): void;
  once(event: string, listener: () => void): void;
  removeListener(event: string, listener: () => void): void;
}

async function pour(body: ReadableStream<Uint8Array>, sink: Sink): Promise<void> {
  let isGone = false;
  sink.once("close", () => isGone = true);
  for await (const chunk of body) {
    if (isGone) return;
    if (sink.write(chunk)) continue;
    await new Promise<void>((resolve) => {
      const go = () => {
        sink.removeListener("drain", go);
        sink.removeListener("close", go);
        resolve();
      };
      sink.once("drain", go);
      sink.once("close", go);
    });
  }
  sink.end();
}
