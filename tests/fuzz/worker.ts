/** Fuzzes one target in a thread of its own; the main thread watches whether it gets on. */
import { parentPort, workerData } from "node:worker_threads";
import { Found, fuzz } from "./engine.ts";
import { targets } from "./targets.ts";

/** What the main thread hands over. */
export interface Task {
  readonly name: string;
  readonly seed: number;
  readonly inputs: number;
  /** The number of the input that is being run stands in its first place. */
  readonly progress: SharedArrayBuffer;
}

/** What comes back. */
export type Outcome =
  | { readonly kind: "done"; readonly figures: Awaited<ReturnType<typeof fuzz>> }
  | { readonly kind: "found"; readonly input: Uint8Array; readonly what: string };

const { name, seed, inputs, progress } = workerData as Task;
const at = new Int32Array(progress);
const target = targets.find((target) => target.name === name)!;

async function outcome(): Promise<Outcome> {
  try {
    const onInput = (index: number) => void Atomics.store(at, 0, index);
    return { kind: "done", figures: await fuzz(target, { seed, inputs, onInput }) };
  } catch (error) {
    if (error instanceof Found) return { kind: "found", input: error.input, what: error.message };
    throw error;
  }
}

parentPort!.postMessage(await outcome());
