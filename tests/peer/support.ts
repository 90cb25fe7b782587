/** A Hono app on a real port of either runtime, and a clock that ticks by itself. */
import assert from "node:assert/strict";
import { Hono } from "hono";
import type { UpgradeWebSocket } from "hono/ws";
import type { Clock } from "../../lib/core/base/clock.ts";
import { BLIND } from "../../lib/core/invalidation/label.ts";
import type { PeerRecord } from "../../lib/core/roster.ts";
import { PLAIN, type Value } from "../../lib/core/value.ts";
import type { PeerHub } from "../../lib/peer/hub.ts";
import { PEER_PATH } from "../../lib/peer/dialer.ts";
import { answerPeer, type PeerDoor, type Upgrade } from "../../lib/http/peers.ts";
import { keyOf } from "../support/identity.ts";

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
};

export function record(name: string, url = "http://127.0.0.1:1", incarnation = `01-${name}`): PeerRecord {
  const joined = "2026-01-01T00:00:00.000Z";
  const key = keyOf(name, incarnation);
  return {
    name,
    url,
    incarnation,
    key,
    state: "serving",
    weight: 1,
    zone: "",
    joined,
    version: "0.1.0",
    runtime: "test",
  };
}

/** A value without an end, unless `change` says otherwise. */
export function valueOf(body: string | Uint8Array<ArrayBuffer>, change: Partial<Value> = {}): Value {
  return {
    body: typeof body === "string" ? new TextEncoder().encode(body) : body,
    contentType: "text/plain",
    bornAtMs: 0,
    freshUntilMs: Infinity,
    staleWhileRevalidateMs: 0,
    staleIfErrorMs: 0,
    loadMs: 0,
    about: PLAIN,
    label: BLIND,
    ...change,
  };
}

export interface Served {
  readonly url: string;
  stop(): Promise<void>;
}

/** The parts of `Bun.serve` and `Deno.serve` that the tests use. */
interface Runtimes {
  Bun?: {
    serve(options: Record<string, unknown>): { port: number; stop(abrupt: boolean): Promise<void> };
  };
  Deno?: {
    serve(options: Record<string, unknown>, handler: (request: Request) => Response | Promise<Response>): {
      addr: { port: number };
      shutdown(): Promise<void>;
    };
  };
}

/** Serves the hub's endpoint on a free port of 127.0.0.1. */
export async function serveHub(hub: () => PeerHub): Promise<Served> {
  const { Bun, Deno } = globalThis as unknown as Runtimes;
  const app = new Hono();
  if (Bun !== undefined) {
    const { upgradeWebSocket, websocket } = await import("hono/bun");
    mount(app, upgradeWebSocket, hub);
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: app.fetch,
      websocket: {
        ...websocket,
        maxPayloadLength: 17 * 1024 * 1024,
        backpressureLimit: 64 * 1024 * 1024,
        perMessageDeflate: false,
      },
    });
    return { url: `http://127.0.0.1:${server.port}`, stop: () => server.stop(true) };
  }
  const { upgradeWebSocket } = await import("hono/deno");
  mount(app, upgradeWebSocket, hub);
  const server = Deno!.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => app.fetch(request));
  return { url: `http://127.0.0.1:${server.addr.port}`, stop: () => server.shutdown() };
}

/** As a node does. */
function mount(app: Hono, upgradeWebSocket: UpgradeWebSocket, hub: () => PeerHub): void {
  const door: PeerDoor = {
    challenge: (fields) => hub().challenge(fields),
    admit: async (fields, gone) => {
      const admitted = await hub().admit(fields, gone);
      return admitted && hub().endpoint(admitted);
    },
  };
  app.get(PEER_PATH, (c) => answerPeer(c, door, upgradeWebSocket as Upgrade));
}

/** Reads a client's message by the letter of RFC 6455, 5.2. */
export function unmask(message: Uint8Array): { opcode: number; payload: Uint8Array } {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const short = message[1]! & 0x7f;
  assert.equal(message[0]! & 0xf0, 0x80);
  assert.equal(message[1]! & 0x80, 0x80);
  const at = short === 126 ? 4 : short === 127 ? 10 : 2;
  const length = short === 126 ? view.getUint16(2) : short === 127 ? Number(view.getBigUint64(2)) : short;
  assert.equal(message.length, at + 4 + length);
  const mask = message.subarray(at, at + 4);
  return { opcode: message[0]! & 0x0f, payload: message.subarray(at + 4).map((byte, i) => byte ^ mask[i % 4]!) };
}
