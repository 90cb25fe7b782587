/** The limits: the speed of the runtimes' own servers with almost no work. */
import { freePort } from "../support/free-port.ts";
import { root, runCommand, type RuntimeKind } from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import { firstKeys, keyFile } from "./keys.ts";
import { type Cores, startServer } from "./processes.ts";

export const constantOf = (kind: RuntimeKind) => `constant on ${kind}`;
export const mapOf = (kind: RuntimeKind) => `Map behind Hono on ${kind}`;
export const lruCacheOf = (kind: RuntimeKind) => `lru-cache on ${kind}`;
export const bareArrivalOf = (kind: RuntimeKind) => `quick-lru in order of arrival on ${kind}`;
export const bareHopOf = (kind: RuntimeKind) => `bare hop on ${kind}`;
export const bareMeshOf = (kind: RuntimeKind) => `bare mesh on ${kind}`;
export const bareHerdOf = (kind: RuntimeKind) => `bare servers on ${kind}`;

/** A file with the one key whose value the constant is. */
export const constantKeys = (defer: Defer) => keyFile(defer, firstKeys(1));

interface LimitOptions {
  readonly cores?: Cores;
  /** A port that several servers share. */
  readonly port?: number;
}

/** A server that answers a constant. @returns its URL */
export function startConstant(defer: Defer, kind: RuntimeKind, options: LimitOptions = {}): Promise<string> {
  return startAnswering(defer, kind, "constant", options);
}

/** A server that answers from a Map. @returns its URL */
export function startMap(defer: Defer, kind: RuntimeKind, options: LimitOptions = {}): Promise<string> {
  return startAnswering(defer, kind, "map", options);
}

function startAnswering(defer: Defer, kind: RuntimeKind, mode: string, { cores, port }: LimitOptions): Promise<string> {
  return startBare(defer, kind, [mode, ...(port === undefined ? [] : [String(port)])], cores);
}

/**
 * Two processes: the asker gets each value from the owner.
 *
 * @param cores of the asker
 * @param ownersCores of the owner
 * @returns the asker's URL
 */
export async function startBareHop(
  defer: Defer,
  kind: RuntimeKind,
  cores?: Cores,
  ownersCores?: Cores,
): Promise<string> {
  const owner = await startBare(defer, kind, ["owner"], ownersCores);
  return await startBare(defer, kind, ["asker", new URL(owner).port], cores);
}

/**
 * Processes that keep all their answers, and get the other values from the keys' owners.
 *
 * @param origin a URL with `{key}` in it, where owners load values; without it they make them
 * @returns their URLs
 */
export async function startBareMesh(
  defer: Defer,
  kind: RuntimeKind,
  count: number,
  origin?: string,
): Promise<string[]> {
  const ports: number[] = [];
  for (let i = 0; i < count; i++) ports.push(await freePort());
  const start = (index: number) =>
    origin === undefined
      ? startBare(defer, kind, ["mesh", String(index), ports.join()])
      : startBare(defer, kind, ["herd", String(index), ports.join(), origin]);
  return await Promise.all(ports.map((_, index) => start(index)));
}

async function startBare(defer: Defer, kind: RuntimeKind, args: readonly string[], cores?: Cores): Promise<string> {
  const { url } = await startServer(defer, kind, [...runCommand(kind), `${root}/tests/bench/parts/bare.ts`, ...args], {
    cores,
  });
  return url;
}
