import process from "node:process";

/** The bytes of live objects, after a garbage collection. */
export async function heapBytes(): Promise<number> {
  const { Bun } = globalThis as { Bun?: { gc(sync: boolean): void } };
  if (Bun !== undefined) {
    for (let i = 0; i < 3; i++) Bun.gc(true);
    return (await import("bun:jsc" as string)).heapSize();
  }
  const { setFlagsFromString } = await import("node:v8");
  const { runInNewContext } = await import("node:vm");
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  for (let i = 0; i < 3; i++) gc();
  return process.memoryUsage().heapUsed;
}
