/** The process that the user starts with more than one of `--workers`: it runs no node, but the processes that do. */
import { advertised, type Config, workerName } from "../config/config.ts";
import { hostInUrl } from "../config/addresses.ts";
import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { starting } from "../http/app.ts";
import { embeddedServer, embeddedUrl } from "../node/open-registry.ts";
import type { EmbeddedNats } from "../nats/embedded.ts";
import { MemoryBucket } from "../registry/memory-store.ts";
import { startTwin } from "../runtime/child.ts";
import { listen } from "../runtime/serve.ts";
import { type FromWorker, lineOf, type ToWorker, WORKER, type WorkerSetup } from "./messages.ts";
import { serveStore, type ToStore } from "./pipe-store.ts";
import { Supervisor, type WorkerProcess } from "./supervisor.ts";

/** Kept back from the time for the stop: for the bundled NATS server, which must outlast the workers. */
const AFTER_WORKERS_MS = 300;
/** What is in flight at the probe of the port may take so long; nothing is. */
const PROBE_STOP_MS = 500;

/** The workers of this machine, behind one address. */
export class Machine {
  readonly #config: Config;
  readonly #count: number;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #failed = Promise.withResolvers<Error>();
  /** The registry, where there is no NATS. */
  readonly #bucket = new MemoryBucket();
  #embedded: EmbeddedNats | undefined;
  #supervisor: Supervisor | undefined;
  #isStopping = false;

  constructor(config: Config, count: number, { clock, log }: { clock: Clock; log: Log }) {
    this.#config = config;
    this.#count = count;
    this.#clock = clock;
    this.#log = log;
  }

  /** Resolves when the machine cannot go on; see {@link Supervisor}. */
  get failed(): Promise<Error> {
    return this.#failed.promise;
  }

  /**
   * Resolves when all workers take connections.
   *
   * @throws Error the address cannot be had, or no worker started
   */
  async start(): Promise<void> {
    const config = this.#config;
    const sharedAddr = { host: config.addr.host, port: await this.#freePort() };
    const { url, name } = advertised(config, sharedAddr.port);
    await this.#startNats();
    if (this.#isStopping) return;
    const names = Array.from({ length: this.#count }, (_, index) => workerName(name, index + 1));
    const shared = {
      machine: { name, url },
      workers: names,
      sharedAddr,
      reachedAt: config.advertise === undefined ? hostInUrl(config.addr.host) : new URL(config.advertise).hostname,
      config: this.#workerConfig(),
    };
    const supervisor = new Supervisor({
      names,
      start: (worker, onMessage) => this.#startWorker({ ...shared, name: worker }, onMessage),
      clock: this.#clock,
      log: this.#log,
    });
    this.#supervisor = supervisor;
    void supervisor.failed.then(this.#failed.resolve);
    await supervisor.start();
    this.#log.info(`listening on ${url}`, { name, workers: this.#count });
  }

  /** Stops all workers, within the drain timeout, and then what they needed. Never throws. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#supervisor?.stop(this.#config.drainTimeoutMs - AFTER_WORKERS_MS);
    await this.#embedded?.stop();
  }

  /** Ends all workers at once. */
  abandon(): void {
    this.#supervisor?.kill();
  }

  /**
   * The port that the workers are to share. A listener that shares with nobody must be possible first: another program
   * of this user that shares the port would get a part of the connections, and nobody would say so.
   */
  async #freePort(): Promise<number> {
    const probe = await listen(this.#config.addr, starting);
    const late = Promise.withResolvers<void>();
    const cancel = this.#clock.after(PROBE_STOP_MS, late.resolve);
    await Promise.race([probe.stop(), late.promise]);
    cancel();
    return probe.port;
  }

  /** Here rather than in a worker: it outlives each of them, and all of them can leave before it ends. */
  async #startNats(): Promise<void> {
    const { nats } = this.#config;
    if (nats.kind !== "embedded") return;
    this.#embedded = embeddedServer(nats, this.#clock, this.#log);
    await this.#embedded.start();
  }

  #workerConfig(): Config {
    const { nats, addr, drainTimeoutMs } = this.#config;
    return {
      ...this.#config,
      addr: { ...addr, port: 0 },
      workers: 1,
      nats: nats.kind === "embedded" ? { kind: "urls", urls: [embeddedUrl(nats)] } : nats,
      drainTimeoutMs: drainTimeoutMs - 2 * AFTER_WORKERS_MS,
    };
  }

  #startWorker(setup: WorkerSetup, onMessage: (message: FromWorker) => void): WorkerProcess {
    const send = (message: ToWorker): void => twin.write(lineOf(message));
    const store = this.#bucket.open();
    const serve = serveStore(store, send);
    // The name is for those who look at the list of processes.
    const twin = startTwin([WORKER, setup.name], (line) => {
      try {
        const message = JSON.parse(line) as FromWorker;
        if (isForStore(message)) serve(message);
        else onMessage(message);
      } catch (error) {
        // Whatever else stands on its standard output: the next line may be a message again.
        this.#log.error(`worker ${setup.name}: cannot use what it said: ${error}`);
      }
    });
    send({ type: "setup", setup });
    void twin.exited.then(() => store.close());
    return { pid: twin.pid, exited: twin.exited, send, kill: () => twin.kill() };
  }
}

const forStore: ReadonlySet<string> = new Set<ToStore["type"]>(["watch", "follow", "unfollow", "read", "write"]);

function isForStore(message: FromWorker): message is ToStore {
  return forStore.has(message.type);
}
