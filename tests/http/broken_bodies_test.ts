/** Bodies that break off on their way through real nodes. Runs on one runtime: it starts nodes on both. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, request as httpRequest, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { bothRuntimes, type NodeProcess, type RuntimeKind, startNode, temporaryDirectory } from "../support/node.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

async function nodeBefore(defer: Defer, kind: RuntimeKind, handler: Handler): Promise<NodeProcess> {
  const server = createServer(handler);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}/*`;
  const file = join(temporaryDirectory(defer), "muster.json");
  writeFileSync(file, JSON.stringify({ groups: { site: { origin } } }));
  return await startNode(defer, kind, ["--nats", "off", "--log", "json", "--config", file]);
}

for (const kind of bothRuntimes) {
  test(`an answer that the site breaks off is broken for the client, and one line says so, on ${kind}`, async (defer) => {
    const answers: ServerResponse[] = [];
    const node = await nodeBefore(defer, kind, (request, response) => {
      request.resume();
      response.writeHead(200, { "content-length": "1000" });
      response.write("half");
      answers.push(response);
    });
    const asked = httpRequest(`${node.url}/cache/site/k?secret`, { method: "POST" }).end();
    const [answer] = await once(asked, "response");
    const broken = new Promise<Error>((resolve) => {
      asked.on("error", resolve);
      answer.on("error", resolve).on("end", () => assert.fail("the answer looks whole"));
    });
    const [half] = await once(answer, "data");
    assert.equal(Buffer.from(half).toString(), "half");
    answers[0]!.destroy();
    await broken;
    await node.line("broke off");
    const { groups } = await node.stats() as unknown as { groups: { site: { health: { lastFailure: object } } } };
    assert.match(JSON.stringify(groups.site.health.lastFailure), /broke off/);
    assert.deepEqual(node.lines.filter((line) => !line.startsWith("{") && !line.includes("Warning")), [], "a stack");
    assert.equal(node.lines.filter((line) => line.includes("broke off")).length, 1);
    assert.ok(!node.lines.join("").includes("secret"));
  });

  test(`a client that goes away in the middle of its body is not the site's fault on ${kind}`, async (defer) => {
    let [received, left] = ["", 0];
    const node = await nodeBefore(defer, kind, (request, response) => {
      request.on("data", (piece: Buffer) => received += piece).on("error", () => {}).on("close", () => left++);
      request.on("end", () => response.end("whole"));
    });
    for (let i = 1; i <= 3; i++) {
      const { port } = new URL(node.url);
      const socket = connect(Number(port), "127.0.0.1").on("error", () => {});
      socket.write("POST /cache/site/k HTTP/1.1\r\nHost: h.test\r\nContent-Length: 100\r\n\r\nhalf");
      await until(() => received.length === 4 * i, 10_000, () => received);
      socket.destroy();
      await until(() => left === i, 10_000, () => "the site is still sent a body");
    }
    // A request reports a fault of the site before the answer to a later request.
    const { groups } = await node.stats() as unknown as { groups: { site: { originUnreachableSince?: string } } };
    assert.equal(groups.site.originUnreachableSince, undefined);
    assert.deepEqual(node.lines.filter((line) => !/"level":"info"|Warning/.test(line)), []);
  });
}
