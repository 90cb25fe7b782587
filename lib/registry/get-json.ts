/** Asks another node at its own URL. */
import { Buffer } from "node:buffer";
import { get as getPlain } from "node:http";
import { get as getSecure } from "node:https";
import type { LookupFunction } from "node:net";

/** Chosen: the statistics of a thousand peers in several groups are shorter. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;

/**
 * Gets JSON from a URL of another node. It does not use `fetch`, which obeys `HTTP_PROXY`, even for this machine,
 * unlike the links to peers. And because of Bun's limit of fetches it would wait behind requests to origins.
 *
 * @throws Error no answer in time, a status other than 200, too long an answer, or no JSON
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
