/** A node inside another program. */
import type { Log, LogCall } from "../core/base/log.ts";
import { doubtsOf } from "../config/config.ts";
import { UnavailableError } from "../core/errors.ts";
import { tokenDoubtsOf } from "../node/doors/admin-tokens.ts";
import { Node } from "../node/node.ts";
import type { Served } from "../node/groups/served-group.ts";
import { systemClock } from "../runtime/process.ts";
import { codecs } from "./codec.ts";
import { type InCode, readOptions } from "./config.ts";
import { GroupHandle, type Host } from "./group.ts";
import { LoadOrigin } from "./load-origin.ts";
import { NodeClock } from "./node-clock.ts";
import type { Groups, NodeLog, NodeOptions, ValueOf } from "./options.ts";
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
  const origins = new Map(config.groups.flatMap((group) => {
    const { load, type } = groups.get(group.name)!;
    return load === undefined ? [] : [[group.name, new LoadOrigin(group, codecs[type], clock, load)] as const];
  }));
  const node = new Node(config, { clock, log, origins });
  void node.failed.then((error) => log.error(error.message));
  await node.start();
  return new NodeHandle<G>(node, groups, clock);
}

/** The program's handle of a node and its groups. */
class NodeHandle<G extends Groups> implements MusterNode<G> {
  readonly ready: Promise<void>;
  readonly failed: Promise<Error>;
  readonly #node: Node;
  readonly #clock: NodeClock;
  readonly #groups = new Map<string, CacheGroup<unknown>>();
  /** Ends the waits for results that may not come before the close. */
  readonly #waiting = new Set<(error: Error) => void>();
  #closed: Promise<void> | undefined;
  #isOver = false;

  constructor(node: Node, groups: ReadonlyMap<string, InCode>, clock: NodeClock) {
    this.#node = node;
    this.#clock = clock;
    this.ready = this.#endedByClose(node.ready);
    // A program need not wait for `ready`, so its rejection must not count as unhandled.
    this.ready.catch(() => {});
    this.failed = node.failed;
    const host: Host = {
      served: (name) => this.#served(name),
      track: (work) => this.#track(work),
      tracing: node.tracing,
    };
    for (const [name, { type }] of groups) this.#groups.set(name, new GroupHandle(name, host, codecs[type]));
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
    if (group === undefined) throw new TypeError(`Cannot find the group ${name} as createNode was not given it`);
    return group as CacheGroup<unknown> as CacheGroup<ValueOf<G[Name]>>;
  }

  readonly fetch = (request: Request): Response | Promise<Response> => this.#node.fetch(request);

  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await this.#node.stop();
    this.#clock.stop();
    this.#isOver = true;
    for (const reject of this.#waiting) reject(closed());
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
    const served = this.#isOver ? undefined : this.#node.served(name);
    if (served === undefined) throw closed();
    return served;
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
