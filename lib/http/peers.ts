/** The path for other nodes. A node must prove its identity before it gets a WebSocket. */
import { type Context, Hono } from "hono";
import type { WSEvents } from "hono/ws";
import { jsonResponse } from "./json.ts";
import { rawPathOf } from "./key.ts";
import type { NodeFace } from "./ports.ts";
import { problemResponse } from "./problem.ts";

/** Answers other nodes. */
export interface PeersOptions {
  readonly door: PeerDoor;
  readonly upgrade: Upgrade;
}

/** Decides which senders are peers. */
export interface PeerDoor {
  /** Makes the fields of the answer to a request without an upgrade. */
  challenge(fields: Headers): Promise<Record<string, string>>;
  /**
   * Resolves to the handlers of the connection if the sender has proved to be a peer, else to `undefined`.
   *
   * @param gone aborted when the client has given up
   */
  admit(fields: Headers, gone: AbortSignal): Promise<WSEvents | undefined>;
}

/** Upgrades a request. @throws Error the runtime cannot upgrade it: the client has gone, or sent no handshake */
export type Upgrade = (c: Context, events: WSEvents) => Promise<Response>;

/**
 * Makes the app of a listener that only other nodes use. It also has `/healthz`, for programs that supervise processes.
 */
export function createPeerApp(peers: PeersOptions, node: Pick<NodeFace, "name" | "incarnation">): Hono {
  const app = new Hono({ getPath: (request) => rawPathOf(request.url) });
  app.get("/_peer", (c) => answerPeer(c, peers.door, peers.upgrade));
  app.get("/healthz", () => healthOf(node));
  app.notFound(() => problemResponse({ status: 404, detail: "only other nodes are answered here" }));
  return app;
}

/** The answer to `/healthz`. */
export function healthOf({ name, incarnation }: Pick<NodeFace, "name" | "incarnation">): Response {
  return jsonResponse({ status: "alive", name, incarnation });
}

/** Answers `GET /_peer`. */
export async function answerPeer(c: Context, door: PeerDoor, upgrade: Upgrade): Promise<Response> {
  const { headers, signal } = c.req.raw;
  if (!isHandshake(c)) return upgradeRequired(await door.challenge(headers));
  // Bun's upgrade throws if Host cannot be part of a URL.
  if (!URL.canParse(c.req.url)) return problemResponse({ status: 400, detail: "the Host header names no host" });
  const events = await door.admit(headers, signal);
  if (events === undefined) return refused();
  try {
    return await upgrade(c, events);
  } catch {
    return refused();
  }
}

/** Follows RFC 6455, 4.2.1. The method is checked because Deno's upgrade accepts HEAD like GET. */
function isHandshake({ req }: Context): boolean {
  return req.method === "GET" && req.header("sec-websocket-key") !== undefined &&
    /^websocket$/.test(req.header("upgrade") ?? "") &&
    /(?:^|[\s,])upgrade(?:[\s,]|$)/i.test(req.header("connection") ?? "");
}

function upgradeRequired(fields: Record<string, string>): Response {
  return problemResponse({ status: 426, detail: "this path takes WebSockets of other nodes only" }, {
    ...fields,
    upgrade: "websocket",
    connection: "Upgrade",
  });
}

/** The same answer for each reason, so that a stranger learns nothing from it. */
function refused(): Response {
  return problemResponse({ status: 403, detail: "this path takes WebSockets of other nodes only" });
}
