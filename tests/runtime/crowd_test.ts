/** Nodes among clients that mean harm, in small numbers. Runs once: its subject is in processes of their own. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { bothRuntimes } from "../support/node.ts";
import { test } from "../support/test.ts";
import { until } from "../support/until.ts";
import { Crowd, residentMiB, type Rest, startLimited, startLongOrigin, waitMs } from "./crowd.ts";

/** Bun ends a connection that has never sent a whole request only after 30 s, so the crowd has been served once there. */
const rests: Record<"bun" | "deno", readonly Rest[]> = { bun: ["used"], deno: ["unused", "used", "half a head"] };

const BYTES = 16_000_000;

for (const kind of bothRuntimes) {
  for (const rest of rests[kind]) {
    test(`400 connections to a node on ${kind} that may have 256 files (${rest}) keep no client out`, async (defer) => {
      const node = await startLimited(defer, kind, 256);
      await node.line("only 256 files open");
      const crowd = new Crowd(node, defer);
      // More than may be open come in two waves: the second finds the node as the first left it.
      await crowd.open(200, rest);
      await crowd.open(200, rest);
      const waited = await waitMs(node, 10_000);
      assert.ok(waited !== undefined, node.account("an answer"));
      // Its connections end, and its lines come, some time later.
      await until(() => crowd.closed > 100, 5_000, () => `closed ${crowd.closed}`);
      await node.line("idle connections are");
      assert.equal(node.exitCode, undefined);
      const told = node.lines.filter((line) => /idle connections are/.test(line));
      assert.ok(told.length >= 1 && told.length <= 3, told.join("\n"));
    });
  }

  test(`a head of 1 MiB is refused by a node on ${kind}`, async (defer) => {
    const node = await startLimited(defer, kind, 256);
    const request = httpRequest(`${node.url}/healthz`, { headers: { x: "x".repeat(2 ** 20) } }).end();
    const outcome = await Promise.race([once(request, "response"), once(request, "error")]);
    const status = (outcome[0] as { statusCode?: number }).statusCode;
    assert.ok(status === undefined || status === 400 || status === 431, String(status));
    assert.ok(await waitMs(node, 5_000) !== undefined);
  });

  test(`a long answer of a node on ${kind} has its length, beside clients that read none of it`, async (defer) => {
    const node = await startLimited(defer, kind, 1_024, ["--group", `big=${await startLongOrigin(defer, BYTES)}`]);
    const read = async () => {
      const [response] = await once(httpRequest(`${node.url}/cache/big/1`).end(), "response");
      let bytes = 0;
      for await (const chunk of response) {
        bytes += chunk.length;
        assert.ok(chunk.every((byte: number) => byte === 0x78));
      }
      return [response.statusCode, bytes, response.headers["content-length"], response.headers["transfer-encoding"]];
    };
    const whole = [200, BYTES, String(BYTES), undefined];
    assert.deepEqual(await read(), whole, "a miss");
    assert.deepEqual(await read(), whole, "a hit");
    const before = residentMiB(node);
    const crowd = new Crowd(node, defer);
    await crowd.readNothing(Array.from({ length: 8 }, () => "/cache/big/1"));
    assert.deepEqual(await read(), whole, "beside clients that read nothing");
    const grown = residentMiB(node) - before;
    // Bun copies what the system does not take at once, 12 MB of each; Deno sends slices of the one value.
    assert.ok(grown < (kind === "bun" ? 200 : 80), `${grown} MiB`);
  });
}
