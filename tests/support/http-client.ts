/**
 * The HTTP client of the bench and of chaos: GET over kept connections, without hidden retries. The clients of both
 * runtimes silently repeat a request when a kept connection turns out to be closed. This client does so once, as RFC
 * 9110, section 9.2.2, allows for a GET, and counts it.
 */
import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { bodyOf } from "./framing.ts";

export interface Answer {
  readonly status: number;
  readonly cacheStatus: string;
  readonly body: Buffer;
  /** From the request to the first byte of its answer, in milliseconds: a connection is there by then. */
  readonly firstByteMs: number;
  /** Whether a kept connection was found closed, and the request sent again on a new one. */
  readonly wasRepeated: boolean;
}

/** Why a request has no answer. `refused`: there is no listener, so nothing was sent. */
export class NoAnswerError extends Error {
  readonly kind: "refused" | "lost" | "timeout" | "nonsense";

  constructor(kind: NoAnswerError["kind"], message: string) {
    super(message);
    this.name = "NoAnswerError";
    this.kind = kind;
  }
}

const maxIdle = 512;
const maxHeadBytes = 16 * 1024;

/** Connections to one server. */
export class Connections {
  readonly #host: string;
  readonly #port: number;
  readonly #idle: Socket[] = [];
  readonly #open = new Set<Socket>();

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.#host = hostname;
    this.#port = Number(port);
  }

  /** @throws NoAnswerError */
  async get(path: string, timeoutMs: number): Promise<Answer> {
    const deadlineMs = performance.now() + timeoutMs;
    const kept = this.#idle.pop();
    if (kept !== undefined) {
      const answer = await this.#ask(kept, path, deadlineMs, true);
      if (answer !== undefined) return answer;
    }
    const answer = await this.#ask(await this.#connect(deadlineMs), path, deadlineMs, false);
    return kept === undefined ? answer! : { ...answer!, wasRepeated: true };
  }

  close(): void {
    for (const socket of this.#open) socket.destroy();
  }

  #connect(deadlineMs: number): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: this.#host, port: this.#port });
      socket.setNoDelay(true);
      this.#open.add(socket);
      const timer = setTimeout(() => {
        socket.destroy();
        this.#open.delete(socket);
        reject(new NoAnswerError("timeout", "no connection in time"));
      }, deadlineMs - performance.now());
      socket.once("connect", () => {
        clearTimeout(timer);
        resolve(socket);
      });
      socket.once("error", (error: Error & { code?: string }) => {
        clearTimeout(timer);
        this.#open.delete(socket);
        reject(new NoAnswerError(error.code === "ECONNREFUSED" ? "refused" : "lost", String(error)));
      });
    });
  }

  /** `undefined` when a kept connection ended before the first byte of an answer. */
  #ask(socket: Socket, path: string, deadlineMs: number, isKept: boolean): Promise<Answer | undefined> {
    return new Promise((resolve, reject) => {
      let received: Buffer = Buffer.alloc(0);
      let firstByteMs = 0;
      const timer = setTimeout(() => fail("timeout", "no answer in time"), Math.max(0, deadlineMs - performance.now()));
      const forget = () => socket.removeAllListeners("data").removeAllListeners("error").removeAllListeners("close");
      const over = () => {
        clearTimeout(timer);
        forget();
      };
      const fail = (kind: NoAnswerError["kind"], message: string) => {
        over();
        // Errors of a dropped connection do not matter.
        socket.on("error", () => {});
        socket.destroy();
        this.#open.delete(socket);
        if (isKept && kind === "lost" && received.length === 0) resolve(undefined);
        else reject(new NoAnswerError(kind, message));
      };
      forget();
      socket.on("error", (error) => fail("lost", String(error)));
      socket.on("close", () => fail("lost", `the connection was closed after ${received.length} bytes of an answer`));
      socket.on("data", (chunk: Buffer) => {
        if (received.length === 0) firstByteMs = performance.now() - sinceMs;
        received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
        let parsed: Parsed | undefined;
        try {
          parsed = parse(received);
        } catch (error) {
          return fail("nonsense", String(error));
        }
        if (parsed === undefined) return;
        over();
        this.#keep(socket, parsed.mayKeep);
        resolve({ ...parsed, firstByteMs, wasRepeated: false });
      });
      const sinceMs = performance.now();
      socket.write(`GET ${path} HTTP/1.1\r\nhost: ${this.#host}:${this.#port}\r\n\r\n`);
    });
  }

  #keep(socket: Socket, mayKeep: boolean): void {
    const drop = () => {
      const at = this.#idle.indexOf(socket);
      if (at >= 0) this.#idle.splice(at, 1);
      socket.destroy();
      this.#open.delete(socket);
    };
    socket.on("error", drop);
    socket.on("close", drop);
    if (!mayKeep || this.#idle.length >= maxIdle) return drop();
    this.#idle.push(socket);
  }
}

interface Parsed {
  readonly status: number;
  readonly cacheStatus: string;
  readonly body: Buffer;
  readonly mayKeep: boolean;
}

/** One answer; `undefined` while a part of it is missing. */
function parse(received: Buffer): Parsed | undefined {
  const end = received.indexOf("\r\n\r\n");
  if (end < 0) {
    if (received.length > maxHeadBytes) throw new Error("a head without an end");
    return undefined;
  }
  const head = received.toString("latin1", 0, end + 4);
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]);
  if (!(status >= 200)) throw new Error(`not an answer: ${head}`);
  const framed = bodyOf(received, head);
  if (framed === undefined) return undefined;
  if (received.length > framed.end) throw new Error("more than one answer");
  return {
    status,
    cacheStatus: /^cache-status: *(.*)/im.exec(head)?.[1] ?? "",
    body: framed.body,
    mayKeep: !/^connection: *close/im.test(head),
  };
}
