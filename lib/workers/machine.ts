/** The process that the user starts with `--workers 2` or more. It starts the worker processes; each runs a node. */
import { advertised, type Config, workerName } from "../config/config.ts";
import { hostInUrl } from "../config/texts/addresses.ts";
import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { starting } from "../http/app.ts";
import type { ConfigFigures } from "../http/figures.ts";
import { embeddedServer, embeddedWay } from "../node/open-registry.ts";
import type { Reloadable } from "../node/reload/reloader.ts";
import type { EmbeddedNats } from "../nats/server/embedded.ts";
import { MemoryStream } from "../registry/store/memory-log.ts";
import { MemoryBucket } from "../registry/store/memory-store.ts";
import { startTwin } from "../runtime/child.ts";
import { listen } from "../runtime/server/serve.ts";
import { type FromWorker, lineOf, messageReader, type ToWorker, WORKER, type WorkerSetup } from "./messages.ts";
import { isForLog, serveLog } from "./pipe-log.ts";
import { serveStore, type ToStore } from "./pipe-store.ts";
import { Supervisor, type WorkerProcess } from "./supervisor.ts";

/** Part of the drain timeout that is left to stop the bundled NATS server, after the workers have ended. Chosen. */
const AFTER_WORKERS_MS = 300;
/** How long closing the port's probe may take. Chosen: it has no requests, so it closes at once. */
const PROBE_STOP_MS = 500;

/** The workers of this machine, behind one address. */
export class Machine implements Reloadable {
  #config: Config;
  #file: ConfigFigures | undefined;
  readonly #count: number;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #writeAccess: (lines: string) => void;
  readonly #failed = Promise.withResolvers<Error>();
  /** The workers' registry when there is no NATS, and their log of invalidations. */
  readonly #bucket = new MemoryBucket();
  readonly #stream: MemoryStream;
  readonly #ready = Promise.withResolvers<void>();
  #embedded: EmbeddedNats | undefined;
  #supervisor: Supervisor | undefined;
  #isStopping = false;

  /** @param parts.writeAccess takes the access log of all workers and what they print, whole lines at a time */
  constructor(
    config: Config,
    count: number,
    { clock, log, writeAccess }: { clock: Clock; log: Log; writeAccess: (lines: string) => void },
  ) {
    this.#writeAccess = writeAccess;
    this.#config = config;
    this.#count = count;
    this.#clock = clock;
    this.#log = log;
    this.#stream = new MemoryStream(clock);
  }

  /** See {@link Supervisor.failed}. */
  get failed(): Promise<Error> {
    return this.#failed.promise;
  }

  /** Resolves when every worker has begun to take connections. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Whether some worker takes connections. */
  isAlive(): Promise<boolean> {
    return Promise.resolve(this.#supervisor?.isSharing === true);
  }

  /**
   * Resolves when all workers take connections.
   *
   * @throws Error this process cannot listen on the address, or start a worker
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
      statsToken: crypto.randomUUID(),
      reachedAt: config.advertise === undefined ? hostInUrl(config.addr.host) : new URL(config.advertise).hostname,
    };
    const setupOf = (worker: string) => ({ ...shared, name: worker, config: this.#workerConfig(), file: this.#file });
    const supervisor = new Supervisor({
      names,
      start: (worker, onMessage) => this.#startWorker(setupOf(worker), onMessage),
      clock: this.#clock,
      log: this.#log,
    });
    this.#supervisor = supervisor;
    void supervisor.failed.then(this.#failed.resolve);
    await supervisor.start();
    this.#ready.resolve();
    this.#log.info(`listening on ${url}`, { name, workers: this.#count }, { url });
  }

  /** The options in force. */
  get config(): Config {
    return this.#config;
  }

  /** Tells every worker to follow these options; a worker that is restarted later begins with them. */
  reload(config: Config): void {
    if (this.#isStopping) return;
    this.#config = config;
    this.#supervisor?.tell({ type: "reload", config: this.#workerConfig() });
  }

  /** Takes the state of the file, which operators see. */
  toldOfFile(file: ConfigFigures): void {
    this.#file = file;
    this.#supervisor?.tell({ type: "file", file });
  }

  /** Stops all workers within the drain timeout, then the bundled NATS server. Never throws. */
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
   * Finds the port for the workers to share. It first listens there without sharing: another program of this user that
   * shares the port would silently get a part of the connections.
   */
  async #freePort(): Promise<number> {
    const probe = await listen(this.#config.addr, starting, this.#log);
    const late = Promise.withResolvers<void>();
    const cancel = this.#clock.after(PROBE_STOP_MS, late.resolve);
    await Promise.race([probe.stop(), late.promise]);
    cancel();
    return probe.port;
  }

  /** Runs the bundled NATS server here and not in a worker: it must outlive all workers, so that they can leave. */
  async #startNats(): Promise<void> {
    const { nats } = this.#config;
    if (nats.kind !== "embedded") return;
    this.#embedded = embeddedServer(nats, this.#clock, this.#log);
    await this.#embedded.start();
  }

  #workerConfig(): Config {
    const { nats, natsLogin, addr, drainTimeoutMs } = this.#config;
    const bundled = nats.kind === "embedded" ? embeddedWay(nats) : undefined;
    return {
      ...this.#config,
      addr: { ...addr, port: 0 },
      workers: 1,
      nats: bundled === undefined ? nats : { kind: "urls", urls: bundled.urls },
      natsLogin: bundled?.login ?? natsLogin,
      drainTimeoutMs: drainTimeoutMs - 2 * AFTER_WORKERS_MS,
    };
  }

  #startWorker(setup: WorkerSetup, onMessage: (message: FromWorker) => void): WorkerProcess {
    const send = (message: ToWorker): void => twin.write(lineOf(message));
    const store = this.#bucket.open();
    const serve = serveStore(store, send);
    const log = this.#stream.open();
    const serveInvalidations = serveLog(log, send);
    const mark = crypto.randomUUID();
    const read = messageReader(mark, (message) => {
      if (isForStore(message)) serve(message);
      else if (isForLog(message)) serveInvalidations(message);
      else if (message.type === "access") this.#writeAccess(message.lines);
      else onMessage(message);
    }, (line) => this.#writeAccess(`${line}\n`));
    // The name is for readers of the process list.
    const twin = startTwin([WORKER, setup.name], (line) => {
      try {
        read(line);
      } catch (error) {
        // Other output was mixed into the message; the next line may be a message again.
        const reason = (error as Error).message;
        this.#log.error(`worker ${setup.name}: cannot use its message: ${reason}`, {}, { worker: setup.name, reason });
      }
    });
    send({ type: "setup", setup: { ...setup, mark } });
    void twin.exited.then(() => {
      log.close();
      return store.close();
    });
    return { pid: twin.pid, exited: twin.exited, send, kill: () => twin.kill() };
  }
}

const forStore: ReadonlySet<string> = new Set<ToStore["type"]>(["watch", "follow", "unfollow", "read", "write"]);

function isForStore(message: FromWorker): message is ToStore {
  return forStore.has(message.type);
}
