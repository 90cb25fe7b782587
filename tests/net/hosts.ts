/**
 * Hosts in network namespaces, joined by two bridges: one for the servers (peers, NATS, the origin), which gets the
 * faults, and one for clients, which always works. It needs root, iproute2 and nftables, and its own network namespace.
 */
import { type ChildProcess, execFileSync, spawn, type SpawnOptions } from "node:child_process";
import type { Defer } from "../support/test.ts";

/** This program's own addresses: of the clients, and of the origin. */
export const CLIENTS = "10.212.0.1";
export const ORIGIN = "10.211.0.1";
export const ORIGIN_V6 = "fd42::1";

const SERVERS_BRIDGE = "mus-servers";
const CLIENTS_BRIDGE = "mus-clients";
/** The bridges' ports stay up during a fault at a host's own end. */
const SERVERS_SIDE = "eth0";
const CLIENTS_SIDE = "ctl0";

function ip(...args: string[]): void {
  execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });
}

/** The fault for packets that a host receives. */
export type Loss = "drop" | "reject";

/** One host: a network namespace with an address on each bridge. */
export class Host {
  readonly name: string;
  readonly #number: number;
  readonly #namespace: string;
  #address: string;

  constructor(name: string, number: number, namespace: string) {
    this.name = name;
    this.#number = number;
    this.#namespace = namespace;
    this.#address = `10.211.0.${10 + number}`;
  }

  /** Among the servers. */
  get address(): string {
    return this.#address;
  }

  get addressV6(): string {
    return `fd42::${10 + this.#number}`;
  }

  /** The address at which clients always reach it. */
  get clientAddress(): string {
    return `10.212.0.${10 + this.#number}`;
  }

  /** Runs a program on it. */
  spawn(command: readonly string[], options: SpawnOptions): ChildProcess {
    return spawn("ip", ["netns", "exec", this.#namespace, ...command], options);
  }

  /** Runs a program on it to its end. @throws Error it failed */
  exec(...command: string[]): string {
    return execFileSync("ip", ["netns", "exec", this.#namespace, ...command], {
      encoding: "utf8",
    });
  }

  /** Joins it with the bridges. */
  connect(): void {
    const hosts: [string, string, string[]][] = [
      [SERVERS_SIDE, SERVERS_BRIDGE, [
        `${this.address}/24`,
        `${this.addressV6}/64`,
      ]],
      [CLIENTS_SIDE, CLIENTS_BRIDGE, [`${this.clientAddress}/24`]],
    ];
    for (const [side, bridge, addresses] of hosts) {
      const port = this.#portOf(side);
      ip(
        "link",
        "add",
        port,
        "type",
        "veth",
        "peer",
        "name",
        side,
        "netns",
        this.#namespace,
      );
      ip("link", "set", port, "master", bridge, "up");
      for (const address of addresses) this.#addAddress(address, side);
      ip("-n", this.#namespace, "link", "set", side, "up");
    }
    ip("-n", this.#namespace, "link", "set", "lo", "up");
    this.exec("nft", "add", "table", "inet", "faults");
    const chain = (name: string) => `{ type filter hook ${name} priority 0; }`;
    this.exec("nft", "add", "chain", "inet", "faults", "input", chain("input"));
    this.exec(
      "nft",
      "add",
      "chain",
      "inet",
      "faults",
      "output",
      chain("output"),
    );
  }

  /** Removes it from the bridges: a deleted namespace may keep its links for a while. */
  disconnect(): void {
    for (const side of [SERVERS_SIDE, CLIENTS_SIDE]) {
      ip("link", "del", this.#portOf(side));
    }
  }

  /** Takes its link among the servers down, or brings it back. */
  setLink(state: "up" | "down"): void {
    ip("-n", this.#namespace, "link", "set", SERVERS_SIDE, state);
    // The kernel takes IPv6 addresses off an interface that goes down.
    if (state === "up") this.#addAddress(`${this.addressV6}/64`, SERVERS_SIDE);
  }

  /** From now on it has another address among the servers. */
  move(lastOctet: number): void {
    ip(
      "-n",
      this.#namespace,
      "addr",
      "del",
      `${this.#address}/24`,
      "dev",
      SERVERS_SIDE,
    );
    this.#address = `10.211.0.${lastOctet}`;
    this.#addAddress(`${this.#address}/24`, SERVERS_SIDE);
  }

  /**
   * Sets the MTU of its path to the servers. The bridge takes the smallest MTU of its ports, so packets from there are
   * as small.
   */
  setMtu(bytes: number): void {
    ip("link", "set", this.#portOf(SERVERS_SIDE), "mtu", String(bytes));
    ip("-n", this.#namespace, "link", "set", SERVERS_SIDE, "mtu", String(bytes));
  }

  /** Bounds what it sends, among the servers. */
  setRate(megabits: number): void {
    const rate = [
      "tbf",
      "rate",
      `${megabits}mbit`,
      "burst",
      "64kb",
      "latency",
      "400ms",
    ];
    this.exec("tc", "qdisc", "replace", "dev", SERVERS_SIDE, "root", ...rate);
  }

  /**
   * Loses packets from another host, or from this program's addresses; without `from`, all packets from the servers.
   */
  refuseFrom(from: string | undefined, loss: Loss = "drop"): void {
    const match = from === undefined ? ["iifname", SERVERS_SIDE] : [family(from), "saddr", from];
    this.#addRule("input", ...match, ...verdict(loss));
  }

  /** Loses packets that it sends to an address. */
  refuseTo(to: string, loss: Loss = "drop"): void {
    this.#addRule("output", family(to), "daddr", to, ...verdict(loss));
  }

  /** Silently loses packets from another host that are longer than this, like a path with a wrong MTU. */
  loseLongerThan(bytes: number, from: string): void {
    this.#addRule("input", family(from), "saddr", from, ...`meta length > ${bytes} drop`.split(" "));
  }

  /** Loses this share of the packets from the servers. */
  loseAtRandom(percent: number): void {
    this.#addRule("input", "iifname", SERVERS_SIDE, ...`numgen random mod 100 < ${percent} drop`.split(" "));
  }

  /** Takes back all losses. */
  heal(): void {
    this.exec("nft", "flush", "chain", "inet", "faults", "input");
    this.exec("nft", "flush", "chain", "inet", "faults", "output");
  }

  #addRule(chain: "input" | "output", ...words: readonly string[]): void {
    this.exec("nft", "add", "rule", "inet", "faults", chain, ...words);
  }

  #portOf(side: string): string {
    return `${side === SERVERS_SIDE ? "s" : "c"}-${this.#number}`;
  }

  #addAddress(address: string, side: string): void {
    const isV6 = address.includes(":");
    // No duplicate address detection: it would keep the address away for a second.
    ip(
      ...["-n", this.#namespace, "addr", "replace", address, "dev", side],
      ...(isV6 ? ["nodad"] : []),
    );
  }
}

function family(address: string): string {
  return address.includes(":") ? "ip6" : "ip";
}

function verdict(loss: Loss): string[] {
  return loss === "drop" ? ["drop"] : ["reject", "with", "icmpx", "admin-prohibited"];
}

/** The two bridges, and the hosts on them; all gone at the end. */
export class Network {
  readonly #defer: Defer;
  readonly #prefix = `mus${Date.now() % 100_000}`;
  #hosts = 0;

  constructor(defer: Defer) {
    this.#defer = defer;
    ip("link", "set", "lo", "up");
    for (
      const [bridge, addresses] of [[SERVERS_BRIDGE, [`${ORIGIN}/24`]], [
        CLIENTS_BRIDGE,
        [`${CLIENTS}/24`],
      ]] as const
    ) {
      ip("link", "add", bridge, "type", "bridge");
      defer(() => ip("link", "del", bridge));
      for (const address of addresses) {
        ip("addr", "add", address, "dev", bridge);
      }
      ip("link", "set", bridge, "up");
    }
    ip("-6", "addr", "add", `${ORIGIN_V6}/64`, "dev", SERVERS_BRIDGE, "nodad");
  }

  /** @throws Error a program is missing, or not permitted */
  host(name: string): Host {
    const namespace = `${this.#prefix}-${name}`;
    ip("netns", "add", namespace);
    this.#defer(() => ip("netns", "del", namespace));
    const host = new Host(name, ++this.#hosts, namespace);
    this.#defer(() => host.disconnect());
    host.connect();
    return host;
  }
}
