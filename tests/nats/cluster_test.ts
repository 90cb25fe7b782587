import assert from "node:assert/strict";
import { connect, ErrorCode, type KvEntry, NatsError } from "nats";
import { until } from "../support/embedded-process.ts";
import { startNatsCluster } from "../support/nats-server.ts";
import { test } from "../support/test.ts";

test("a cluster of three real servers takes a replicated bucket at once, and keeps it when one is killed", async (defer) => {
  const { servers, settled } = await startNatsCluster(defer, 3);
  const nc = await connect({
    servers: servers.map(({ url }) => url),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
  });
  defer(() => nc.close());
  const bucket = await nc.jetstream().views.kv("peers", { replicas: 3 });
  let revision = 0;
  // Just after the bucket was made, the client's server may not yet know which server leads it (1 of 50).
  await until(
    async () => (revision = await bucket.put("dict.a", "kept").catch(zeroWhenUnheard)) > 0,
    "it takes a record",
  );
  assert.equal((await bucket.status()).replicas, 3);
  await nc.close();
  await servers[0]!.stop("SIGKILL");
  await servers[0]!.restart();
  await settled();
  const again = await connect({ servers: servers[0]!.url, maxReconnectAttempts: -1, reconnectTimeWait: 100 });
  defer(() => again.close());
  const kept = await again.jetstream().views.kv("peers");
  let found = null as KvEntry | null;
  // The bucket's replicas elect a leader of their own, and are unavailable meanwhile.
  await until(async () => (found = await kept.get("dict.a").catch(() => null)) !== null, "the record is back");
  assert.equal(found!.revision, revision);
});

function zeroWhenUnheard(error: unknown): number {
  if (error instanceof NatsError && error.code === ErrorCode.NoResponders) return 0;
  throw error;
}
