import { boundedLog } from "../../core/base/logs/bounded-log.ts";
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";
import { RecentLines } from "./recent-lines.ts";

/**
 * The most lines that other nodes can cause in a minute, and that writers to NATS can. Chosen: a hundred nodes may come and go
 * at once, and nobody fills a disk.
 */
const MAX_PEER_LINES_PER_MINUTE = 240;
const MAX_REGISTRY_LINES_PER_MINUTE = 240;
/** A line of a new list of peers holds their URLs. Chosen: room for those of two hundred. */
const MAX_REGISTRY_TEXT_CHARS = 8_000;

/** The log of a node, by who causes its lines. */
export interface NodeLogs {
  /** Its own lines; and the latest of all. */
  readonly log: RecentLines;
  /** For lines that other nodes cause, and for those that writers to NATS do. */
  readonly peerLog: Log;
  readonly registryLog: Log;
}

/** All of them end in `written`. */
export function nodeLogs(written: Log, clock: Clock): NodeLogs {
  const log = new RecentLines(written, clock);
  return {
    log,
    peerLog: boundedLog(log, { clock, maxLinesPerMinute: MAX_PEER_LINES_PER_MINUTE, about: "other nodes" }),
    registryLog: boundedLog(log, {
      clock,
      maxLinesPerMinute: MAX_REGISTRY_LINES_PER_MINUTE,
      maxTextChars: MAX_REGISTRY_TEXT_CHARS,
      about: "what stands in NATS",
    }),
  };
}
