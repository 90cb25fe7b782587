/** One kept connection with one request at a time, every body compared. No HTTP library disturbs the clock. */
import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { Memo } from "../../../lib/core/base/tables/memo.ts";
import { bodyOf } from "../../support/framing.ts";
import { valueBytes, valueOf } from "../keys.ts";

/** Expected bodies, made once a key: the load's own CPU time would lower the figures. */
const values = new Memo(1_024, valueOf);
const rightStart = "HTTP/1.1 200 ";
const headEnd = Buffer.from("\r\n\r\n");
/** Around a value that is one chunk. */
const chunkHead = Buffer.from(`${valueBytes.toString(16)}\r\n`);
const chunkTail = Buffer.from("\r\n0\r\n\r\n");

export class Client {
  readonly #socket: Socket;
  readonly #host: string;
  #received: Buffer[] = [];
  #size = 0;
  #value = values.get("");
  #done: ((isRight: boolean, atMs: number) => void) | undefined;
  #lost = false;

  constructor(socket: Socket, host: string) {
    this.#socket = socket;
    this.#host = host;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    const lose = () => {
      this.#lost = true;
      this.#finish(false);
    };
    socket.on("error", lose);
    socket.on("close", lose);
  }

  static open(url: string): Promise<Client> {
    const { hostname, port, host } = new URL(url);
    return new Promise((resolve, reject) => {
      const socket = connect(Number(port), hostname, () => resolve(new Client(socket, host)));
      socket.once("error", reject);
    });
  }

  get isBusy(): boolean {
    return this.#done !== undefined;
  }

  /** Calls `done` once, with whether the answer was the key's value, and when its last byte came (or it failed). */
  ask(path: string, key: string, done: (isRight: boolean, atMs: number) => void): void {
    this.#done = done;
    this.#value = values.get(key);
    if (this.#lost) return this.#finish(false);
    this.#socket.write(`GET ${path}${key} HTTP/1.1\r\nHost: ${this.#host}\r\n\r\n`);
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    if (this.#size === 0 && this.#isWholeAndRight(chunk)) return this.#finish(true);
    this.#received.push(chunk);
    this.#size += chunk.length;
    const all = this.#all();
    const end = all.indexOf(headEnd);
    if (end < 0) return;
    try {
      const head = all.toString("latin1", 0, end + headEnd.length);
      const framed = bodyOf(all, head);
      if (framed === undefined) return;
      this.#finish(head.startsWith(rightStart) && framed.end === all.length && framed.body.equals(this.#value));
    } catch (error) {
      this.#socket.destroy(error as Error);
    }
  }

  /** The form of nearly every answer, checked without parsing its head: the value plain, or in one chunk. */
  #isWholeAndRight(chunk: Buffer): boolean {
    if (chunk.toString("latin1", 0, rightStart.length) !== rightStart) return false;
    const start = chunk.indexOf(headEnd) + headEnd.length;
    const framingBytes = chunk.length - start - this.#value.length;
    if (framingBytes === 0) return this.#value.equals(chunk.subarray(start));
    const valueStart = start + chunkHead.length;
    const valueEnd = valueStart + this.#value.length;
    return framingBytes === chunkHead.length + chunkTail.length &&
      chunkHead.equals(chunk.subarray(start, valueStart)) &&
      this.#value.equals(chunk.subarray(valueStart, valueEnd)) && chunkTail.equals(chunk.subarray(valueEnd));
  }

  #all(): Buffer {
    if (this.#received.length > 1) this.#received = [Buffer.concat(this.#received)];
    return this.#received[0]!;
  }

  #finish(isRight: boolean): void {
    const done = this.#done;
    this.#done = undefined;
    this.#received = [];
    this.#size = 0;
    done?.(isRight, performance.now());
  }
}
