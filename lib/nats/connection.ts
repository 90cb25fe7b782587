/** How a node reaches NATS: the URLs of `--nats`, and one connection to whichever of them answers. */
import { connect, type ConnectionOptions, type NatsConnection } from "nats";
import type { Clock } from "../core/base/clock.ts";
import { greets } from "./presence.ts";
import { passLostErrors } from "./lost-errors.ts";
import { UnavailableError } from "../registry/store.ts";

/** The URLs that were asked for, and how to present oneself. */
export interface NatsTarget {
  /** `host:port`, at least one. */
  readonly servers: readonly string[];
  readonly auth: Pick<ConnectionOptions, "user" | "pass" | "token" | "tls">;
}

/** Most servers of a cluster that are remembered beside those that were named. */
const maxGossip = 16;

/**
 * Reads `nats://host:port` URLs; `tls://` asks for TLS. `user:password@` or `token@` of the first URL that has it
 * counts for all of them: the client presents itself in one way only.
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
 * Connects once, to any of the servers that greet within `timeoutMs`. The client's own reconnecting stays off: it cannot
 * be cancelled while it waits for the first connection, and after a later one it sends writes that were given up long
 * before. Whoever calls this calls it again.
 *
 * @throws UnavailableError when no server greets, or `signal` is aborted
 * @throws NatsError when none of them lets us in
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
    // A server that stalls without closing its sockets is noticed in 15 s at most.
    pingInterval: 5_000,
    maxPingOut: 2,
  });
}

/**
 * Remembers the other servers of the cluster, for the day on which the named ones are down; those first that were not heard
 * of for the longest are forgotten.
 */
export function learnGossip(connection: NatsConnection, gossip: Set<string>): void {
  for (const url of connection.info?.connect_urls ?? []) {
    gossip.delete(url);
    gossip.add(url);
  }
  for (const url of [...gossip].slice(0, -maxGossip)) gossip.delete(url);
}
