/** One node in front of a site, within the test: the app, a group, and an origin of raw HTTP. */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Clock } from "../../lib/core/base/clock.ts";
import { Group } from "../../lib/core/group/group.ts";
import type { LifetimePolicy } from "../../lib/core/lifetime/policy.ts";
import { NoPeers, type PeerPicker } from "../../lib/core/ports.ts";
import { createApp } from "../../lib/http/app.ts";
import { Invalidations } from "../../lib/node/invalidations.ts";
import { keepingForward } from "../../lib/node/groups/kept-answers.ts";
import type { ServedGroup } from "../../lib/http/ports.ts";
import { SiteOrigin } from "../../lib/origins/http/site-origin.ts";
import { MemoryStream } from "../../lib/registry/store/memory-log.ts";
import { systemClock } from "../../lib/runtime/process.ts";
import { MemoryLog } from "../support/log.ts";
import type { Defer } from "../support/test.ts";
import { serve } from "./support.ts";

export interface SiteRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export type SiteHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  count: number,
) => void;

export interface SiteUnderTest {
  /** Where the node listens, without a slash at its end. */
  readonly url: string;
  readonly port: number;
  /** What the origin was asked, in order. */
  readonly asked: SiteRequest[];
  readonly group: Group;
  readonly invalidations: Invalidations;
  readonly log: MemoryLog;
}

/** Serves a site behind a node, as `/cache/site/…` and as the host `site.test`. */
export async function siteBehindNode(
  defer: Defer,
  handler: SiteHandler,
  { lifetime = {}, valueBytesMax, owners = NoPeers, clock = systemClock, isChunkedTextFaster = false }: {
    lifetime?: Partial<LifetimePolicy>;
    valueBytesMax?: number;
    clock?: Clock;
    isChunkedTextFaster?: boolean;
    /** To whom values go that a request has brought. */
    owners?: PeerPicker;
  } = {},
): Promise<SiteUnderTest> {
  const asked: SiteRequest[] = [];
  const server = createServer(async (request, response) => {
    const index = asked.length;
    const entry = {
      method: request.method!,
      url: request.url!,
      headers: request.headers,
      body: "",
    };
    asked.push(entry);
    if (request.method !== "GET" && request.method !== "HEAD") {
      const chunks: Buffer[] = [];
      try {
        for await (const chunk of request) chunks.push(chunk as Buffer);
      } catch {
        return; // A request that is cut has no answer.
      }
      entry.body = Buffer.concat(chunks).toString();
    }
    handler(request, response, index + 1);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/base/`;
  const policy = {
    ttlMs: null,
    ttlJitter: 0,
    staleWhileRevalidateMs: 0,
    staleIfErrorMs: 0,
    softTimeoutMs: null,
    refreshAhead: false,
    negativeTtlMs: 0,
    honourOrigin: true,
    ...lifetime,
  };
  const deps = {
    clock,
    loadTimeoutMs: 5_000,
    lifetime: policy,
    ...(valueBytesMax && { valueBytesMax }),
  };
  const origin = new SiteOrigin({ base }, deps);
  defer(() => origin.close());
  const invalidations = new Invalidations({
    selfName: "n1",
    log: new MemoryStream(clock).open(),
    peers: { peer: () => undefined, applied: () => new Map(), announceApplied() {} },
    listed: () => [],
    clock,
    say: new MemoryLog(),
  });
  defer(() => invalidations.close());
  const group = new Group({
    name: "site",
    origin,
    picker: NoPeers,
    clock,
    budgetBytes: 64 * 2 ** 20,
    lifetime: policy,
    loadTimeoutMs: 5_000,
    position: invalidations.position,
  });
  invalidations.add({ group, picker: owners, ttlMs: null, honoursOwnTtl: true });
  invalidations.start();
  const served: ServedGroup = {
    group,
    site: {
      forward: keepingForward({
        group,
        forward: (request, signal) => origin.forward(request, signal),
        invalidations,
        clock,
        valueBytesMax: 1_000,
      }),
      isPassing: (key) => group.passed.has(key),
      passNoMore: (key) => group.passed.delete(key),
      invalidate: async (key, answer) => {
        const changed = origin.changedBy(key, answer);
        return changed && await invalidations.changed("site", changed, { waitMs: 0 });
      },
    },
    invalidation: {
      invalidate: (message, options) => invalidations.invalidate("site", message, options),
      write: (key, value, options) => invalidations.write("site", key, value, options),
    },
    isWritable: false,
    valueBytesMax: 1_000,
  };
  const log = new MemoryLog();
  const app = createApp({
    node: {
      name: "n1",
      incarnation: "01JABC",
      version: "0.1.0",
      runtime: "test 1",
      isReady: () => true,
      stats: () => ({}),
      roster: () => undefined,
    },
    groups: new Map([["site", served]]),
    hosts: new Map([["site.test", served]]),
    isLoopbackOnly: true,
    isChunkedTextFaster,
    currentEpoch: () => invalidations.position.label.epoch,
    clock,
    log,
  });
  const port = serve(app.fetch, defer);
  return { url: `http://127.0.0.1:${port}`, port, asked, group, invalidations, log };
}
