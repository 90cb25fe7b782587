/** A node inside another program. */
import type { Log, LogCall } from "../core/base/log.ts";
import { changesOf, changesText, reloaded } from "../config/changes.ts";
import { doubtsOf } from "../config/config.ts";
import { UnavailableError } from "../core/errors.ts";
import { tokenDoubtsOf } from "../node/doors/admin-tokens.ts";
import { Node } from "../node/node.ts";
import { checkOrigins, withNewOrigins } from "../node/reload/check-origins.ts";
import type { Served } from "../node/groups/served-group.ts";
import { systemClock } from "../runtime/process.ts";
import { codecs } from "./codec.ts";
import { type Read, readOptions, readReload } from "./config.ts";
import { GroupHandle, type Host } from "./group.ts";
import { NodeClock } from "./node-clock.ts";
import type { Groups, NodeLog, NodeOptions, ReloadOptions, ValueOf } from "./options.ts";
import { OwnGroups } from "./own-groups.ts";
import type { CacheGroup, MusterNode } from "./surface.ts";

/**
 * Starts a node inside this program. Resolves when it listens and can be asked. It joins the others in the background,
 * with or without NATS (see `ready`).
 *
 * It runs on Bun and on Deno, sets no signal handlers, writes no files, and logs only to `log`. Several nodes in one
 * process share nothing.
 *
 * @example
 * ```ts
 * import { createNode } from "muster-cache";
 *
 * let renders = 0;
 * await using node = await createNode({
 *   nats: "off", // of a cluster: "nats://127.0.0.1:4222"
 *   groups: {
 *     render: {
 *       load: (path) => `<h1>${path}, render ${++renders}</h1>`,
 *       ttlMs: 60_000,
 *     },
 *   },
 * });
 * const html = await node.group("render").get("/home");
 * await node.group("render").get("/home");
 * if (renders !== 1) throw new Error(new TextDecoder().decode(html));
 * ```
 * @throws ConfigError an option breaks its rule; the message lists every fault
 * @throws Error the address cannot be used
 */
export async function createNode<G extends Groups>(options: NodeOptions<G>): Promise<MusterNode<G>> {
  const { config, groups } = readOptions(options);
  const log = logTo(options.log ?? {});
  const clock = new NodeClock(systemClock);
  for (const doubt of [...doubtsOf(config), ...tokenDoubtsOf(config)]) log.warn(doubt);
  const own = new OwnGroups(groups, clock);
  const node = new Node(config, { clock, log, origins: own.origins(config) });
  void node.failed.then((error) => log.error(error.message));
  await node.start();
  return new NodeHandle<G>({ node, own, groups, clock, log, started: options });
}

interface Parts {
  readonly node: Node;
  readonly own: OwnGroups;
  readonly groups: Read["groups"];
  readonly clock: NodeClock;
  readonly log: Log;
  /** The options that the program gave to createNode. */
  readonly started: NodeOptions;
}

/** The program's handle of a node and its groups. */
class NodeHandle<G extends Groups> implements MusterNode<G> {
  readonly ready: Promise<void>;
  readonly failed: Promise<Error>;
  readonly #node: Node;
  readonly #parts: Parts;
  readonly #host: Host;
  readonly #groups = new Map<string, CacheGroup<unknown>>();
  /** Ends the waits for results that may not come before the close. */
  readonly #waiting = new Set<(error: Error) => void>();
  #closed: Promise<void> | undefined;
  #isOver = false;
  /** Settles with the last requested reload. */
  #reloaded: Promise<unknown> = Promise.resolve();

  constructor(parts: Parts) {
    const { node, groups } = this.#parts = parts;
    this.#node = node;
    this.ready = this.#endedByClose(node.ready);
    // A program need not wait for `ready`, so its rejection must not count as unhandled.
    this.ready.catch(() => {});
    this.failed = node.failed;
    this.#host = {
      served: (name) => this.#served(name),
      track: (work) => this.#track(work),
      tracing: node.tracing,
    };
    this.#handle(groups);
  }

  get name(): string {
    return this.#node.name;
  }

  get port(): number {
    return this.#node.port;
  }

  get isReady(): boolean {
    return this.#node.isReady();
  }

  group<Name extends keyof G & string>(name: Name): CacheGroup<ValueOf<G[Name]>> {
    const group = this.#groups.get(name);
    if (group === undefined) throw new TypeError(`Cannot find the group ${name} as this node was not given it`);
    return group as CacheGroup<unknown> as CacheGroup<ValueOf<G[Name]>>;
  }

  readonly fetch = (request: Request): Response | Promise<Response> => this.#node.fetch(request);

  async reload<H extends Groups>(options: ReloadOptions<H>): Promise<MusterNode<H>> {
    const reloaded = this.#reloaded.then(() => this.#reload(options));
    this.#reloaded = reloaded.catch(() => {});
    await this.#endedByClose(reloaded);
    return this as unknown as MusterNode<H>;
  }

  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await this.#node.stop();
    this.#parts.clock.stop();
    this.#isOver = true;
    for (const reject of this.#waiting) reject(closed());
  }

  async #reload(options: ReloadOptions): Promise<void> {
    const { node, own, log, started } = this.#parts;
    if (this.#closed !== undefined) throw closed();
    const { config, groups } = readReload(options, started);
    own.checkTypes(groups);
    const changes = changesOf(node.config, config);
    const tried = withNewOrigins(changes).filter(({ name }) => groups.get(name)?.load === undefined);
    // Not the node's clock: it stops with the node, and then a check might never end.
    await checkOrigins(tried, node.config.serve, systemClock);
    if (this.#closed !== undefined) throw closed();
    node.reload(reloaded(node.config, config), own.origins(config, groups));
    own.follow(groups);
    this.#handle(groups);
    log.info(`reloaded: ${changesText(changes) ?? "no policy has changed"}`);
  }

  /** A group that stays keeps its handle. */
  #handle(groups: Read["groups"]): void {
    for (const name of this.#groups.keys()) if (!groups.has(name)) this.#groups.delete(name);
    for (const [name, { type }] of groups) {
      if (!this.#groups.has(name)) this.#groups.set(name, new GroupHandle(name, this.#host, codecs[type]));
    }
  }

  #track<T>(work: Promise<T>): Promise<T> {
    return this.#endedByClose(this.#node.track(work));
  }

  /** Does not use Promise.race, which would keep every result until the close. */
  #endedByClose<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      const over = () => this.#waiting.delete(reject);
      work.then((value) => (over(), resolve(value)), (error) => (over(), reject(error)));
    });
  }

  #served(name: string): Served {
    if (this.#isOver) throw closed();
    // NATS may define a group with the name of an ended one.
    const served = this.#groups.has(name) ? this.#node.served(name) : undefined;
    if (served !== undefined) return served;
    throw new UnavailableError(`the node was reloaded without the group ${name}`, { isAmbiguous: false });
  }
}

function closed(): UnavailableError {
  return new UnavailableError("the node is closed", { isAmbiguous: false });
}

/** Joins a line's facts and its fields for machines in one object. */
function logTo(given: NodeLog): Log {
  const call = (level: keyof NodeLog): LogCall => (message, fields = {}, facts = {}) =>
    given[level]?.(message, { ...facts, ...fields });
  return { debug: call("debug"), info: call("info"), warn: call("warn"), error: call("error") };
}
