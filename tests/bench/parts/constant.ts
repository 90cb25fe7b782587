/** The limit: what the runtime's server reaches when there is nothing to do but answer 1 KiB with a node's headers. */
import { Buffer } from "node:buffer";
import process from "node:process";
import { keyOf, valueOf } from "../keys.ts";

interface Runtimes {
  Bun?: { serve(options: object): { port: number } };
  Deno?: { serve(options: object, fetch: () => Response): { addr: { port: number } } };
}

const body = new Uint8Array(Buffer.from(valueOf(keyOf(0))));
const headers = {
  "content-type": "application/octet-stream",
  "content-length": String(body.byteLength),
  "cache-status": '"127-0-0-1-8000"; hit',
  "x-content-type-options": "nosniff",
};
const fetch = () => new Response(body, { headers });
const { Bun, Deno } = globalThis as unknown as Runtimes;
const hostname = "127.0.0.1";
const port = Bun !== undefined
  ? Bun.serve({ hostname, port: 0, fetch }).port
  : Deno!.serve({ hostname, port: 0, onListen() {} }, fetch).addr.port;
process.stderr.write(`listening on http://${hostname}:${port}\n`);
