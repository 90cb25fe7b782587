/** What compose.yaml and the manifests start, as processes: the same arguments, variables and files, at other places. */
import { execFileSync } from "node:child_process";
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../support/free-port.ts";
import { type NatsServer, startNats } from "../support/nats-server.ts";
import {
  commandOf,
  type NodeProcess,
  root,
  type RuntimeKind,
  spawnProgram,
  temporaryDirectory,
} from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import { until } from "../support/until.ts";

/** Where containers find what is mounted, and where it is here: `["/etc/nats/", "/tmp/x/"]`. */
type Mounts = readonly (readonly [there: string, here: string])[];

/** One cluster. */
export class Cluster {
  readonly folder: string;
  /** Where secrets.sh has put the secrets. */
  readonly secrets: string;
  readonly servers: NatsServer[] = [];
  readonly #places = new Map<string, string>();
  readonly #mounts: Mounts;
  readonly #defer: Defer;

  /** @param mounts where containers find secrets and files; of a relative path "here" is in the cluster's folder */
  constructor(defer: Defer, mounts: Mounts) {
    this.#defer = defer;
    this.folder = temporaryDirectory(defer);
    this.secrets = join(this.folder, "secrets");
    execFileSync("/bin/sh", [join(root, "lib/deploy/docker/secrets.sh"), this.secrets]);
    copyFileSync(join(this.secrets, "auth.conf"), join(this.folder, "auth.conf"));
    this.#mounts = mounts.map(([there, here]) => [there, `${join(this.folder, here)}/`]);
  }

  /** Gives the place a free port here. @param place `nats-1:4222` */
  async place(place: string): Promise<string> {
    const own = this.#places.get(place) ?? `127.0.0.1:${await freePort()}`;
    this.#places.set(place, own);
    return own;
  }

  /** A text of a container, as it reads here. */
  here(text: string): string {
    const moved = text.replace(/\b(nats|muster)-\d(\.[a-z]+)?:\d+/g, (place) => {
      const own = this.#places.get(place);
      if (own === undefined) throw new Error(`nothing is at ${place}`);
      return own;
    });
    return this.#mounts.reduce((text, [there, here]) => text.replace(there, here), moved);
  }

  /** @param servers the arguments of each, by the host that its port 4222 and 6222 are at */
  async startNats(servers: ReadonlyMap<string, readonly string[]>): Promise<void> {
    for (const host of servers.keys()) for (const port of [4222, 6222]) await this.place(`${host}:${port}`);
    const started = [...servers].map(async ([host, args]) => {
      // Each has a store of its own here, which its starter names.
      const rest = args.join("\n").replace(/^--store_dir[=\n].*\n/m, "").split("\n").map((text) => this.here(text));
      const own = ["--cluster", `nats://${await this.place(`${host}:6222`)}`, "-m", String(await freePort())];
      const port = Number((await this.place(`${host}:4222`)).split(":")[1]);
      return await startNats(this.#defer, { port, extraArgs: [...rest, ...own] });
    });
    this.servers.push(...await Promise.all(started));
  }

  /** Starts a node whose address is `place` here. @param args as in the container, with `0.0.0.0:8000` for the address */
  async startNode(
    kind: RuntimeKind,
    place: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<NodeProcess> {
    const own = await this.place(place);
    const moved = args.map((text) => this.here(text).replace("0.0.0.0:8000", own));
    const variables = Object.fromEntries(Object.entries(env).map(([name, text]) => [name, this.here(text)]));
    const node = spawnProgram(this.#defer, kind, [...commandOf(kind), ...moved], { env: variables });
    node.url = `http://${own}`;
    return node;
  }

  /** The statistics that operators see. */
  async stats(node: NodeProcess) {
    const token = readFileSync(join(this.secrets, "admin-token"), "utf8").trim();
    return await (await fetch(`${node.url}/stats`, { headers: { authorization: `Bearer ${token}` } })).json();
  }

  /** Waits until all these list each other, and nobody else. */
  async listed(live: readonly NodeProcess[]): Promise<void> {
    const urls = live.map(({ url }) => url).sort().join();
    const listOf = async (node: NodeProcess) => {
      const { groups } = await this.stats(node);
      return groups.dict.roster.peers.map(({ url }: { url: string }) => url).sort().join();
    };
    await until(
      async () => {
        const lists = await Promise.all(live.map((node) => listOf(node).catch(() => undefined)));
        return lists.every((list) => list === urls);
      },
      30_000,
      () => live.map((node) => node.account(`a list of ${urls}`)).join("\n"),
    );
  }
}
