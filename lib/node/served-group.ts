/** One group of a node: its cache, with what feeds and steers it. */
import { type GroupConfig, version } from "../config/config.ts";
import type { Clock } from "../core/base/clock.ts";
import { PeerError } from "../core/errors.ts";
import type { Invalidations } from "./invalidations.ts";
import { Group } from "../core/group.ts";
import type { Log } from "../core/base/log.ts";
import { RosterPicker } from "../core/placement/picker.ts";
import type { ServedGroup, SiteFace } from "../http/ports.ts";
import { type CheckedOrigin, createOrigin, type OriginSpec, parseOrigin } from "../origins/origin.ts";
import { strongTag } from "../origins/http/strong-tag.ts";
import { reported } from "../origins/reported.ts";
import type { PeerHub } from "../peer/hub.ts";
import type { PeerService } from "../peer/service.ts";
import { isHashFaster } from "../runtime/settings.ts";

export interface Served extends ServedGroup {
  readonly group: Group;
  readonly picker: RosterPicker;
  readonly origin: CheckedOrigin;
  readonly loadTimeoutMs: number;
  /** The hosts whose requests it answers, in lower case: `host` or `host:port`. */
  readonly hosts: readonly string[];
}

/** @param selfName as the registry calls this node */
export function serveGroup(
  config: GroupConfig,
  selfName: string,
  hub: PeerHub,
  invalidations: Invalidations,
  watchers: { readonly clock: Clock; readonly log: Log },
): Served {
  const { name, origin: text, budgetBytes, loadTimeoutMs, replicas, hotAfterFetches, hosts, ...rest } = config;
  const { headers: fields, valueBytesMax, setCookie, writable, maxBlindMs, ...lifetime } = rest;
  const { clock } = watchers;
  const spec = parseOrigin(text);
  const keepsCookies = setCookie === "store";
  const deps = { clock, loadTimeoutMs, lifetime, fields, valueBytesMax, keepsCookies, version };
  const origin = reported(createOrigin(spec, deps), name, watchers);
  const picker = new RosterPicker(name, selfName, (peer) => hub.peer(peer), clock);
  const group = new Group({
    name,
    origin,
    picker,
    clock,
    budgetBytes,
    isHashed: isHashFaster,
    lifetime,
    loadTimeoutMs,
    replicas,
    hotAfterFetches,
    position: invalidations.position,
    maxBlindMs,
    isWriteOnly: spec.kind === "none",
    ...(isHttp(spec) && { etagOf: strongTag }),
  });
  invalidations.add({ group, picker, ttlMs: lifetime.ttlMs });
  return {
    group,
    picker,
    origin,
    loadTimeoutMs,
    hosts,
    site: siteOf(group, origin, invalidations),
    invalidation: {
      invalidate: (message, options) => invalidations.invalidate(name, message, options),
      write: (key, value, options) => invalidations.write(name, key, value, options),
    },
    isWritable: writable,
    valueBytesMax,
  };
}

function isHttp({ kind }: OriginSpec): boolean {
  return kind === "http" || kind === "site";
}

/** How long a client waits for peers to drop what it has changed. Chosen: a slow peer must not hold up every write. */
const INVALIDATE_TIMEOUT_MS = 250;

function siteOf(
  group: Group,
  { forward, changedBy }: CheckedOrigin,
  invalidations: Invalidations,
): SiteFace | undefined {
  if (forward === undefined || changedBy === undefined) return undefined;
  return {
    forward,
    isPassing: (key) => group.isPassed(key),
    passNoMore: (key) => group.passNoMore(key),
    invalidate: async (key, answer) => {
      const change = changedBy(key, answer);
      if (change !== undefined) await invalidations.changed(group.name, change, { waitMs: INVALIDATE_TIMEOUT_MS });
    },
  };
}

/** Of the time that a peer waits. Chosen. */
const CATCH_UP_SHARE = 0.8;

/**
 * What this node answers to the others.
 *
 * @param isInTouch whether it has connected with the peers that it found. Until then what they have is out of its reach,
 * so it passes what it would have to load: the next in rank is who had it before, or can ask who had it
 */
export function serviceOf(
  served: ReadonlyMap<string, Served>,
  invalidations: Invalidations,
  isInTouch: () => boolean,
): PeerService {
  const groupOf = (name: string) => served.get(name)!.group;
  return {
    lookup: (group, key, request, after) => groupOf(group).lookupAsOwner(key, request, after)?.value,
    get: (group, key, ask) => {
      if (isInTouch()) return groupOf(group).loadAsOwner(key, ask);
      served.get(group)!.picker.standAside();
      ask.reject(new PeerError("it has just joined, and is not in touch with all peers yet"));
    },
    peek: (group, key, options) => groupOf(group).peek(key, options),
    push: (group, entries, from, isWritten) => groupOf(group).accept(entries, from, isWritten),
    // The asker's time has begun already: the reply must be under way before it is over.
    catchUp: (label, { timeoutMs }) => invalidations.catchUp(label, timeoutMs * CATCH_UP_SHARE),
  };
}
