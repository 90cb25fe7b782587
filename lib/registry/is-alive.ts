import type { PeerRecord } from "../core/roster.ts";
import { getJson } from "./direct-get.ts";

/**
 * Whether the node of this record still runs: its URL answers within `timeoutMs`, and with the same incarnation. A port
 * that is closed says no at once; only a host that is silent costs the time. Never rejects.
 */
export async function isAlive({ url, incarnation }: PeerRecord, timeoutMs: number): Promise<boolean> {
  try {
    const { incarnation: theirs } = await getJson(`${url}/healthz`, timeoutMs) as { incarnation?: unknown };
    return theirs === incarnation;
  } catch {
    return false;
  }
}
