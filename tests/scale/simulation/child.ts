/** Runs one simulated fleet in its own process, whose end frees its memory: `child.ts <nodes>` prints JSON. */
import process from "node:process";
import { measureCosts } from "./costs.ts";
import { simulate } from "./run.ts";

const nodes = Number(process.argv[2]);
const costs = await measureCosts(nodes);
process.stdout.write(JSON.stringify({ ...await simulate(nodes), costs }));
process.exit(0);
