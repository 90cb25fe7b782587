/** One group of a node: its cache, with what feeds and steers it. */
import { type GroupConfig, version } from "../config/config.ts";
import type { Clock } from "../core/base/clock.ts";
import { PeerError } from "../core/errors.ts";
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
  watchers: { readonly clock: Clock; readonly log: Log },
): Served {
  const { name, origin: text, budgetBytes, loadTimeoutMs, replicas, hotAfterFetches, hosts, ...rest } = config;
  const { headers: fields, valueBytesMax, setCookie, ...lifetime } = rest;
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
    ...(isHttp(spec) && { etagOf: strongTag }),
  });
  return { group, picker, origin, loadTimeoutMs, hosts, site: siteOf(group, origin, hub) };
}

function isHttp({ kind }: OriginSpec): boolean {
  return kind === "http" || kind === "site";
}

/** How long a client waits for peers to drop what it has changed. Chosen: a slow peer must not hold up every write. */
const INVALIDATE_TIMEOUT_MS = 250;

function siteOf(group: Group, { forward, keysChanged }: CheckedOrigin, hub: PeerHub): SiteFace | undefined {
  if (forward === undefined || keysChanged === undefined) return undefined;
  return {
    forward,
    isPassing: (key) => group.isPassed(key),
    passNoMore: (key) => group.passNoMore(key),
    invalidate: async (key, answer) => {
      const options = { signal: new AbortController().signal, timeoutMs: INVALIDATE_TIMEOUT_MS };
      const peers = hub.peersOf(group.name);
      await Promise.allSettled(
        keysChanged(key, answer).flatMap((changed) => {
          group.invalidate(changed);
          return peers.map((peer) => peer.invalidate(group.name, changed, options));
        }),
      );
    },
  };
}

/**
 * What this node answers to the others.
 *
 * @param isInTouch whether it has connected with the peers that it found. Until then what they have is out of its reach,
 * so it passes what it would have to load: the next in rank is who had it before, or can ask who had it
 */
export function serviceOf(served: ReadonlyMap<string, Served>, isInTouch: () => boolean): PeerService {
  const groupOf = (name: string) => served.get(name)!.group;
  return {
    lookup: (group, key, request) => groupOf(group).lookupAsOwner(key, request)?.value,
    get: (group, key, ask) => {
      if (isInTouch()) return groupOf(group).loadAsOwner(key, ask);
      served.get(group)!.picker.standAside();
      ask.reject(new PeerError("it has just joined, and is not in touch with all peers yet"));
    },
    peek: (group, key, options) => groupOf(group).peek(key, options),
    push: (group, entries, from) => groupOf(group).accept(entries, from),
    invalidate: (group, key) => groupOf(group).invalidate(key),
  };
}
