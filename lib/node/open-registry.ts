/** Where a node finds the registry that its options name. */
import type { Config, NatsConfig } from "../config/config.ts";
import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { EmbeddedNats } from "../nats/embedded.ts";
import { MemoryStore } from "../registry/memory-store.ts";
import { NatsStore } from "../nats/peer-store.ts";
import type { PeerStore } from "../registry/store.ts";
import { environment } from "../runtime/process.ts";

/** The environment variables that a node reads besides those of the option table. */
const SERVER_PATHS = ["PATH", "NATS_SERVER_BIN"] as const;

/**
 * The store, and the server that must run for it, if that is this process's business.
 *
 * @param shared the store of a machine on its own, in the place of one that nobody shares
 */
export function openRegistry(
  { nats, bucket, replicas }: Pick<Config, "nats" | "bucket" | "replicas">,
  clock: Clock,
  log: Log,
  shared?: PeerStore,
): { store: PeerStore; embedded?: EmbeddedNats } {
  if (nats.kind === "off") return { store: shared ?? new MemoryStore() };
  const rest = { bucket, replicas, clock, log };
  if (nats.kind === "urls") return { store: new NatsStore({ ...rest, urls: nats.urls }) };
  const store = new NatsStore({ ...rest, urls: [embeddedUrl(nats)] });
  return { store, embedded: embeddedServer(nats, clock, log) };
}

type Embedded = Extract<NatsConfig, { kind: "embedded" }>;

/** Where the bundled server listens. */
export function embeddedUrl({ port }: Embedded): string {
  return `nats://127.0.0.1:${port}`;
}

/** The bundled server, not started yet. */
export function embeddedServer({ port, storeDir }: Embedded, clock: Clock, log: Log): EmbeddedNats {
  const env = environment(SERVER_PATHS);
  return new EmbeddedNats({
    port,
    storeDir,
    searchPath: env["PATH"],
    namedBinary: env["NATS_SERVER_BIN"],
    clock,
    log,
  });
}
