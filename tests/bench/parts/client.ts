/** One kept connection that asks one thing at a time and compares every body: no HTTP library in the way of the clock. */
import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { Memo } from "../../../lib/core/memo.ts";
import { valueOf } from "../keys.ts";

/** What bodies are compared with: made once a key, as what the load spends is taken from what it measures. */
const values = new Memo(1_024, valueOf);
const rightStart = "HTTP/1.1 200 ";
const headEnd = Buffer.from("\r\n\r\n");

export class Client {
  readonly #socket: Socket;
  readonly #host: string;
  #received: Buffer[] = [];
  #size = 0;
  /** Of the whole answer, known when its head is here. */
  #wanted = -1;
  #headBytes = 0;
  #status = 0;
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
    if (this.#wanted < 0) {
      const all = this.#all();
      const end = all.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = all.toString("latin1", 0, end);
      this.#status = Number(head.slice(9, 12));
      const length = /\r\ncontent-length: *(\d+)/i.exec(head);
      if (length === null) return void this.#socket.destroy(new Error("an answer without a length"));
      this.#headBytes = end + 4;
      this.#wanted = this.#headBytes + Number(length[1]);
    }
    if (this.#size < this.#wanted) return;
    const body = this.#all().subarray(this.#headBytes);
    const isRight = this.#status === 200 && body.equals(this.#value);
    this.#finish(isRight);
  }

  /** What nearly every answer is, told without reading its head. */
  #isWholeAndRight(chunk: Buffer): boolean {
    const bodyStart = chunk.length - this.#value.length;
    return bodyStart > 0 && chunk.toString("latin1", 0, rightStart.length) === rightStart &&
      chunk.indexOf(headEnd) === bodyStart - headEnd.length && this.#value.compare(chunk, bodyStart) === 0;
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
    this.#wanted = -1;
    done?.(isRight, performance.now());
  }
}
