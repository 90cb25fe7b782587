/** The figures of a machine. Runs alone: a worker has 500 ms to answer. */
import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import type { NodeReport } from "../../lib/http/figures.ts";
import { parseConfig } from "../../lib/config/parse.ts";
import { Siblings } from "../../lib/workers/siblings.ts";
import { type Defer, test } from "../support/test.ts";

async function serve(defer: Defer, answer: RequestListener): Promise<number> {
  const server = createServer(answer);
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  defer(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  return (server.address() as AddressInfo).port;
}

const report = (name: string): NodeReport => ({ name, incarnation: "1", version: "1", runtime: "test", groups: {} });

function siblings(): Siblings {
  const input = { argv: [], env: {}, readFile: () => "", isTerminal: true, checkOrigin: () => {} };
  const parsed = parseConfig(input);
  assert.ok(parsed.kind === "run");
  return new Siblings({
    name: "w1",
    machine: { name: "m", url: "http://127.0.0.1:1" },
    workers: ["w1", "w2", "w3", "w4", "w5"],
    sharedAddr: { host: "127.0.0.1", port: 1 },
    statsToken: "opens-the-figures",
    reachedAt: "127.0.0.1",
    config: parsed.config,
  });
}

test("the figures of a machine are there in time, whatever its workers do", async (defer) => {
  const asked: string[] = [];
  const good = await serve(defer, (request, response) => {
    asked.push(`${request.url} ${request.headers.authorization}`);
    response.end(JSON.stringify(report("w2")));
  });
  const silent = await serve(defer, () => {});
  const another = await serve(defer, (_, response) => void response.end(JSON.stringify(report("w9"))));
  const all = siblings();
  const own = report("w1");
  assert.deepEqual((await all.workers(own)).map(({ name, report, fault }) => report ?? `${name} ${fault}`), [
    own,
    ...["w2", "w3", "w4", "w5"].map((name) => `${name} is not running`),
  ]);
  all.moved([
    { name: "w1", port: 7 },
    { name: "w2", port: good },
    { name: "w3", port: silent },
    { name: "w4", port: another },
    { name: "w5" },
  ]);
  assert.deepEqual(await all.workers(own), [
    { name: "w1", url: "http://127.0.0.1:7", report: own },
    { name: "w2", url: `http://127.0.0.1:${good}`, report: report("w2") },
    { name: "w3", url: `http://127.0.0.1:${silent}`, fault: "gave no answer within 500 ms" },
    { name: "w4", url: `http://127.0.0.1:${another}`, fault: "another worker answers at its port" },
    { name: "w5", fault: "is not running" },
  ]);
  assert.deepEqual(asked, ["/stats Bearer opens-the-figures"]);
});
