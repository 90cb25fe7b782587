/** What the runtimes' own servers reach with a constant in place of a cache: how far a node is from that. */
import { root, type RuntimeKind, runtimeProgram } from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import { firstKeys, keyFile } from "./keys.ts";
import { type Cores, startServer } from "./processes.ts";

export const constantOf = (kind: RuntimeKind) => `constant on ${kind}`;

/** The least that whoever has to ask somebody else for the answer can do. */
export const constantLaterOf = (kind: RuntimeKind) => `constant on ${kind}, a turn of the event loop later`;

/** A file with the one key whose value the constant is. */
export const constantKeys = (defer: Defer) => keyFile(defer, firstKeys(1));

/**
 * @param options.port shared with others that are given it
 * @returns its URL
 */
export async function startConstant(
  defer: Defer,
  kind: RuntimeKind,
  { cores, isLater = false, port }: { cores?: Cores; isLater?: boolean; port?: number } = {},
): Promise<string> {
  const command = [runtimeProgram(kind), "run", ...(kind === "deno" ? ["-A"] : [])];
  const file = `${root}/tests/bench/parts/constant.ts`;
  const args = [isLater ? "later" : "now", ...(port === undefined ? [] : [String(port)])];
  const { url } = await startServer(defer, kind, [...command, file, ...args], { cores });
  return url;
}
