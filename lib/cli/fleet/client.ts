/** Asks nodes by HTTP, as their operators do. */
import { Buffer } from "node:buffer";
import { request as plainRequest } from "node:http";
import { request as secureRequest } from "node:https";
import { readTokens } from "../../config/texts/admin-token.ts";
import { CommandError } from "../terminal.ts";

/** How long an answer may take, in milliseconds. Chosen: `purge --wait` waits for 5 s at the node. */
const ANSWER_TIMEOUT_MS = 8_000;
/** Chosen: room for the statistics of a thousand peers, and more than the longest value by default. */
const MAX_BODY_BYTES = 64 * 1024 * 1024;

/** An answer, read to its end. */
export interface Answered {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** One request to a node. */
export interface Question {
  readonly method?: string;
  readonly path: string;
  /** Sent as JSON. */
  readonly message?: object;
  readonly timeoutMs?: number;
  /** The authorities to trust, in PEM. @default the system's */
  readonly ca?: string | undefined;
}

/** One node, with the operators' token for it. */
export class NodeClient {
  readonly url: string;
  readonly #token: string | undefined;

  /** @param url without a slash at its end */
  constructor(url: string, token?: string) {
    this.url = url;
    this.#token = token;
  }

  /**
   * A client for another node of the fleet. @param isTrusted whether it is surely one of them; if not, it does not get
   * the token
   */
  at(url: string, isTrusted: boolean): NodeClient {
    return new NodeClient(url, isTrusted ? this.#token : undefined);
  }

  /**
   * Does not use `fetch`, which obeys `HTTP_PROXY` and would send the token to a proxy.
   *
   * @throws CommandError there is no answer; the message says why
   */
  ask(
    { method = "GET", path, message, timeoutMs = ANSWER_TIMEOUT_MS, ca }: Question,
  ): Promise<Answered> {
    const send = this.url.startsWith("https:") ? secureRequest : plainRequest;
    const text = message === undefined ? undefined : JSON.stringify(message);
    const headers = {
      ...(this.#token !== undefined && { authorization: `Bearer ${this.#token}` }),
      ...(text !== undefined &&
        { "content-type": "application/json", "content-length": String(Buffer.byteLength(text)) }),
    };
    const options = { method, agent: false as const, headers, ...(ca !== undefined && { ca }) };
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => reject(new CommandError(`${this.url} ${reasonOf(error, timeoutMs)}`));
      const signal = AbortSignal.timeout(timeoutMs);
      const request = send(this.url + path, { ...options, signal }, (response) => {
        const chunks: Uint8Array[] = [];
        let bytes = 0;
        response.on("error", fail);
        response.on("data", (chunk: Uint8Array) => {
          chunks.push(chunk);
          if ((bytes += chunk.length) > MAX_BODY_BYTES) {
            request.destroy(new Error(`sends over ${MAX_BODY_BYTES} bytes`));
          }
        });
        response.on("end", () => {
          const told = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
          resolve({ status: response.statusCode!, headers: Object.fromEntries(told), body: Buffer.concat(chunks) });
        });
      });
      request.on("error", fail);
      request.on("close", () => fail(new Error("closed the connection")));
      request.end(text);
    });
  }

  /** The JSON of an answer with status 200. @throws CommandError any other answer; the message says why */
  async json<T>(question: Question): Promise<T> {
    const answered = await this.ask(question);
    if (answered.status !== 200) throw new CommandError(this.refusal(answered));
    return this.parsed<T>(answered);
  }

  /** @throws CommandError it is no JSON */
  parsed<T>({ body }: Answered): T {
    try {
      return JSON.parse(body.toString()) as T;
    } catch {
      throw new CommandError(`${this.url} answers with something else than JSON: is it a node?`);
    }
  }

  /** Says why a node has refused, and what to do. */
  refusal({ status, body }: Answered): string {
    if (status === 401) return `${this.url} wants the token of its operators: give --admin-token-file`;
    let detail = "";
    try {
      detail = String((JSON.parse(body.toString()) as { detail?: unknown }).detail ?? "");
    } catch { /* not a node's */ }
    return `${this.url} answers ${status}${detail === "" ? "" : `: ${detail.slice(0, 500)}`}`;
  }
}

/**
 * The client for `--node` and `--admin-token-file`.
 *
 * @throws CommandError the file cannot be used; shows nothing of it
 */
export function clientFor(
  { node, adminTokenFile }: { readonly node: string; readonly adminTokenFile: string | undefined },
  readFile: (path: string) => string,
): NodeClient {
  if (adminTokenFile === undefined) return new NodeClient(node);
  let text: string;
  try {
    text = readFile(adminTokenFile);
  } catch (error) {
    throw new CommandError(`cannot read the file of --admin-token-file: ${(error as Error).message}`);
  }
  const read = readTokens(text);
  if ("fault" in read) throw new CommandError(`cannot use the file of --admin-token-file: ${read.fault}`);
  return new NodeClient(node, read.tokens[0]);
}

function reasonOf(error: unknown, timeoutMs: number): string {
  const { code, name, message } = error as { code?: string; name?: string; message?: string };
  if (name === "TimeoutError" || name === "AbortError" || code === "ABORT_ERR") {
    return `gives no answer within ${timeoutMs} ms`;
  }
  if (code === "ECONNREFUSED" || /connection refused/i.test(message ?? "")) {
    return "does not answer: nothing listens there";
  }
  return `does not answer: ${message}`;
}
