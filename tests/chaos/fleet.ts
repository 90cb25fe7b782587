/** The nodes of one run, muster's or groupcache-go's, behind one interface. */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { PrefixHash } from "../../lib/core/base/hash.ts";
import { Rendezvous } from "../../lib/core/placement/rendezvous.ts";
import type { PeerRecord } from "../../lib/core/roster.ts";
import { freePort } from "../support/free-port.ts";
import { listening, NodeProcess, type RuntimeKind, spawnNode } from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import { until } from "../support/until.ts";
import { type CountingOrigin, nodeHeader } from "./origin.ts";

export const groupName = "chaos";
const budgetBytes = 256 * 1024 * 1024;

export interface RosterView {
  readonly revision: number;
  readonly peers: readonly PeerRecord[];
}

export type AnyProcess = NodeProcess<string>;

/** The operations of a scenario on nodes of either system. */
export interface Fleet {
  readonly kind: "muster" | "groupcache-go";
  /** The running nodes, by name. */
  readonly members: ReadonlyMap<string, AnyProcess>;
  /** Starts a node, on its old address if it had one. Resolves when it listens. */
  start(name: string): Promise<AnyProcess>;
  /** Forgets a node that was ended. */
  forget(name: string): void;
  /** Resolves when every member knows exactly the members. */
  settled(timeoutMs?: number): Promise<void>;
  /** The node's own roster; undefined if nodes show none or do not answer. */
  roster(name: string): Promise<RosterView | undefined>;
}

/** Bun and Deno in turn. */
export function runtimeOf(name: string): RuntimeKind {
  return Number(/\d+$/.exec(name)![0]) % 2 === 0 ? "bun" : "deno";
}

export interface MusterOptions {
  readonly defer: Defer;
  readonly origin: CountingOrigin;
  readonly folder: string;
  /** For `--nats`, by node. */
  readonly natsOf: (name: string) => string;
  /** On how many nodes each value is kept. */
  readonly replicas: number;
  /** On how many NATS servers the bucket is kept. */
  readonly bucketReplicas: number;
  /** More fields of the group. */
  readonly policy: Readonly<Record<string, unknown>>;
  /** The folder of another release, whose nodes start first; see `release`. @default this checkout */
  readonly release?: string | undefined;
}

export class MusterFleet implements Fleet {
  readonly kind = "muster";
  readonly members = new Map<string, AnyProcess>();
  /** The folder of the release whose nodes start from now on; `undefined`: this checkout's. */
  release: string | undefined;
  readonly #options: MusterOptions;
  readonly #ports = new Map<string, number>();

  constructor(options: MusterOptions) {
    this.#options = options;
    this.release = options.release;
  }

  async start(name: string): Promise<AnyProcess> {
    const { defer, origin, folder, natsOf, replicas, bucketReplicas, policy } = this.#options;
    const port = this.#ports.get(name) ?? await freePort();
    this.#ports.set(name, port);
    const file = join(folder, `${name}.json`);
    const kept = replicas > 1 ? { replicas } : {};
    const group = { origin: origin.template, headers: { [nodeHeader]: name }, budgetBytes, ...kept, ...policy };
    writeFileSync(file, JSON.stringify({ groups: { [groupName]: group } }));
    const where = ["--addr", `127.0.0.1:${port}`, "--name", name, "--nats", natsOf(name)];
    const args = [...where, "--replicas", String(bucketReplicas), "--config", file];
    const node = spawnNode(defer, runtimeOf(name), args, this.release === undefined ? {} : { root: this.release });
    await listening(node);
    this.members.set(name, node as AnyProcess);
    return node as AnyProcess;
  }

  forget(name: string): void {
    this.members.delete(name);
  }

  async settled(timeoutMs = 20_000): Promise<void> {
    let told: (RosterView | undefined)[] = [];
    await until(
      async () => {
        told = await Promise.all([...this.members.keys()].map((name) => this.roster(name)));
        return areEqual(told, [...this.members.keys()]);
      },
      timeoutMs,
      () => `the nodes did not agree: ${told.map(shown).join(" | ")}`,
    );
  }

  async roster(name: string): Promise<RosterView | undefined> {
    try {
      const response = await fetch(`${this.members.get(name)!.url}/stats`, { signal: AbortSignal.timeout(1_000) });
      return (await response.json()).groups[groupName].roster;
    } catch {
      return undefined;
    }
  }
}

function shown(view: RosterView | undefined): string {
  if (view === undefined) return "no answer";
  return `revision ${view.revision}: ${view.peers.map(({ name, state }) => `${name} ${state}`).join(", ")}`;
}

/** Whether all rosters have one revision and exactly these peers, all serving. */
export function areEqual(views: readonly (RosterView | undefined)[], names: readonly string[]): boolean {
  const wanted = [...names].sort().join();
  return views.every((view) =>
    view !== undefined && view.revision === views[0]!.revision &&
    view.peers.filter(({ state }) => state === "serving").map((peer) => peer.name).sort().join() === wanted &&
    view.peers.length === names.length
  );
}

/** The owner of a key by a roster, computed as nodes do. */
export function ownersAt(roster: RosterView): (key: string) => string {
  const serving = roster.peers.filter(({ state }) => state === "serving");
  const rendezvous = new Rendezvous(serving);
  const hash = new PrefixHash(`${groupName}\0`);
  return (key) => serving[rendezvous.owner(hash.hash(key))]!.name;
}

export interface GoOptions {
  readonly defer: Defer;
  readonly origin: CountingOrigin;
  /** The built node. */
  readonly program: string;
  /** Every node that ever takes part; groupcache-go gets this list once. */
  readonly names: readonly string[];
}

interface GoPorts {
  readonly http: number;
  readonly peer: number;
}

/** groupcache-go's nodes: the scenario tells them their peers at the start and after each change. */
export class GoFleet implements Fleet {
  readonly kind = "groupcache-go";
  readonly members = new Map<string, AnyProcess>();
  readonly #options: GoOptions;
  readonly #ports = new Map<string, Promise<GoPorts>>();
  #told: readonly string[];

  constructor(options: GoOptions) {
    this.#options = options;
    this.#told = options.names;
  }

  async start(name: string): Promise<AnyProcess> {
    const { http, peer } = await this.#portsOf(name);
    const { defer, origin, program } = this.#options;
    const args = [
      ...["--addr", `127.0.0.1:${http}`, "--peer-addr", `127.0.0.1:${peer}`],
      ...["--peers", (await this.#addresses([...new Set([name, ...this.#told])])).join()],
      ...["--origin", origin.templateFor(name), "--budget-bytes", String(budgetBytes)],
    ];
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    const node = new NodeProcess<string>("go", child);
    defer(() => node.end("SIGKILL"));
    await listening(node as NodeProcess);
    this.members.set(name, node);
    return node;
  }

  forget(name: string): void {
    this.members.delete(name);
  }

  /** Tells all members their peers. */
  async tell(names: readonly string[]): Promise<void> {
    this.#told = names;
    const body = JSON.stringify(await this.#addresses(names));
    await Promise.all(
      [...this.members].filter(([name]) => names.includes(name)).map(async ([name, { url }]) => {
        const response = await fetch(`${url}/peers`, { method: "PUT", body });
        if (!response.ok) throw new Error(`${name} refused its peers: ${await response.text()}`);
      }),
    );
  }

  settled(): Promise<void> {
    return Promise.resolve();
  }

  roster(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  /** Each node gets its own address, even when nodes start at once. */
  #portsOf(name: string): Promise<GoPorts> {
    const ports = this.#ports.get(name) ??
      Promise.all([freePort(), freePort()]).then(([http, peer]) => ({ http, peer }));
    this.#ports.set(name, ports);
    return ports;
  }

  async #addresses(names: readonly string[]): Promise<string[]> {
    return await Promise.all(names.map(async (name) => `127.0.0.1:${(await this.#portsOf(name)).peer}`));
  }
}
