/** The stores on which the contract is checked: memory, the same behind a pipe, and a real nats-server. */
import { connect as connectTcp, createServer, type Socket } from "node:net";
import { connect } from "nats";
import { MemoryBucket } from "../../lib/registry/store/memory-store.ts";
import { NatsStore } from "../../lib/nats/peer-store.ts";
import { MemoryLog } from "../support/log.ts";
import { PipeStore, serveStore } from "../../lib/workers/pipe-store.ts";
import { startNats } from "../support/nats-server.ts";
import type { Defer } from "../support/test.ts";
import { type HarnessKind, realClock } from "./support.ts";

export const memory: HarnessKind = {
  name: "memory",
  needs: {},
  async start() {
    const bucket = new MemoryBucket();
    return {
      async open() {
        const store = bucket.open();
        return { store, loseNextAnswer: () => store.loseNextAnswer() };
      },
      goAway: async () => bucket.goAway(),
      comeBack: async () => bucket.comeBack(),
      loseBucket: async () => bucket.loseBucket(),
      purge: async (key) => bucket.dropPurge(key),
    };
  },
};

/** The same memory, reached as a worker reaches its supervisor's: each message through JSON, and later. */
export const pipe: HarnessKind = {
  name: "pipe",
  needs: {},
  async start() {
    const bucket = new MemoryBucket();
    const copied = <T>(message: T): T => JSON.parse(JSON.stringify(message));
    return {
      async open() {
        const behind = bucket.open();
        const serve = serveStore(behind, (message) => setImmediate(() => store.receive(copied(message))));
        const store = new PipeStore((message) => setImmediate(() => serve(copied(message))));
        return { store, loseNextAnswer: () => behind.loseNextAnswer() };
      },
      goAway: async () => bucket.goAway(),
      comeBack: async () => bucket.comeBack(),
      loseBucket: async () => bucket.loseBucket(),
      purge: async (key) => bucket.dropPurge(key),
    };
  },
};

export const nats: HarnessKind = {
  name: "nats",
  needs: { timeoutMs: 60_000 },
  async start(defer) {
    const server = await startNats(defer);
    const admin = async <T>(work: (jsm: Jsm) => Promise<T>): Promise<T> => {
      const connection = await connect({ servers: server.url });
      try {
        return await work(await connection.jetstreamManager());
      } finally {
        await connection.close();
      }
    };
    return {
      async open() {
        const proxy = await lossyProxy(defer, server.port);
        const store = new NatsStore({
          urls: [`nats://127.0.0.1:${proxy.port}`],
          clock: realClock,
          log: new MemoryLog(),
          requestTimeoutMs: 1_000,
          checkIntervalMs: 200,
          retryMostMs: 300,
        });
        defer(() => store.close());
        return { store, loseNextAnswer: proxy.loseNextAnswer };
      },
      goAway: () => server.stop("SIGKILL"),
      comeBack: () => server.restart(),
      loseBucket: () =>
        admin(async (jsm) => {
          await jsm.streams.delete("KV_peers");
          await jsm.jetstream().views.kv("peers");
        }),
      purge: (key) => admin(async (jsm) => void await jsm.streams.purge("KV_peers", { filter: `$KV.peers.${key}` })),
    };
  },
};

type Jsm = Awaited<ReturnType<Awaited<ReturnType<typeof connect>>["jetstreamManager"]>>;

export interface LossyProxy {
  readonly port: number;
  /** The next write is passed on, but its answer is lost with the connection. */
  loseNextAnswer(): void;
  /** Cuts all connections, and refuses new ones until `mend`. */
  cut(): void;
  mend(): void;
}

/**
 * A proxy that can lose the answer to a write: it passes the write on, and cuts the connection when the answer comes.
 *
 * @param write how a write begins, in NATS's protocol
 */
export async function lossyProxy(defer: Defer, port: number, write = "HPUB $KV."): Promise<LossyProxy> {
  let isArmed = false;
  let isCut = false;
  const sockets = new Set<Socket>();
  const destroyAll = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const proxy = createServer((client) => {
    if (isCut) return client.destroy();
    const server = connectTcp(port, "127.0.0.1");
    let isLosing = false;
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        server.destroy();
      });
    }
    client.on("data", (data) => {
      if (isArmed && data.includes(write)) {
        isArmed = false;
        isLosing = true;
      }
      server.write(data);
    });
    server.on("data", (data) => isLosing ? server.destroy() : client.write(data));
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  defer(async () => {
    destroyAll();
    await new Promise((resolve) => proxy.close(resolve));
  });
  return {
    port: (proxy.address() as { port: number }).port,
    loseNextAnswer: () => isArmed = true,
    cut: () => {
      isCut = true;
      destroyAll();
    },
    mend: () => isCut = false,
  };
}
