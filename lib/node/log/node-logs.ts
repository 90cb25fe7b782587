import { boundedLog } from "../../core/base/logs/bounded-log.ts";
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";
import { RecentLines } from "./recent-lines.ts";

/**
 * The most lines per minute that other nodes can cause, and that writers to NATS can cause. Chosen: enough when a
 * hundred nodes come and go at once, and too few to fill a disk.
 */
const MAX_PEER_LINES_PER_MINUTE = 240;
const MAX_REGISTRY_LINES_PER_MINUTE = 240;
/** A line about a new list of peers holds their URLs. Chosen: room for two hundred URLs. */
const MAX_REGISTRY_TEXT_CHARS = 8_000;

/** The logs of a node, separated by the cause of their lines. */
export interface NodeLogs {
  /** The node's own lines; it also remembers the latest lines of all these logs. */
  readonly log: RecentLines;
  /** For lines caused by other nodes, and for lines caused by writers to NATS. */
  readonly peerLog: Log;
  readonly registryLog: Log;
}

/** Makes the logs; all of them write to `written`. */
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
