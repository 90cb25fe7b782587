/**
 * The load: a fixed rate of requests whose keys follow Zipf's law, and sweeps over all keys. It behaves like a load
 * balancer: it polls every node's /readyz, and sends to the ready nodes. Every answer except the right value is a
 * failure. It resends only the requests that http-client.ts counts.
 */
import { type Answer, Connections, NoAnswerError } from "../support/http-client.ts";
import { keyOf, type Random, valueOf, type Zipf } from "./keys.ts";

export interface LoadOptions {
  readonly group: string;
  readonly random: Random;
  readonly zipf: Zipf;
  /** A request that takes longer has failed. */
  readonly timeoutMs: number;
  /** By rank: 0 is the most popular. @default keyOf of keys.ts */
  readonly keyOf?: (rank: number) => string;
  /** Called when a request is sent; then with its answer of status 200. @default the body must be that of keys.ts */
  readonly judge?: Judge;
}

/** Judges an answer; the outer call is made when the request is sent. Gives the fault; `undefined`: none. */
export type Judge = (node: string, key: string) => (answer: Answer) => string | undefined;

const isRightValue: Judge = (_node, key) => ({ body }) => body.equals(valueOf(key)) ? undefined : "wrong bytes";

export interface Failure {
  readonly node: string;
  readonly key: string;
  readonly what: string;
  /** Since `begin`, in milliseconds. */
  readonly atMs: number;
}

/** What happened since `begin`. */
export interface Tally {
  requests: number;
  failed: number;
  /** Failed at a node that the chaos program had just killed; counted apart. */
  lostWithTheNode: number;
  /** A kept connection was closed between two requests; sent again on a new one. */
  repeated: number;
  /** Not sent, because too many were waiting or no node was ready. */
  notSent: number;
  failures: Failure[];
  latenciesMs: number[];
  /** By node: answers that came from another peer, by their Cache-Status. */
  viaPeer: Map<string, number>;
  byNode: Map<string, NodeTally>;
}

/** The requests that one node was sent. */
export interface NodeTally {
  failed: number;
  latenciesMs: number[];
}

interface Target {
  readonly name: string;
  readonly connections: Connections;
  readonly probes: Connections;
  isReady: boolean;
  isKilled: boolean;
  isRemoved: boolean;
}

const probeEveryMs = 50;
const probeTimeoutMs = 500;
const tickMs = 5;
const maxBurst = 50;
const maxInFlight = 4_000;
const maxFailuresKept = 50;

export class Load {
  readonly #options: LoadOptions;
  readonly #keyOf: (rank: number) => string;
  readonly #judge: Judge;
  readonly #targets = new Map<string, Target>();
  #tally = newTally();
  #beganAtMs = performance.now();
  #inFlight = 0;
  #onIdle = () => {};
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#keyOf = options.keyOf ?? keyOf;
    this.#judge = options.judge ?? isRightValue;
  }

  get tally(): Readonly<Tally> {
    return this.#tally;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Counts from zero from now on. */
  begin(): void {
    this.#tally = newTally();
    this.#beganAtMs = performance.now();
  }

  /** Sends to this node from the moment it is ready. */
  add(name: string, url: string): void {
    this.remove(name);
    const target: Target = {
      name,
      connections: new Connections(url),
      probes: new Connections(url),
      isReady: false,
      isKilled: false,
      isRemoved: false,
    };
    this.#targets.set(name, target);
    void this.#probe(target);
  }

  /** Sends nothing more to this node; requests in flight may still be answered. */
  remove(name: string): void {
    const target = this.#targets.get(name);
    if (target === undefined) return;
    target.isRemoved = true;
    target.probes.close();
    this.#targets.delete(name);
  }

  /** Call it before a SIGKILL: failures at this node are then counted apart. */
  killed(name: string): void {
    this.#targets.get(name)!.isKilled = true;
    this.remove(name);
  }

  /** Resolves when all these nodes take requests. */
  async ready(names: readonly string[], timeoutMs = 20_000): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    const missing = () => names.filter((name) => this.#targets.get(name)?.isReady !== true);
    while (missing().length > 0) {
      if (performance.now() > deadlineMs) throw new Error(`not ready within ${timeoutMs} ms: ${missing().join(", ")}`);
      await pause(20);
    }
  }

  /** Sends at a fixed rate until `stop`, without waiting for answers. */
  start(requestsPerSecond: number): void {
    const startedAtMs = performance.now();
    let due = 0;
    this.#timer = setInterval(() => {
      const wanted = Math.floor((performance.now() - startedAtMs) * requestsPerSecond / 1_000);
      // After a pause of this process, drop the overdue requests: a flood is not the wanted load.
      const burst = Math.min(wanted - due, maxBurst);
      due = wanted;
      for (let i = 0; i < burst; i++) void this.#one(this.#keyOf(this.#options.zipf.draw()));
    }, tickMs);
  }

  /** Stops sending, and waits for the answers. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (this.#inFlight > 0) await new Promise<void>((idle) => this.#onIdle = idle);
  }

  /** Asks for every key once, `atOnce` keys at a time. */
  async sweep(keys: number, atOnce: number): Promise<void> {
    let next = 0;
    const worker = async () => {
      while (next < keys) await this.#one(this.#keyOf(next++));
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
  }

  /** One request to one node, counted like the others. */
  async ask(name: string, key: string): Promise<void> {
    await this.#send(this.#targets.get(name)!, key);
  }

  /** Any of the ready nodes, by a number from 0 to 1; `undefined`: none is ready. */
  readyNode(random: Random): string | undefined {
    const ready = [...this.#targets.values()].filter(({ isReady }) => isReady);
    return ready[Math.floor(random() * ready.length)]?.name;
  }

  close(): void {
    clearInterval(this.#timer);
    for (const target of this.#targets.values()) {
      target.isRemoved = true;
      target.probes.close();
      target.connections.close();
    }
    this.#targets.clear();
  }

  async #one(key: string): Promise<void> {
    const ready = [...this.#targets.values()].filter(({ isReady }) => isReady);
    if (ready.length === 0 || this.#inFlight >= maxInFlight) {
      this.#tally.notSent++;
      // A sweep must not spin while no node is ready.
      return await pause(tickMs);
    }
    await this.#send(ready[Math.floor(this.#options.random() * ready.length)]!, key);
  }

  async #send(target: Target, key: string): Promise<void> {
    const tally = this.#tally;
    const sentAtMs = performance.now();
    this.#inFlight++;
    tally.requests++;
    let fault: string | undefined;
    try {
      const { group, timeoutMs } = this.#options;
      const judge = this.#judge(target.name, key);
      const answer = await target.connections.get(`/cache/${group}/${key}`, timeoutMs);
      if (answer.wasRepeated) tally.repeated++;
      if (answer.status !== 200) fault = `status ${answer.status}: ${answer.body.toString("utf8", 0, 200)}`;
      else fault = judge(answer);
      if (fault === undefined && answer.cacheStatus.endsWith("detail=peer")) {
        tally.viaPeer.set(target.name, (tally.viaPeer.get(target.name) ?? 0) + 1);
      }
    } catch (error) {
      fault = error instanceof NoAnswerError ? `${error.kind}: ${error.message}` : String(error);
    }
    const tookMs = performance.now() - sentAtMs;
    tally.latenciesMs.push(tookMs);
    const ofNode = tally.byNode.get(target.name) ?? { failed: 0, latenciesMs: [] };
    tally.byNode.set(target.name, ofNode);
    ofNode.latenciesMs.push(tookMs);
    if (fault !== undefined && !target.isKilled) ofNode.failed++;
    if (fault !== undefined) this.#fail(tally, target, key, fault, sentAtMs);
    if (--this.#inFlight === 0) this.#onIdle();
  }

  #fail(tally: Tally, target: Target, key: string, what: string, sentAtMs: number): void {
    if (target.isKilled) tally.lostWithTheNode++;
    else {
      tally.failed++;
      if (tally.failures.length < maxFailuresKept) {
        tally.failures.push({ node: target.name, key, what, atMs: Math.round(sentAtMs - this.#beganAtMs) });
      }
    }
  }

  async #probe(target: Target): Promise<void> {
    while (!target.isRemoved) {
      try {
        target.isReady = (await target.probes.get("/readyz", probeTimeoutMs)).status === 200;
      } catch {
        target.isReady = false;
      }
      await pause(probeEveryMs);
    }
  }
}

/** The value below which `share` of the numbers lie; 0 for no numbers. */
export function quantile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function newTally(): Tally {
  return {
    requests: 0,
    failed: 0,
    lostWithTheNode: 0,
    repeated: 0,
    notSent: 0,
    failures: [],
    latenciesMs: [],
    viaPeer: new Map(),
    byNode: new Map(),
  };
}
