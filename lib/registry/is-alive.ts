import type { PeerRecord } from "../core/roster.ts";
import { getJson } from "./direct-get.ts";

const timeoutMs = 1_000;

/** Whether the node of this record still runs: its URL answers, and with the same incarnation. Never rejects. */
export async function isAlive({ url, incarnation }: PeerRecord): Promise<boolean> {
  try {
    const { incarnation: theirs } = await getJson(`${url}/healthz`, timeoutMs) as { incarnation?: unknown };
    return theirs === incarnation;
  } catch {
    return false;
  }
}
