/** One group of a node: its cache, its origin, its guard and its gate. */
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
import type { GroupAbout } from "../../http/figures.ts";
import type { InvalidationFace, ServedGroup, SiteFace } from "../../http/ports.ts";
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
  /** Whether this node serves the group itself; if not, it asks the peers that do. */
  readonly isServed: boolean;
  readonly picker: RosterPicker;
  readonly origin: CheckedOrigin;
  /** Set if the group's policy asks for one. */
  readonly guard: OriginGuard | undefined;
  readonly reachability: Reachability;
  readonly health: OriginHealth;
  /** Holds the misses until this node knows its peers; `undefined`: misses never wait. */
  readonly gate: StartGate | undefined;
  readonly loadTimeoutMs: number;
  /** The facts in this node's record, which are compared with those of its peers. */
  readonly facts: GroupFacts;
  /** The hosts whose requests the group answers, in lower case: `host` or `host:port`. */
  readonly hosts: readonly string[];
}

/** The parts that all groups of a node share. */
export interface Watchers {
  readonly clock: Clock;
  readonly log: Log;
  readonly loading: LoadingBytes;
  readonly tracing: Tracing;
}

export interface ServeOptions {
  readonly isServed: boolean;
  readonly gate: StartGate | undefined;
  /** The origin, if it is a function of the program. */
  readonly inCode?: CheckedOrigin | undefined;
  /**
   * The same group with its former options. Its values stay, unless `keepsValues` is false. Then it also forgets the
   * former owners of keys, as they may hold values of the former origin.
   */
  readonly before?: { readonly served: Served; readonly keepsValues: boolean };
}

/** Facts about this program for origins. */
const own = { version, wordnetDirectory: () => besideProgram("wordnet") };

/**
 * @param self the name of this node in the registry
 * @param onShare called when the node may now load values of the group, so that its picker needs the roster again
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
    ? reported(guard ?? unguarded, name, watchers, reachability, health)
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

/** Splits the fields that the origin's guard follows from the others. */
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

/** Describes the group for operators, without login and query: both may be secret. */
function aboutOf({ origin, ttlMs, budgetBytes }: GroupConfig): GroupAbout {
  const shown = origin.replace(/^([a-z]+:\/\/)[^/@]*@/, "$1").replace(/\?.*$/s, "?…");
  return { origin: shown, lifetime: ttlMs === null ? "no end" : `${ttlMs / 1_000} s`, budgetBytes };
}

function isHttp({ kind }: OriginSpec): boolean {
  return kind === "http" || kind === "site";
}

/**
 * How long a client waits until peers have dropped a value that it changed. Chosen: a slow peer must not delay every
 * write.
 */
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

/** The share of a peer's waiting time that this node uses. Chosen. */
const CATCH_UP_SHARE = 0.8;

/**
 * Makes the service that answers other nodes.
 *
 * @param isInTouch whether it has connected with the peers that it found. Until then it cannot get their values, so it
 * declines loads. The next in rank had the value before, or can ask the node that had it.
 * @param isStranger whether a peer has another origin for the group; it may not know that yet, and may still ask or
 * push
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
    // The asking node's time has already begun, and the reply must leave before it is over.
    catchUp: (label, { timeoutMs }) => invalidations.catchUp(label, timeoutMs * CATCH_UP_SHARE),
  };
}
