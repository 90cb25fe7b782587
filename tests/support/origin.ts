/** An HTTP origin for tests: counts its requests, and answers by the key. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Defer } from "./test.ts";

export interface TestOrigin {
  /** For `--group name=…`. */
  readonly template: string;
  /** Every key that was asked, in order. */
  readonly loads: string[];
  /** Answers wait for it. */
  gate: Promise<unknown>;
}

/** Answers `GET /<key>` with the key itself, as UTF-8; 404 for keys that start with `missing`. */
export async function startOrigin(defer: Defer): Promise<TestOrigin> {
  const loads: string[] = [];
  const origin: { template: string; loads: string[]; gate: Promise<unknown> } = {
    template: "",
    loads,
    gate: Promise.resolve(),
  };
  const server = createServer(async (request, response) => {
    const key = decodeURIComponent(request.url!.slice(1));
    loads.push(key);
    await origin.gate;
    response.writeHead(key.startsWith("missing") ? 404 : 200, { "content-type": "text/plain; charset=utf-8" });
    response.end(key);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  defer(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  origin.template = `http://127.0.0.1:${(server.address() as AddressInfo).port}/{key}`;
  return origin;
}
