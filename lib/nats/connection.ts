/** How a node reaches NATS: the URLs of `--nats`, and one connection to a server that greets. */
import { UnavailableError } from "../core/errors.ts";
import { connect, type ConnectionOptions, type NatsConnection } from "nats";
import type { Clock } from "../core/base/clock.ts";
import { greets } from "./presence.ts";
import { passLostErrors } from "./lost-errors.ts";

/** The servers of `--nats`, and the login. */
export interface NatsTarget {
  /** `host:port`, at least one. */
  readonly servers: readonly string[];
  readonly auth: Pick<ConnectionOptions, "user" | "pass" | "token" | "tls">;
}

/** Most servers of a cluster that are remembered beside the named ones. Chosen. */
const maxGossip = 16;

/**
 * Reads `nats://host:port` URLs; `tls://` asks for TLS. The first `user:password@` or `token@` counts for all of them:
 * nats.js takes one login.
 *
 * @throws TypeError for an empty list, another scheme, or something that is no URL; never repeats credentials.
 */
export function parseNatsUrls(urls: readonly string[]): NatsTarget {
  if (urls.length === 0) throw new TypeError("Cannot reach NATS without a URL");
  const parsed = urls.map(parseNatsUrl);
  const known = parsed.find((url) => url.username !== "");
  const user = decodeURIComponent(known?.username ?? "");
  const login = known === undefined
    ? {}
    : known.password === ""
    ? { token: user }
    : { user, pass: decodeURIComponent(known.password) };
  const isTls = parsed.some((url) => url.protocol === "tls:");
  return {
    servers: parsed.map((url) => `${url.hostname}:${url.port || "4222"}`),
    auth: isTls ? { ...login, tls: {} } : login,
  };
}

function parseNatsUrl(input: string): URL {
  const text = /^[a-z]+:\/\//i.test(input) ? input : `nats://${input}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.hostname === "" || (url.protocol !== "nats:" && url.protocol !== "tls:")) {
    throw new TypeError("Cannot use a NATS URL that is not nats://host:port or tls://host:port");
  }
  return url;
}

/**
 * Connects once, to any of the servers that greet within `timeoutMs`. The reconnecting of nats.js stays off: it cannot be
 * cancelled while it waits for the first connection, and after a later one it sends writes that were given up long before.
 * The caller tries again.
 *
 * @throws UnavailableError when no server greets, or `signal` is aborted
 * @throws NatsError when none of them takes the login
 */
export async function connectOnce(target: NatsTarget, gossip: ReadonlySet<string>, how: {
  name: string;
  timeoutMs: number;
  clock: Clock;
  signal: AbortSignal;
}): Promise<NatsConnection> {
  const servers = [...new Set([...target.servers, ...gossip])];
  const greeted = await Promise.all(servers.map((server) => greets(server, how)));
  const present = servers.filter((_, index) => greeted[index]);
  if (present.length === 0 || how.signal.aborted) {
    throw new UnavailableError(`no NATS server answers at ${servers.join(", ")}`);
  }
  passLostErrors();
  return await connect({
    ...target.auth,
    servers: present,
    name: how.name,
    timeout: how.timeoutMs,
    reconnect: false,
    // Two pings without an answer: a server that stalls with its sockets open is noticed in 15 s at most.
    pingInterval: 5_000,
    maxPingOut: 2,
  });
}

/**
 * Remembers the other servers of the cluster for when the named ones are down; forgets those first that it has not heard of
 * for the longest time.
 */
export function learnGossip(connection: NatsConnection, gossip: Set<string>): void {
  for (const url of connection.info?.connect_urls ?? []) {
    gossip.delete(url);
    gossip.add(url);
  }
  for (const url of [...gossip].slice(0, -maxGossip)) gossip.delete(url);
}
