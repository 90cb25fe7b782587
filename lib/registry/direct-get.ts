/** GET of what another process of this fleet says of itself. */
import { Buffer } from "node:buffer";
import { get as getPlain } from "node:http";
import { get as getSecure } from "node:https";

/** Statistics of a thousand peers in some groups are less. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;

/**
 * The JSON behind a URL of another node. Not by `fetch`: that goes where `HTTP_PROXY` says, even for this very machine, and
 * links to peers do not; and behind Bun's bound of fetches it would wait for origins.
 *
 * @throws Error no answer in time, a status other than 200, too long, or no JSON
 */
export function getJson(url: string, timeoutMs: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const get = url.startsWith("https:") ? getSecure : getPlain;
    const request = get(url, { agent: false, signal: AbortSignal.timeout(timeoutMs) }, (response) => {
      const chunks: Uint8Array[] = [];
      let bytes = 0;
      response.on("error", reject);
      if (response.statusCode !== 200) {
        request.destroy(new Error(`${url} answered ${response.statusCode}`));
        return;
      }
      response.on("data", (chunk: Uint8Array) => {
        bytes += chunk.length;
        if (bytes > MAX_BODY_BYTES) request.destroy(new Error(`${url} says more than ${MAX_BODY_BYTES} bytes`));
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
