/**
 * The limit: what the runtime's server reaches when there is nothing to do but answer 1 KiB with a node's headers; told
 * `later`, in a later turn of the event loop, as whoever has to ask somebody else for it. Given a port, it shares that.
 */
import { Buffer } from "node:buffer";
import process from "node:process";
import { keyOf, valueOf } from "../keys.ts";

interface Runtimes {
  Bun?: { serve(options: object): { port: number } };
  Deno?: { serve(options: object, fetch: Fetch): { addr: { port: number } } };
}
type Fetch = () => Response | Promise<Response>;

const body = new Uint8Array(Buffer.from(valueOf(keyOf(0))));
// As a node does it: a Headers object made once is what both runtimes send fastest, and they count the bytes themselves.
const init = {
  headers: new Headers({
    "content-type": "application/octet-stream",
    "cache-status": '"127-0-0-1-8000"; hit',
    "x-content-type-options": "nosniff",
  }),
};
const answer = () => new Response(body, init);
const later = () => new Promise<Response>((resolve) => setImmediate(() => resolve(answer())));
const fetch: Fetch = process.argv[2] === "later" ? later : answer;
const { Bun, Deno } = globalThis as unknown as Runtimes;
const hostname = "127.0.0.1";
const reusePort = process.argv[3] !== undefined;
const address = { hostname, port: Number(process.argv[3] ?? 0), reusePort };
const port = Bun !== undefined
  ? Bun.serve({ ...address, fetch }).port
  : Deno!.serve({ ...address, onListen() {} }, fetch).addr.port;
process.stderr.write(`listening on http://${hostname}:${port}\n`);
