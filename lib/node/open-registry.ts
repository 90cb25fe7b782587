/** Opens the registry that a node's options name. */
import { isLoopback } from "../config/texts/addresses.ts";
import type { Config, NatsConfig } from "../config/config.ts";
import { secretsIn } from "../config/texts/secret.ts";
import type { NatsLogin } from "../config/texts/nats-login.ts";
import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import type { InvalidationLog } from "../core/invalidation/log.ts";
import { bundledLogin, EmbeddedNats } from "../nats/server/embedded.ts";
import { MemoryStream } from "../registry/store/memory-log.ts";
import { MemoryStore } from "../registry/store/memory-store.ts";
import { NatsStore } from "../nats/peer-store.ts";
import { Seal } from "../nats/seal.ts";
import type { DefinitionStore } from "../registry/store/definitions.ts";
import type { PeerStore } from "../registry/store/store.ts";
import { besideProgram } from "../runtime/packed.ts";
import { environment, isReadableByAll, readTextFile } from "../runtime/process.ts";

/** Environment variables that a node reads in addition to those of the option table. */
const SERVER_PATHS = ["PATH", "NATS_SERVER_BIN"] as const;
/**
 * How often a node compares itself with the log; the same as for the list of peers. It is more often only if a group
 * needs it.
 */
const LOG_CHECK_MS = 3_000;
/** Chosen: a check is one small question to NATS. */
const LEAST_LOG_CHECK_MS = 100;

/** The place where nodes find each other, and the log of invalidations. */
export interface Registry {
  readonly store: PeerStore;
  /** With NATS it uses the store's connection: from the store's `watch` until its `close`. */
  readonly log: InvalidationLog;
  /** The groups that operators define; with NATS only. */
  readonly definitions?: DefinitionStore;
  /** The bundled server, if this process must run it. */
  readonly embedded?: EmbeddedNats;
}

/**
 * Makes the registry of a node; nothing is connected or started yet.
 *
 * @param shared the store and log that the workers of a machine without NATS share; without it this node gets its own
 */
export function openRegistry(
  config: Pick<Config, "nats" | "natsLogin" | "secretFile" | "bucket" | "replicas" | "groups">,
  clock: Clock,
  log: Log,
  shared: Partial<Pick<Registry, "store" | "log">> = {},
): Registry {
  const { nats, natsLogin, bucket, replicas, groups } = config;
  if (nats.kind === "off") {
    return { store: shared.store ?? new MemoryStore(), log: shared.log ?? new MemoryStream(clock).open() };
  }
  const rest = { bucket, replicas, clock, log, logCheckIntervalMs: logCheckIntervalMs(groups) };
  const way = nats.kind === "urls" ? { urls: nats.urls, login: natsLogin } : embeddedWay(nats);
  const store = new NatsStore({ ...rest, ...way, seal: sealOf(config.secretFile, log) });
  const all = { store, log: store, definitions: store };
  return nats.kind === "urls" ? all : { ...all, embedded: embeddedServer(nats, clock, log) };
}

/** @throws Error the file cannot be used any more */
function sealOf(secretFile: string | undefined, log: Log): Seal {
  if (secretFile === undefined) return new Seal();
  if (isReadableByAll(secretFile)) {
    log.warn(`every user of this machine can read the cluster's secret in ${secretFile}`);
  }
  return new Seal(secretsIn(readTextFile(secretFile)));
}

/** A group may limit the time that it serves without contact; there must be two checks within that time. */
function logCheckIntervalMs(groups: Config["groups"]): number {
  const blindMs = groups.map(({ maxBlindMs }) => maxBlindMs ?? Infinity);
  return Math.max(LEAST_LOG_CHECK_MS, Math.min(LOG_CHECK_MS, ...blindMs.map((ms) => ms / 3)));
}

type Embedded = Extract<NatsConfig, { kind: "embedded" }>;

/** The URL of the bundled server, and the login for it. */
export function embeddedWay({ port, storeDir }: Embedded): { urls: string[]; login: NatsLogin } {
  return { urls: [`nats://127.0.0.1:${port}`], login: { bundledNkey: bundledLogin(storeDir) } };
}

/** Why a record's URL cannot be a peer's: a NATS server listens there, and nodes would send HTTP to it for ever. */
export function serviceFault(url: string, nats: NatsConfig): string | undefined {
  const urls = nats.kind === "off" ? [] : nats.kind === "urls" ? nats.urls : embeddedWay(nats).urls;
  const isThere = urls.some((server) => placeOf(server) === placeOf(url));
  return isThere ? "its URL is that of a NATS server" : undefined;
}

/** Host and port. All loopback names count as one: a server at one of them is mostly at the others, too. */
function placeOf(url: string): string {
  // Parse it as an HTTP URL: other schemes do not normalise addresses, and treat port 80 differently.
  const { hostname, port } = new URL(url.replace(/^\w+:/, "http:"));
  return `${isLoopback(hostname) ? "loopback" : hostname}:${port || 80}`;
}

/** The bundled server, not started yet. */
export function embeddedServer({ port, storeDir }: Embedded, clock: Clock, log: Log): EmbeddedNats {
  const env = environment(SERVER_PATHS);
  return new EmbeddedNats({
    port,
    storeDir,
    searchPath: env["PATH"],
    namedBinary: env["NATS_SERVER_BIN"],
    bundledBinary: besideProgram("nats-server"),
    clock,
    log,
  });
}
