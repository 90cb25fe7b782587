/** Every row, in the order of the table. */
import type { Row } from "../types.ts";
import { coalesce, headline, idle, zipf } from "./cluster.ts";
import { hop64, hop8, hopLatency, hopPinned } from "./hop.ts";
import { memory, startUp } from "./life.ts";
import { localHit, localShare, workers } from "./local.ts";
import { byteCache, hitRatio, rank, spread } from "./parts.ts";

export const rows: readonly Row[] = [
  headline,
  localHit,
  localShare,
  hop64,
  hop8,
  hopPinned,
  zipf,
  workers,
  coalesce,
  hopLatency,
  rank,
  spread,
  byteCache,
  memory,
  startUp,
  hitRatio,
  idle,
];
