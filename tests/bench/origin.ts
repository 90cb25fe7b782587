/** The origin of every contestant: gives a key's value, after a delay if one is set, and counts. */
import { serveBodies } from "../support/serve-bodies.ts";
import type { Defer } from "../support/test.ts";
import { valueOf } from "./keys.ts";

export interface BenchOrigin {
  /** For a contestant's configuration. */
  readonly template: string;
  delayMs: number;
  loads: number;
}

/** Starts it in this process; ended with the row. */
export async function startOrigin(defer: Defer): Promise<BenchOrigin> {
  const origin = { template: "", delayMs: 0, loads: 0 };
  const url = await serveBodies(defer, (path) => {
    origin.loads++;
    return { body: valueOf(decodeURIComponent(path.slice(1))), delayMs: origin.delayMs };
  });
  origin.template = `${url}/{key}`;
  return origin;
}
