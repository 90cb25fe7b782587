/** All scenarios, in the order of the table. */
import { halvesScenarios } from "./halves.ts";
import { links } from "./links.ts";
import { moves } from "./moves.ts";
import { natsScenarios } from "./nats.ts";
import { paths } from "./paths.ts";
import { sharing } from "./sharing.ts";
import type { Scenario } from "./world.ts";

export const scenarios: readonly Scenario[] = [
  ...links,
  ...halvesScenarios,
  ...natsScenarios,
  ...moves,
  ...paths,
  ...sharing,
];
