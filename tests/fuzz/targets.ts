import type { Target } from "./target.ts";
import { configTargets } from "./targets/config.ts";
import { dictTargets } from "./targets/dict.ts";
import { httpTargets } from "./targets/http.ts";
import { registryTargets } from "./targets/registry.ts";
import { semanticsTargets } from "./targets/semantics.ts";
import { socketTargets } from "./targets/socket.ts";
import { wireTargets } from "./targets/wire.ts";

/** All that is fuzzed. */
export const targets: readonly Target[] = [
  ...[...wireTargets, ...socketTargets, ...registryTargets, ...configTargets],
  ...[...dictTargets, ...semanticsTargets, ...httpTargets],
];
