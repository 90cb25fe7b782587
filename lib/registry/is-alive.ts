import type { PeerRecord } from "../core/roster.ts";

const timeoutMs = 1_000;

/** Whether the node of this record still runs: its URL answers, and with the same incarnation. Never rejects. */
export async function isAlive({ url, incarnation }: PeerRecord): Promise<boolean> {
  try {
    const response = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(timeoutMs) });
    return (await response.json() as { incarnation?: unknown }).incarnation === incarnation;
  } catch {
    return false;
  }
}
