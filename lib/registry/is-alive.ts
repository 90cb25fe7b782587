/** Questions to another node at its own URL. */
import { Buffer } from "node:buffer";
import { get as getPlain } from "node:http";
import { get as getSecure } from "node:https";
import type { LookupFunction } from "node:net";
import { ANYWHERE, type PeerNetworks } from "../config/networks.ts";
import type { PeerRecord } from "../core/roster.ts";

/** Chosen: the statistics of a thousand peers in some groups are less. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;

/**
 * Whether the node of this record still runs: its URL answers within `timeoutMs`, with the same name and incarnation. A
 * record with the URL of a node of another name, which anybody may write, is nobody's. A closed port says no at once; only a
 * silent host costs the time. Never rejects.
 *
 * @param ca the authorities to trust, in PEM. @default the system's
 */
export async function isAlive(
  { name, url, incarnation }: PeerRecord,
  timeoutMs: number,
  networks: PeerNetworks = ANYWHERE,
  ca?: string,
): Promise<boolean> {
  if (networks.faultOf(url) !== undefined) return false;
  try {
    const rest = { ...networks.lookup, ...(ca !== undefined && { ca }) };
    const theirs = await getJson(`${url}/healthz`, timeoutMs, rest) as Record<string, unknown>;
    return theirs.name === name && theirs.incarnation === incarnation;
  } catch {
    return false;
  }
}

/**
 * The JSON behind a URL of another node. Not by `fetch`: that obeys `HTTP_PROXY`, even for this very machine, which links to
 * peers do not; and behind Bun's bound of fetches it would wait for origins.
 *
 * @throws Error no answer in time, a status other than 200, too long, or no JSON
 */
export function getJson(
  url: string,
  timeoutMs: number,
  rest: {
    readonly headers?: Readonly<Record<string, string>>;
    readonly lookup?: LookupFunction;
    readonly ca?: string;
  } = {},
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const get = url.startsWith("https:") ? getSecure : getPlain;
    const request = get(url, { agent: false, ...rest, signal: AbortSignal.timeout(timeoutMs) }, (response) => {
      const chunks: Uint8Array[] = [];
      let bytes = 0;
      response.on("error", reject);
      if (response.statusCode !== 200) {
        request.destroy(new Error(`${url} answered ${response.statusCode}`));
        return;
      }
      response.on("data", (chunk: Uint8Array) => {
        bytes += chunk.length;
        if (bytes > MAX_BODY_BYTES) request.destroy(new Error(`${url} sends more than ${MAX_BODY_BYTES} bytes`));
        else chunks.push(chunk);
      });
      response.on("end", () => {
        try {
          resolve(JSON.parse(Buffer.concat(chunks).toString()));
        } catch (error) {
          reject(error);
        }
      });
    });
    request.on("error", reject);
    request.on("close", () => reject(new Error(`${url} closed the connection`)));
  });
}
