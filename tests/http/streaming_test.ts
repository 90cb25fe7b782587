/** Bodies that no node keeps, through real nodes: bounded memory and back-pressure. Runs once: its subject is in processes. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, request as httpRequest, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { bothRuntimes, type NodeProcess, type RuntimeKind, startNode, temporaryDirectory } from "../support/node.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";

const MIB = 2 ** 20;
const chunk = Buffer.alloc(MIB, "x");
const BODY_MIB = 256;
/**
 * Measured once the heap has its working size: 5 MiB on Bun, 32 to 64 on Deno, where garbage waits for its collector. A node
 * that buffered the body would grow by 256.
 */
const MAX_GROWTH_MIB = 128;

interface Site {
  readonly base: string;
  /** MiB that the site has written, or read. */
  moved: number;
  /** Answers whose client has gone. */
  closed: number;
}

async function startSite(defer: Defer): Promise<Site> {
  const site = { base: "", moved: 0, closed: 0 };
  const stream = async (response: ServerResponse, sizeMiB: number) => {
    const closed = new Promise<void>((resolve) => response.on("close", resolve));
    void closed.then(() => site.closed++);
    for (let i = 0; i < sizeMiB && !response.destroyed; i++) {
      site.moved++;
      if (response.write(chunk)) continue;
      await Promise.race([new Promise<void>((resolve) => response.once("drain", resolve)), closed]);
    }
    response.end();
  };
  const server = createServer(async (request, response) => {
    if (request.method === "PUT") {
      let bytes = 0;
      for await (const part of request) bytes += (part as Buffer).length;
      response.end(String(bytes));
      return;
    }
    // Without a length: the node learns only while it reads that this is more than it keeps.
    await stream(response, BODY_MIB);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  site.base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/*`;
  return site;
}

async function startSiteNode(defer: Defer, kind: RuntimeKind, origin: string): Promise<NodeProcess> {
  const file = join(temporaryDirectory(defer), "muster.json");
  writeFileSync(file, JSON.stringify({ groups: { site: { origin, loadTimeoutMs: 60_000 } } }));
  return await startNode(defer, kind, ["--nats", "off", "--config", file]);
}

function residentMiB(node: NodeProcess): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${node.child.pid}/status`, "utf8"))!;
  return Number(kib) / 1_024;
}

/** Looks at the memory of the node every 20 ms while the work is under way. @returns its greatest growth */
async function growthMiB(node: NodeProcess, work: Promise<unknown>): Promise<number> {
  const before = residentMiB(node);
  let most = 0;
  const timer = setInterval(() => most = Math.max(most, residentMiB(node) - before), 20);
  await work.finally(() => clearInterval(timer));
  return most;
}

/** Downloads by node:http, as a client that reads as fast as it can. @returns the bytes of the body */
async function download(url: string, limitMiB = Infinity): Promise<number> {
  const request = httpRequest(url).end();
  const [response] = await once(request, "response");
  let bytes = 0;
  for await (const part of response) {
    bytes += part.length;
    if (bytes >= limitMiB * MIB) break;
  }
  request.destroy();
  return bytes;
}

async function upload(url: string, sizeMiB: number): Promise<string> {
  const request = httpRequest(url, { method: "PUT" });
  const answered = once(request, "response");
  for (let i = 0; i < sizeMiB; i++) if (!request.write(chunk)) await once(request, "drain");
  request.end();
  const [response] = await answered;
  let text = "";
  for await (const part of response) text += part;
  return text;
}

for (const kind of bothRuntimes) {
  test(
    `256 MiB down and up through a node on ${kind} takes bounded memory`,
    { timeoutMs: 120_000 },
    async (defer) => {
      const site = await startSite(defer);
      const node = await startSiteNode(defer, kind, site.base);
      const url = `${node.url}/cache/site/large`;
      // The first one also learns that the body is too long, and grows the heap to its working size.
      assert.equal(await download(url), BODY_MIB * MIB);
      assert.equal(await upload(url, BODY_MIB), String(BODY_MIB * MIB));
      let bytes = 0;
      const down = await growthMiB(node, download(url).then((read) => bytes = read));
      assert.equal(bytes, BODY_MIB * MIB);
      let answer = "";
      const up = await growthMiB(node, upload(url, BODY_MIB).then((text) => answer = text));
      assert.equal(answer, String(BODY_MIB * MIB));
      assert.ok(down <= MAX_GROWTH_MIB && up <= MAX_GROWTH_MIB, `${down} MiB down, ${up} MiB up`);
    },
  );

  test(`a client that goes away, or reads slowly, holds up the site through a node on ${kind}`, async (defer) => {
    const site = await startSite(defer);
    const node = await startSiteNode(defer, kind, site.base);
    const url = `${node.url}/cache/site/large`;
    await download(url, 1); // now the node knows that it is too long
    await until(() => site.closed > 0, 10_000, () => "the site goes on sending");
    site.moved = 0;
    const closedBefore = site.closed;
    const request = httpRequest(url).end();
    const [response] = await once(request, "response");
    response.pause();
    let before = -1;
    // Buffers between the two fill up, and then nothing moves.
    await until(
      async () => {
        const isStill = before === site.moved && before > 0;
        before = site.moved;
        if (!isStill) await new Promise((resolve) => setTimeout(resolve, 300));
        return isStill;
      },
      15_000,
      () => `${site.moved} MiB were sent to a client that reads nothing`,
    );
    assert.ok(site.moved <= 64, `${site.moved} MiB are under way`);
    request.destroy();
    await until(() => site.closed > closedBefore, 10_000, () => "the site is not told that the client has gone");
  });
}
