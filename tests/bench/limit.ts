/** What the runtimes' own servers reach with next to nothing to do: how far a node could go. */
import { freePort } from "../support/free-port.ts";
import { root, type RuntimeKind, runtimeProgram } from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import { firstKeys, keyFile } from "./keys.ts";
import { type Cores, startServer } from "./processes.ts";

export const constantOf = (kind: RuntimeKind) => `constant on ${kind}`;
export const bareHopOf = (kind: RuntimeKind) => `bare hop on ${kind}`;
export const bareMeshOf = (kind: RuntimeKind) => `bare mesh on ${kind}`;
export const bareHerdOf = (kind: RuntimeKind) => `bare servers on ${kind}`;

/** A file with the one key whose value the constant is. */
export const constantKeys = (defer: Defer) => keyFile(defer, firstKeys(1));

/**
 * A server that answers a constant.
 *
 * @param options.port shared with others that are given it
 * @returns its URL
 */
export function startConstant(
  defer: Defer,
  kind: RuntimeKind,
  { cores, port }: { cores?: Cores; port?: number } = {},
): Promise<string> {
  return startBare(defer, kind, ["constant", ...(port === undefined ? [] : [String(port)])], cores);
}

/**
 * Two processes, of which one answers with what it gets from the other.
 *
 * @param cores of the one that asks
 * @param ownersCores of the other
 * @returns the URL of the one that asks
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

/** Processes that keep what they have answered, and get the rest from the keys' owners. @returns their URLs */
export async function startBareMesh(defer: Defer, kind: RuntimeKind, count: number): Promise<string[]> {
  const ports: number[] = [];
  for (let i = 0; i < count; i++) ports.push(await freePort());
  return await Promise.all(ports.map((_, i) => startBare(defer, kind, ["mesh", String(i), ports.join()])));
}

/** A server that answers a key for the first time after `delayMs`. @returns its URL */
export function startBareHerd(defer: Defer, kind: RuntimeKind, delayMs: number): Promise<string> {
  return startBare(defer, kind, ["herd", String(delayMs)]);
}

async function startBare(defer: Defer, kind: RuntimeKind, args: readonly string[], cores?: Cores): Promise<string> {
  const command = [runtimeProgram(kind), "run", ...(kind === "deno" ? ["-A"] : [])];
  const { url } = await startServer(defer, kind, [...command, `${root}/tests/bench/parts/bare.ts`, ...args], { cores });
  return url;
}
