/** Connects a node to NATS: the URLs of `--nats`, and one connection to a server that greets. */
import { UnavailableError } from "../../core/errors.ts";
import { isIP } from "node:net";
import { type ConnectionOptions, ErrorCode, type NatsConnection } from "nats";
import type { NatsLogin } from "../../config/texts/nats-login.ts";
import type { Clock } from "../../core/base/clock.ts";
import { readLogin } from "./login.ts";
import { GreetingRace } from "./greeting-race.ts";
import { connectBounded } from "./transport.ts";
import { passLostErrors } from "./lost-errors.ts";

/** The servers of `--nats`, and the login. */
export interface NatsTarget {
  /** `host:port`, at least one. */
  readonly servers: readonly string[];
  /** From the URLs. */
  readonly auth: Pick<ConnectionOptions, "user" | "pass" | "token" | "tls">;
  /** @default none */
  readonly login?: NatsLogin;
}

/** The errors of a connection that the server ended by a TLS alert, on the two runtimes. */
const CUT = /^(read|write) E[A-Z]+$|^received fatal alert/;
/** The most servers of a cluster to remember in addition to the configured ones. Chosen. */
const maxGossip = 16;

/**
 * Reads `nats://host:port` URLs; `tls://` requires TLS. The first `user:password@` or `token@` counts for all URLs, as
 * nats.js takes one login.
 *
 * @throws TypeError for an empty list, another scheme or an invalid URL; its message never contains credentials.
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

/** A connection and the time limit of questions over it. */
export interface Connected {
  readonly connection: NatsConnection;
  /** The time limit of a question, in ms: the least time, or more if the round trip to this server is long. */
  readonly requestTimeoutMs: number;
  /** The quicker of two measurements, in ms, as this node may be busy during one: see `connectOnce`. */
  readonly roundTripMs: number;
}

/** One for the connection, one for the greeting. */
const GREETING_ROUND_TRIPS = 2;
/** The same two, and one for the login. */
const CONNECTION_ROUND_TRIPS = 3;
/** The most round trips for a question. Chosen: a new connection takes three, with TLS up to six. */
const TIMEOUT_ROUND_TRIPS = 8;
/** The most for it. Chosen: a server with longer round trips is as bad as no server. */
const MAX_TIMEOUT_MS = 10_000;

function timeoutOf(roundTripMs: number, leastMs: number): number {
  return Math.max(leastMs, Math.min(MAX_TIMEOUT_MS, Math.ceil(TIMEOUT_ROUND_TRIPS * roundTripMs)));
}

/**
 * Connects once, to the first server that greets and accepts the login. The caller tries again. The reconnecting of
 * nats.js stays off: it cannot be cancelled while it waits for the first connection, and after a later one it sends
 * writes that were given up long before.
 *
 * @param how.timeoutMs the least time limit of a question; a server has twice this time to greet
 * @throws UnavailableError if no server greets or `signal` is aborted
 * @throws UnavailableError also if no server accepts the login, or a file of the login cannot be read; NatsError for
 * other faults
 */
export async function connectOnce(target: NatsTarget, gossip: ReadonlySet<string>, how: {
  name: string;
  timeoutMs: number;
  clock: Clock;
  signal: AbortSignal;
}): Promise<Connected> {
  // In random order, so that the nodes spread over the servers of a cluster.
  const servers = inRandomOrder([...new Set([...target.servers, ...gossip])]);
  const race = new GreetingRace(servers, { ...how, timeoutMs: 2 * how.timeoutMs });
  let login: Partial<ConnectionOptions> | undefined;
  let fault: unknown;
  try {
    for (;;) {
      const greeted = await race.next();
      if (greeted === undefined) break;
      passLostErrors();
      login ??= { ...target.auth, ...await readLogin(target.login ?? {}) };
      const greetingMs = greeted.tookMs / GREETING_ROUND_TRIPS;
      const timeoutMs = timeoutOf(greetingMs, how.timeoutMs);
      const beganMs = how.clock.nowMs();
      try {
        const connection = await connectTo(greeted.server, login, target, { ...how, timeoutMs });
        const tookMs = how.clock.nowMs() - beganMs;
        // A busy moment during one measurement must not give all later questions a long time limit.
        const roundTripMs = Math.min(greetingMs, tookMs / CONNECTION_ROUND_TRIPS);
        return { connection, requestTimeoutMs: timeoutOf(roundTripMs, how.timeoutMs), roundTripMs };
      } catch (error) {
        fault = error;
      }
    }
  } finally {
    race.close();
  }
  if (login === undefined || how.signal.aborted) {
    throw new UnavailableError(`no NATS server answers at ${[...target.servers, ...gossip].join(", ")}`);
  }
  throw explained(target, login.tls !== undefined, fault);
}

function connectTo(
  server: string,
  login: Partial<ConnectionOptions>,
  target: NatsTarget,
  how: { name: string; timeoutMs: number },
): Promise<NatsConnection> {
  const { hostname } = new URL(`nats://${server}`);
  const host = hostname.replace(/^\[|\]$/g, "");
  // The certificate of an address from the cluster is checked against the configured name, as nats.js does.
  const isGossip = !target.servers.includes(server);
  const name = isName(host) ? host : isGossip ? target.servers.map(hostOf).find(isName) : undefined;
  // Without a host Deno checks the certificate of an address against the name "localhost".
  const tls = login.tls && { ...login.tls, host, ...(name !== undefined && { servername: name }) };
  return connectBounded({
    ...login,
    ...(tls != null && { tls }),
    servers: [server],
    // The client would ask DNS itself, ignore the hosts file, and try only one of the addresses.
    resolve: false,
    name: how.name,
    timeout: how.timeoutMs,
    reconnect: false,
    // Two pings without an answer: so a server that stalls with open sockets is noticed in at most 15 s.
    pingInterval: 5_000,
    maxPingOut: 2,
  });
}

const hostOf = (server: string): string => new URL(`nats://${server}`).hostname;
const isName = (host: string): boolean => isIP(host.replace(/^\[|\]$/g, "")) === 0;

function inRandomOrder<T>(all: readonly T[]): T[] {
  return all.map((one) => ({ one, at: Math.random() })).sort((a, b) => a.at - b.at).map(({ one }) => one);
}

/** Explains errors for which the client's text is not enough: "Authorization Violation", "write EPIPE". */
function explained({ servers, login = {} }: NatsTarget, isTls: boolean, fault: unknown): unknown {
  const where = `the NATS server at ${servers.join(", ")}`;
  const { code, message } = fault as { code?: unknown; message?: string };
  if (isTls && CUT.test(message ?? "")) {
    const hint = login.cert === undefined ? ": it may want a client certificate (--nats-cert)" : "";
    return new UnavailableError(`${where} ended the TLS connection (${message})${hint}`, { cause: fault });
  }
  if (code !== ErrorCode.AuthorizationViolation) return fault;
  if (login.bundledNkey === undefined) {
    return new UnavailableError(`${where} refuses the login (Authorization Violation)`, { cause: fault });
  }
  return new UnavailableError(
    `${where} refuses the login in ${login.bundledNkey}: it is another user's, or that of another folder. Name that ` +
      `folder with --nats-store, or another port with --nats-port`,
    { cause: fault },
  );
}

/**
 * Remembers the other servers of the cluster for a time when the configured ones are down. Forgets first the servers
 * that were not named for the longest time.
 */
export function learnGossip(connection: NatsConnection, gossip: Set<string>): void {
  for (const url of connection.info?.connect_urls ?? []) {
    gossip.delete(url);
    gossip.add(url);
  }
  for (const url of [...gossip].slice(0, -maxGossip)) gossip.delete(url);
}
