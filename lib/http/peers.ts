/** The path of other nodes: they prove who they are before they get a WebSocket. */
import { type Context, Hono } from "hono";
import type { WSEvents } from "hono/ws";
import { jsonResponse } from "./json.ts";
import { rawPathOf } from "./key.ts";
import type { NodeFace } from "./ports.ts";
import { problemResponse } from "./problem.ts";

/** How other nodes are answered. */
export interface PeersOptions {
  readonly door: PeerDoor;
  readonly upgrade: Upgrade;
}

/** Decides who is a peer. */
export interface PeerDoor {
  /** The fields of the answer to a request that asks for no upgrade. */
  challenge(fields: Headers): Promise<Record<string, string>>;
  /**
   * Resolves to the events of the connection when the sender has proved to be a peer, else to nothing.
   *
   * @param gone the client has given up
   */
  admit(fields: Headers, gone: AbortSignal): Promise<WSEvents | undefined>;
}

/** The WebSocket of a request. @throws Error the runtime cannot upgrade it: the client has gone, or sent no handshake */
export type Upgrade = (c: Context, events: WSEvents) => Promise<Response>;

/**
 * The app of a listener for other nodes alone. `/healthz` is there, too, for what watches over processes.
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
  // Bun's upgrade throws at a Host that no URL can have.
  if (!URL.canParse(c.req.url)) return problemResponse({ status: 400, detail: "the Host header names no host" });
  const events = await door.admit(headers, signal);
  if (events === undefined) return refused();
  try {
    return await upgrade(c, events);
  } catch {
    return refused();
  }
}

/** By RFC 6455, 4.2.1. Deno's upgrade takes HEAD for GET. */
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

/** The same for each reason: a stranger learns nothing from it. */
function refused(): Response {
  return problemResponse({ status: 403, detail: "this path takes WebSockets of other nodes only" });
}
