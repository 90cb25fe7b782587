/** One group of a node: its cache, with what feeds and steers it. */
import { type GroupConfig, version } from "../../config/config.ts";
import type { Clock } from "../../core/base/clock.ts";
import { PeerError } from "../../core/errors.ts";
import { BarredOrigin } from "./barred-origin.ts";
import type { Invalidations } from "../invalidations.ts";
import { keepingForward, type KeepingOptions } from "./kept-answers.ts";
import { Group } from "../../core/group/group.ts";
import { OriginHealth } from "../../core/load/origin-health.ts";
import { Reachability } from "../../core/load/reachability.ts";
import { RecordedAsk } from "../../core/load/recorded-ask.ts";
import type { StartGate } from "../../core/load/start-gate.ts";
import type { Log } from "../../core/base/log.ts";
import { keyShown, NO_TRACING, type Tracing } from "../../core/base/trace.ts";
import { costBy } from "../../core/cache/memory.ts";
import type { LoadingBytes } from "../../core/load/loading-bytes.ts";
import { RosterPicker } from "../../core/placement/picker.ts";
import type { GroupAbout, InvalidationFace, ServedGroup, SiteFace } from "../../http/ports.ts";
import { type CheckedOrigin, createOrigin, type OriginSpec, parseOrigin } from "../../origins/origin.ts";
import { guardOf, type OriginGuard } from "../../origins/guard/origin-guard.ts";
import type { GuardPolicy } from "../../origins/guard/policy.ts";
import { strongTag } from "../../origins/http/strong-tag.ts";
import { reported } from "../../origins/reported.ts";
import type { GroupFacts } from "../../registry/membership.ts";
import type { PeerRecord } from "../../core/roster.ts";
import { originDigest, policyDigest } from "./policy-digest.ts";
import type { PeerHub } from "../../peer/hub.ts";
import type { PeerService } from "../../peer/service.ts";
import { besideProgram } from "../../runtime/packed.ts";
import { entryCosts, isHashFaster } from "../../runtime/start/settings.ts";

export interface Served extends ServedGroup {
  readonly group: Group;
  /** Whether this node serves it itself; if not, it asks the peers that do. */
  readonly isServed: boolean;
  readonly picker: RosterPicker;
  readonly origin: CheckedOrigin;
  /** Where the group's policy asks for one. */
  readonly guard: OriginGuard | undefined;
  readonly reachability: Reachability;
  readonly health: OriginHealth;
  /** Holds the misses until this node knows its peers; `undefined`: it has none. */
  readonly gate: StartGate | undefined;
  readonly loadTimeoutMs: number;
  /** What this node's record says of it, to be compared with what its peers' say. */
  readonly facts: GroupFacts;
  /** The hosts whose requests it answers, in lower case: `host` or `host:port`. */
  readonly hosts: readonly string[];
}

/** What all groups of a node share. */
export interface Watchers {
  readonly clock: Clock;
  readonly log: Log;
  readonly loading: LoadingBytes;
  readonly tracing: Tracing;
}

export interface ServeOptions {
  readonly isServed: boolean;
  readonly gate: StartGate | undefined;
  /** The origin, where it is a function of the program. */
  readonly inCode?: CheckedOrigin | undefined;
  /**
   * The same group by its former options: its values go on, unless `keepsValues` is false. Then it forgets the former owners
   * of keys, too: they may hold values of the former origin.
   */
  readonly before?: { readonly served: Served; readonly keepsValues: boolean };
}

/** What origins are told of this program. */
const own = { version, wordnetDirectory: () => besideProgram("wordnet") };

/**
 * @param self as the registry calls this node
 * @param onShare the node may load values of the group from now on: its roster is to be given to the picker again
 */
export function serveGroup(
  config: GroupConfig,
  self: Pick<PeerRecord, "name" | "incarnation">,
  onShare: () => void,
  hub: PeerHub,
  invalidations: Invalidations,
  watchers: Watchers,
  { isServed, gate, inCode, before }: ServeOptions,
): Served {
  const { name, origin: text, budgetBytes, loadTimeoutMs, replicas, hotAfterFetches, hosts, ...rest } = config;
  const { headers: fields, valueBytesMax, setCookie, writable, maxBlindMs, ...behaviour } = rest;
  const { policy, lifetime } = behaviourOf(behaviour);
  const { clock, log: _log, ...shared } = watchers;
  const spec: OriginSpec = inCode === undefined ? parseOrigin(text) : { kind: "code", origin: inCode };
  const deps = { clock, loadTimeoutMs, lifetime, fields, valueBytesMax, keepsCookies: setCookie === "store", ...own };
  const unguarded = createOrigin(spec, deps);
  const guarding = { group: name, policy, self, loadTimeoutMs, onShare, before: before?.served.guard, ...watchers };
  const guard = isServed ? guardOf(unguarded, guarding) : undefined;
  const kept = before?.keepsValues === true ? before.served : undefined;
  const { reachability = reachabilityOf(name, watchers), health = new OriginHealth(clock) } = kept ?? {};
  const peerOf = (peer: string) => hub.peer(peer);
  const picker = kept?.picker ?? new RosterPicker(name, self.name, peerOf, clock, { isOwner: isServed });
  const origin = isServed
    ? reported(guard ?? unguarded, name, watchers, reachability)
    : new BarredOrigin(unguarded, { group: name, picker, urlOf: (peer) => hub.urlOf(peer), clock });
  before?.served.group.retire();
  if (kept === undefined) before?.served.group.close();
  const group = new Group({
    name,
    origin,
    picker,
    clock,
    budgetBytes,
    isHashed: isHashFaster,
    costOf: costBy(entryCosts),
    ...shared,
    lifetime,
    loadTimeoutMs,
    replicas,
    hotAfterFetches,
    position: invalidations.position,
    maxBlindMs,
    takesOver: kept?.group,
    reachability,
    health,
    gate,
    isWriteOnly: spec.kind === "none",
    isServed,
    ...(isHttp(spec) && { etagOf: strongTag }),
  });
  invalidations.add({ group, picker, ttlMs: lifetime.ttlMs, honoursOwnTtl: lifetime.honourOrigin });
  return {
    group,
    isServed,
    picker,
    origin,
    guard,
    reachability,
    health,
    gate,
    about: aboutOf(config),
    loadTimeoutMs,
    facts: { policy: policyDigest(config), origin: originDigest(config) },
    hosts,
    site: siteOf({ group, invalidations, clock, valueBytesMax }, origin),
    invalidation: changesOf(name, invalidations),
    isWritable: writable,
    valueBytesMax,
  };
}

/** What the guard of the origin follows, and the rest. */
function behaviourOf<T extends GuardPolicy>(behaviour: T) {
  const { maxConcurrent, maxQueued, queueTimeoutMs, breakerShare, breakerPauseMs, retries, retryBudget, ...lifetime } =
    behaviour;
  const policy = { maxConcurrent, maxQueued, queueTimeoutMs, breakerShare, breakerPauseMs, retries, retryBudget };
  return { policy, lifetime };
}

function changesOf(group: string, invalidations: Invalidations): InvalidationFace {
  return {
    invalidate: (message, options) => invalidations.invalidate(group, message, options),
    write: (key, value, options) => invalidations.write(group, key, value, options),
  };
}

function reachabilityOf(group: string, { clock, log }: { readonly clock: Clock; readonly log: Log }): Reachability {
  return new Reachability(clock, {
    onLost: (reason) => {
      const facts = { group, reason };
      log.warn(`this node cannot reach the origin of ${group}, so others load for it: ${reason}`, {}, facts);
    },
    onFound: (lostForMs) => {
      log.info(`this node reaches the origin of ${group} again, after ${lostForMs} ms`, {}, { group, lostForMs });
    },
  });
}

/** For operators. A login is a secret, and so may a query be. */
function aboutOf({ origin, ttlMs, budgetBytes }: GroupConfig): GroupAbout {
  const shown = origin.replace(/^([a-z]+:\/\/)[^/@]*@/, "$1").replace(/\?.*$/s, "?…");
  return { origin: shown, lifetime: ttlMs === null ? "no end" : `${ttlMs / 1_000} s`, budgetBytes };
}

function isHttp({ kind }: OriginSpec): boolean {
  return kind === "http" || kind === "site";
}

/** How long a client waits for peers to drop what it has changed. Chosen: a slow peer must not hold up every write. */
const INVALIDATE_TIMEOUT_MS = 250;

function siteOf(
  options: Omit<KeepingOptions, "forward">,
  { forward, changedBy }: CheckedOrigin,
): SiteFace | undefined {
  if (forward === undefined || changedBy === undefined) return undefined;
  const { group, invalidations } = options;
  return {
    forward: keepingForward({ ...options, forward }),
    isPassing: (key) => group.passed.has(key),
    passNoMore: (key) => group.passed.delete(key),
    invalidate: async (key, answer) => {
      const change = changedBy(key, answer);
      if (change === undefined) return undefined;
      return await invalidations.changed(group.name, change, { waitMs: INVALIDATE_TIMEOUT_MS });
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
 * @param isStranger whether a peer has another origin for the group. It may not know that yet, and ask or push
 */
export function serviceOf(
  served: ReadonlyMap<string, Served>,
  invalidations: Invalidations,
  isInTouch: () => boolean,
  isStranger: (group: string, peer: string) => boolean,
  tracing: Tracing = NO_TRACING,
): PeerService {
  return {
    lookup: (name, key, request, after, trace) => {
      const value = served.get(name)?.group.lookupAsOwner(key, request, after)?.value;
      if (value !== undefined && tracing.isOn) {
        const about = { "muster.group": name, "muster.key": keyShown(key) };
        tracing.begin("serve", "get", trace, about).end({ "muster.cache": "hit", "muster.bytes": value.body.length });
      }
      return value;
    },
    get: (name, key, given) => {
      const ask = tracing.isOn ? new RecordedAsk(given, tracing, name, key, {}, "serve") : given;
      const { picker, guard, isServed = false, group } = served.get(name) ?? {};
      if (!isServed) return ask.reject(new PeerError(`it does not serve ${name}`));
      if (isInTouch() && guard?.mayLoad !== false) return group!.loadAsOwner(key, ask);
      picker!.standAside();
      ask.reject(new PeerError("it has just joined, and may not load yet"));
    },
    peek: (group, key, options) => served.get(group)?.group.peek(key, options),
    push: (group, entries, from, isWritten) => served.get(group)?.group.accept(entries, from, isWritten) ?? 0,
    isStranger,
    // The asker's time has begun already: the reply must be under way before it is over.
    catchUp: (label, { timeoutMs }) => invalidations.catchUp(label, timeoutMs * CATCH_UP_SHARE),
  };
}
