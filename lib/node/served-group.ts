/** One group of a node: its cache, with what feeds and steers it. */
import type { GroupConfig } from "../config/config.ts";
import type { Clock } from "../core/base/clock.ts";
import { PeerError } from "../core/errors.ts";
import { Group } from "../core/group.ts";
import type { Log } from "../core/base/log.ts";
import { RosterPicker } from "../core/placement/picker.ts";
import { type CheckedOrigin, createOrigin, parseOrigin } from "../origins/origin.ts";
import { reported } from "../origins/reported.ts";
import type { PeerHub } from "../peer/hub.ts";
import type { PeerService } from "../peer/service.ts";
import { isHashFaster } from "../runtime/settings.ts";

export interface Served {
  readonly group: Group;
  readonly picker: RosterPicker;
  readonly origin: CheckedOrigin;
  readonly loadTimeoutMs: number;
}

/** @param selfName as the registry calls this node */
export function serveGroup(
  config: GroupConfig,
  selfName: string,
  hub: PeerHub,
  watchers: { readonly clock: Clock; readonly log: Log },
): Served {
  const { name, origin: text, ...policy } = config;
  const { clock } = watchers;
  const { loadTimeoutMs } = policy;
  const origin = reported(createOrigin(parseOrigin(text), { clock, loadTimeoutMs }), name, watchers);
  const picker = new RosterPicker(name, selfName, (peer) => hub.peer(peer), clock);
  const group = new Group({ ...policy, name, origin, picker, clock, isHashed: isHashFaster });
  return { group, picker, origin, loadTimeoutMs };
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
    lookup: (group, key) => groupOf(group).lookupAsOwner(key)?.value,
    get: (group, key, ask) => {
      if (isInTouch()) return groupOf(group).loadAsOwner(key, ask);
      served.get(group)!.picker.standAside();
      ask.reject(new PeerError("it has just joined, and is not in touch with all peers yet"));
    },
    peek: (group, key, options) => groupOf(group).peek(key, options),
    push: (group, entries, from) => groupOf(group).accept(entries, from),
  };
}
