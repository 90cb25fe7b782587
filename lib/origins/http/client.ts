/**
 * One HTTP/1.1 exchange with an origin, through node:http: it gives fields and bodies as they came, on both runtimes.
 * `fetch` does not: Deno undoes gzip and leaves the header, and both join lines and follow proxies of the environment.
 */
import { Agent as PlainAgent, type IncomingMessage, request as plainRequest } from "node:http";
import { Agent as SecureAgent, request as secureRequest } from "node:https";
import { isIP } from "node:net";
import type { Clock } from "../../core/base/clock.ts";
import { OriginError, OverloadedError } from "../../core/errors.ts";
import type { Fields } from "../../core/semantics/fields.ts";
import { UnansweredError } from "../unanswered.ts";

/** The head of a request. */
export interface RequestHead {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  /** Without `Host` and the fields of this hop. */
  readonly fields: Fields;
}

/** What came back, as it came; its body is still on the way. */
export interface Exchanged {
  readonly status: number;
  /** With the fields of this hop. */
  readonly fields: Fields;
  /** By the client's clock. */
  readonly requestedAtMs: number;
  readonly receivedAtMs: number;
  readonly body: IncomingMessage;
}

/** Requests in flight to one origin before further ones are refused; chosen. */
const MAX_REQUESTS = 1_024;
/** Idle connections that are kept, chosen: a burst of misses does not open them all again. */
const MAX_IDLE_SOCKETS = 64;
/** The longest head of an answer that is read, chosen: four times what browsers and nginx take. */
const MAX_HEAD_BYTES = 64 * 1024;
/** A kept connection that the origin has closed meanwhile: nothing was answered, so a GET may be asked once more. */
const CLOSED_CODES: ReadonlySet<unknown> = new Set(["ECONNRESET", "EPIPE"]);

/** Requests to one origin, over connections that are kept. */
export class HttpClient {
  readonly #base: URL;
  readonly #clock: Clock;
  readonly #agent: PlainAgent | SecureAgent;
  /** A new connection for each request, which ends with it: none that the origin is just closing. */
  readonly #once: PlainAgent | SecureAgent;
  readonly #address: string | undefined;
  #inFlight = 0;
  #isClosed = false;

  /**
   * @param base scheme, host and port count
   * @param address is connected to in place of the host's name; the caller has looked it up
   */
  constructor(base: URL, clock: Clock, address?: string) {
    this.#base = base;
    this.#address = address;
    this.#clock = clock;
    const options = { keepAlive: true, maxFreeSockets: MAX_IDLE_SOCKETS };
    const Agent = base.protocol === "https:" ? SecureAgent : PlainAgent;
    this.#agent = new Agent(options);
    this.#once = new Agent({ keepAlive: false });
  }

  /**
   * Sends a request and resolves with the head of the answer. 1xx answers are passed over.
   *
   * @param body is sent as it comes, and read no faster than the origin takes it
   * @throws OverloadedError too many are in flight; UnansweredError no answer, or none that is HTTP; OriginError a status
   * that is none; the signal's reason
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
      if (error instanceof OriginError) throw error;
      // Without the query, which may hold a secret.
      const name = this.#base.origin + head.target.replace(/\?.*$/s, "");
      throw new UnansweredError(`${name} cannot be fetched: ${reasonOf(error)}`);
    } finally {
      this.#inFlight--;
    }
  }

  /** Ends idle connections; those in use end with their requests, which the callers abort. */
  close(): void {
    this.#isClosed = true;
    this.#agent.destroy();
  }

  #send(
    { method, target, fields }: RequestHead,
    body: ReadableStream<Uint8Array> | null,
    signal: AbortSignal,
    isRepeatable: boolean,
  ): Promise<Exchanged> {
    const requestedAtMs = this.#clock.nowMs();
    const hostname = this.#base.hostname.replace(/^\[|\]$/g, "");
    // Not the caller's signal: once the answer has ended, Deno would destroy the kept connection by it, with an error for
    // which nobody listens any more.
    const inFlight = new AbortController();
    const abort = () => inFlight.abort(signal.reason);
    const detach = () => signal.removeEventListener("abort", abort);
    signal.addEventListener("abort", abort, { once: true });
    return new Promise((resolve, reject) => {
      const send = this.#base.protocol === "https:" ? secureRequest : plainRequest;
      const sent = send({
        hostname: this.#address ?? hostname,
        port: this.#base.port,
        ...(this.#base.protocol === "https:" && isIP(hostname) === 0 ? { servername: hostname } : {}),
        method,
        path: target,
        headers: linesByName(fields, this.#base.host),
        // An origin closes idle connections when it likes (RFC 9112, section 9.5), and nobody can tell then whether it has
        // read a request. So what may not be sent twice goes over a new one.
        agent: isRepeatable ? this.#agent : this.#once,
        maxHeaderSize: MAX_HEAD_BYTES,
        signal: inFlight.signal,
      }, (answer) => {
        answer.once("end", detach);
        const status = answer.statusCode ?? 0;
        if (status < 200 || status > 599) {
          answer.destroy();
          return reject(new OriginError(`${this.#base.origin} answered with status ${status}`));
        }
        const receivedAtMs = this.#clock.nowMs();
        resolve({ status, fields: fieldsOf(answer.rawHeaders), requestedAtMs, receivedAtMs, body: answer });
      });
      let isReused = false;
      sent.on("socket", () => {
        isReused = sent.reusedSocket;
        // Deno would send any request on a kept connection again by itself: a POST as well, and one that was aborted.
        sent.reusedSocket = false;
      });
      sent.once("close", detach);
      sent.on("error", (error: NodeJS.ErrnoException) => {
        detach();
        if (!isRepeatable || !isReused || !CLOSED_CODES.has(error.code) || signal.aborted) {
          return reject(error);
        }
        this.#send({ method, target, fields }, null, signal, false).then(resolve, reject);
      });
      if (body === null) sent.end();
      else void pour(body, sent).catch((error) => sent.destroy(error));
    });
  }
}

/** The bytes of a body, or `undefined` when there are more than `maxBytes`: the rest is not read then. */
export async function collect(
  { body, fields }: Exchanged,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const told = fields.find(([name]) => name === "content-length");
  if (told !== undefined && Number(told[1]) > maxBytes) {
    body.destroy();
    return undefined;
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      body.destroy();
      return undefined;
    }
    chunks.push(chunk);
  }
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/** The body as a web stream, read no faster than it is taken; a body that is cut breaks the stream. */
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

/** What went wrong, without an address of a secret. */
function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: string };
  return typeof code === "string" && message !== undefined && !message.includes(code)
    ? `${message} (${code})`
    : `${message}`;
}

function fieldsOf(raw: readonly string[]): Fields {
  const fields: [string, string][] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) fields.push([raw[i]!.toLowerCase(), raw[i + 1]!.trim()]);
  return fields;
}

/** As node:http wants them: lines of one name together. */
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
