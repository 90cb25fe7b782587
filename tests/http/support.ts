/** For the tests of the HTTP edge: a server on the test's own runtime, a raw client, and a group that remembers its calls. */
import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { BLIND, type Label } from "../../lib/core/invalidation/label.ts";
import type { Invalidation } from "../../lib/core/invalidation/message.ts";
import type { CancelSignal } from "../../lib/core/base/cancel.ts";
import type { Waiter } from "../../lib/core/load/flights.ts";
import { AnswerMeter } from "../../lib/core/measure/answer-meter.ts";
import { entryBytes } from "../../lib/core/cache/byte-cache.ts";
import type { Description } from "../../lib/core/group/description.ts";
import type { Hit, Loaded } from "../../lib/core/group/loaded.ts";
import type { GroupStats } from "../../lib/core/group/stats.ts";
import { PLAIN, type Value } from "../../lib/core/value.ts";
import { type AppOptions, createApp } from "../../lib/http/app.ts";
import type { GroupFigures, LinkFigures, LogFigures, NodeFigures, OutOfReachFigures } from "../../lib/http/figures.ts";
import type {
  CacheGroup,
  Invalidated,
  InvalidationFace,
  NodeFace,
  WaitOptions,
  WrittenValue,
} from "../../lib/http/ports.ts";
import { systemClock } from "../../lib/runtime/process.ts";
import { MemoryLog } from "../support/log.ts";
import type { Defer } from "../support/test.ts";

interface BunLike {
  serve(options: object): { port: number; stop(closeActive: boolean): Promise<void> };
}

const bun = (globalThis as unknown as { Bun?: BunLike }).Bun;
export const onBun = bun !== undefined;
// Each of Hono's adapters loads on its own runtime only.
const websocket = onBun ? (await import("hono/bun")).websocket : undefined;

type Fetch = (request: Request, env: object) => Response | Promise<Response>;

/** Serves on a free port of 127.0.0.1 until the test ends. @returns the port */
export function serve(fetch: Fetch, defer: Defer): number {
  if (bun !== undefined) {
    const server = bun.serve({ hostname: "127.0.0.1", port: 0, fetch, websocket });
    defer(() => server.stop(true));
    return server.port;
  }
  const ended = new AbortController();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, signal: ended.signal, onListen() {} }, fetch);
  defer(async () => {
    ended.abort();
    await server.finished;
  });
  return server.addr.port;
}

export interface RawResponse {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** Opens a connection, which is closed when the test ends. */
export function openSocket(port: number, defer: Defer): Socket {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  defer(() => socket.destroy());
  return socket;
}

/** Sends one request as typed, over its own connection; no client normalises it. */
export function rawRequest(
  port: number,
  target: string,
  method = "GET",
  host = "Host: h.test\r\n",
): Promise<RawResponse> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    const chunks: Buffer[] = [];
    const finish = () => {
      socket.destroy();
      const text = Buffer.concat(chunks).toString("utf8");
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) return reject(new Error(`no response to ${method} ${target}: ${JSON.stringify(text)}`));
      const [statusLine, ...lines] = text.slice(0, end).split("\r\n");
      const headers = new Map<string, string>();
      for (const line of lines) {
        const colon = line.indexOf(":");
        const name = line.slice(0, colon).toLowerCase();
        // `Connection` is a list, and the server adds its own part. Any other field may come once.
        if (headers.has(name) && name !== "connection") return reject(new Error(`${name} stands twice`));
        headers.set(name, line.slice(colon + 1).trim());
      }
      resolve({ status: Number(statusLine.split(" ")[1]), headers, body: text.slice(end + 4) });
    };
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("end", finish);
    socket.on("error", reject);
    socket.write(Buffer.from(`${method} ${target} HTTP/1.1\r\n${host}Connection: close\r\n\r\n`, "latin1"));
  });
}

export function valueOf(text: string, contentType = "text/plain; charset=utf-8"): Value {
  return plainValue(new TextEncoder().encode(text), contentType);
}

/** A value without an end and without fields. */
export function plainValue(body: Uint8Array<ArrayBuffer>, contentType: string): Value {
  const times = { bornAtMs: 0, freshUntilMs: Infinity, staleWhileRevalidateMs: 0, staleIfErrorMs: 0, loadMs: 0 };
  return { body, contentType, about: PLAIN, ...times, label: BLIND };
}

/**
 * A group whose main and hot cache tests fill, and whose origin answers with the key. It remembers every call. It is its own
 * entry in a map of served groups.
 */
export class MemoryGroup implements CacheGroup, InvalidationFace {
  readonly name: string;
  readonly answers = new AnswerMeter(systemClock);
  isBehind = false;
  isWritable = false;
  valueBytesMax = 1_000;
  /** What was invalidated and written, in order. */
  readonly invalidated: { readonly message: Invalidation; readonly waitMs: number }[] = [];
  readonly written: (WrittenValue & { readonly key: string; readonly waitMs: number })[] = [];
  /** The answer to both; replaced by tests. */
  onChange: () => Promise<Invalidated> = () =>
    Promise.resolve({ label: { epoch: 7, sequence: 42 }, applied: ["n1"], behind: [], durableMs: 1, appliedMs: 2 });
  /** The answer to `reach`; replaced by tests. */
  onReach: (label: Label) => true | Promise<boolean> = () => true;
  readonly main = new Map<string, Value>();
  readonly hot = new Map<string, Value>();
  readonly calls: string[] = [];
  readonly loadedKeys: string[] = [];
  /** Shown in the statistics beside the number of calls; the roster comes from the node. */
  figures: GroupFigures = {};
  /** The answer to a miss; replaced by tests. */
  onLoad: (key: string, signal: CancelSignal) => Promise<Loaded> = (key) =>
    Promise.resolve({ value: valueOf(key), source: "origin", stored: true });

  constructor(name: string) {
    this.name = name;
  }

  get group(): this {
    return this;
  }

  get invalidation(): this {
    return this;
  }

  invalidate(message: Invalidation, { waitMs }: WaitOptions): Promise<Invalidated> {
    this.invalidated.push({ message, waitMs });
    return this.onChange();
  }

  write(key: string, value: WrittenValue, { waitMs }: WaitOptions): Promise<Invalidated> {
    this.written.push({ key, waitMs, ...value });
    return this.onChange();
  }

  reach(label: Label): true | Promise<boolean> {
    this.calls.push(`reach ${label.epoch}-${label.sequence}`);
    return this.onReach(label);
  }

  loadUnkept(key: string, waiter: Waiter<Loaded>): void {
    this.calls.push(`loadUnkept ${key}`);
    this.onLoad(key, waiter.signal!).then((loaded) => waiter.resolve(loaded), (error) => waiter.reject(error));
  }

  lookup(key: string): Hit | undefined {
    this.calls.push(`lookup ${key}`);
    const main = this.main.get(key);
    if (main !== undefined) return { value: main, from: "main" };
    const hot = this.hot.get(key);
    return hot === undefined ? undefined : { value: hot, from: "hot" };
  }

  load(key: string, waiter: Waiter<Loaded>): void {
    this.calls.push(`load ${key}`);
    this.loadedKeys.push(key);
    this.onLoad(key, waiter.signal!).then((loaded) => waiter.resolve(loaded), (error) => waiter.reject(error));
  }

  getAsOwner(key: string, { signal }: { signal: CancelSignal }): Promise<Loaded> {
    this.calls.push(`getAsOwner ${key}`);
    this.loadedKeys.push(key);
    const main = this.main.get(key);
    if (main !== undefined) return Promise.resolve({ value: main, source: "main", stored: true });
    return this.onLoad(key, signal);
  }

  /** The answer to `describe`; replaced by tests. */
  onDescribe: (key: string) => Partial<Description> = () => ({});

  describe(key: string): Description {
    const nothing = { owners: [undefined], held: [], isHit: false, reason: "not-held" } as const;
    return { ...nothing, isPassed: false, isLoading: false, applied: BLIND, ...this.onDescribe(key) };
  }

  resident() {
    return [...this.main].map(([key, value]) => ({ key, bytes: entryBytes(key, value) }));
  }

  stats(): Partial<GroupStats> {
    const { roster: _, ...figures } = this.figures;
    return { gets: this.calls.length, ...figures };
  }
}

/** The figures of a link that has carried nothing. */
export const LINK = {
  asked: 0,
  answered: 0,
  asksInFlight: 0,
  servedInFlight: 0,
  framesOut: 0,
  framesIn: 0,
  bytesOut: 0,
};

type Options = Omit<Partial<AppOptions>, "groups"> & { readonly groups?: Map<string, MemoryGroup> };

/** An app over groups `dict` and `g` of a ready node called `n1`. */
export function appWith(options: Options = {}) {
  const dict = new MemoryGroup("dict");
  const g = new MemoryGroup("g");
  const { groups = new Map([["dict", dict], ["g", g]]) } = options;
  const log = new MemoryLog();
  const state: {
    ready: boolean;
    links?: readonly LinkFigures[];
    log?: LogFigures;
    outOfReach?: OutOfReachFigures;
    more?: NodeFigures;
    explainAtPeer?: NodeFace["explainAtPeer"];
  } = {
    ready: true,
  };
  const app = createApp({
    node: {
      name: "n1",
      incarnation: "01JABC",
      version: "0.1.0",
      runtime: "test 1",
      isReady: () => state.ready,
      stats: () => ({
        uptimeMs: 5,
        links: state.links,
        log: state.log,
        ...(state.outOfReach && { outOfReach: state.outOfReach }),
        ...state.more,
      }),
      roster: (group) => groups.get(group)?.figures.roster,
      explainAtPeer: (...asked) => state.explainAtPeer?.(...asked) ?? Promise.resolve(undefined),
    },
    groups,
    // The figures are for everybody here, but for the tests of the gate.
    isStatsPublic: true,
    clock: systemClock,
    log,
    ...options,
  });
  return { app, groups, dict, g, log, state };
}
