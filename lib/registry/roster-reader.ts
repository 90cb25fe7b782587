/** Turns views of one group into rosters. Checks the records, logs broken ones once, and keeps peers with a lost record. */
import { Buffer } from "node:buffer";
import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { type PeerRecord, type Roster, rosterOf } from "../core/roster.ts";
import { Complaints, shownKey } from "./complaints.ts";
import { parseRecord } from "./record.ts";
import { rosterNews } from "./roster-news.ts";
import { keyOf, listText, type View } from "./store/store.ts";

export interface RosterReaderOptions {
  readonly group: string;
  /** Replaces an empty list; `undefined`: an empty list stays empty, as this node only watches it. */
  readonly self: PeerRecord | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** How long a peer stays listed after its record vanished without a delete. */
  readonly lostGraceMs: number;
  /** Why a node must not connect to the URL of a record; such a record is ignored. Not called for this node's own record. */
  readonly faultOf?: ((url: string) => string | undefined) | undefined;
  readonly onRoster: (roster: Roster) => void;
  /** Called after `onRoster` for each peer that wrote its record again in the same life. */
  readonly onWroteAgain?: ((record: PeerRecord) => void) | undefined;
}

/** The most peers of one group; later ones are not listed. Chosen: ten times the largest cluster in the tests. */
export const maxPeers = 1_000;

/** A write of a peer. */
interface Write {
  readonly incarnation: string;
  readonly revision: number;
}

interface Read {
  readonly revision: number;
  readonly value: Uint8Array;
  /** `undefined` for a broken record: `fault` says why. */
  readonly record: PeerRecord | undefined;
  readonly fault?: string;
}

/** Makes the roster of one group from the views of the store. */
export class RosterReader {
  readonly #options: RosterReaderOptions;
  #roster: Roster;
  #epoch: string | undefined;
  #revision = 0;
  #read = new Map<string, Read>();
  /** The last write under each key that the bucket knows, even if deleted since: a view may not show the delete. */
  #writes: ReadonlyMap<string, Write> = new Map();
  /**
   * Peers with a record that vanished without a delete marker: the bucket was lost or purged. They probably live and
   * will put themselves back. Dropping them at once would move all their keys to others for a moment.
   */
  #lost = new Map<string, { readonly record: PeerRecord; untilMs: number }>();
  #cancelGrace: (() => void) | undefined;
  readonly #complaints: Complaints;
  #isOverfull = false;
  /** Whether the list is empty: not even this node is in it. */
  #isEmpty = true;
  #isAway = false;
  #isClosed = false;

  constructor(options: RosterReaderOptions) {
    this.#options = options;
    this.#complaints = new Complaints(options.group, options.clock, options.log);
    this.#roster = { ...rosterOf(options.group, 0, this.#standIn), isStandIn: true };
  }

  /** Whether this life of the node has read the list. */
  get isRead(): boolean {
    return this.#epoch !== undefined;
  }

  get roster(): Roster {
    return this.#roster;
  }

  apply(view: View): void {
    const former = this.#epoch === view.epoch ? this.#read : new Map<string, Read>();
    const read = new Map<string, Read>();
    for (const [key, { value, revision }] of view.entries) {
      if (value === undefined) continue;
      const known = former.get(key);
      // Compare the bytes too: a server that lost its last writes in a crash uses their revisions again.
      const isKnown = known?.revision === revision && Buffer.compare(known.value, value) === 0;
      read.set(key, isKnown ? known : this.#parse(key, value, revision));
    }
    const untilMs = this.#graceEndMs();
    for (const [key, { record }] of this.#read) {
      if (record !== undefined && !view.entries.has(key)) this.#lost.set(key, { record, untilMs });
    }
    for (const key of this.#lost.keys()) if (view.entries.has(key)) this.#lost.delete(key);
    this.#awaitGrace();
    const again = this.#noteWrites(view, read);
    this.#epoch = view.epoch;
    this.#revision = view.revision;
    this.#read = read;
    this.#complaints.say(read);
    this.#rebuild();
    for (const record of again) this.#options.onWroteAgain?.(record);
  }

  /** @returns the peers that wrote again within the same life of the bucket and of the peer */
  #noteWrites({ epoch, entries }: View, read: ReadonlyMap<string, Read>): PeerRecord[] {
    const writes = new Map<string, Write>();
    const again: PeerRecord[] = [];
    for (const key of entries.keys()) {
      const before = this.#epoch === epoch ? this.#writes.get(key) : undefined;
      const { record, revision } = read.get(key) ?? {};
      if (record === undefined || revision === undefined) {
        if (before !== undefined) writes.set(key, before);
        continue;
      }
      writes.set(key, { incarnation: record.incarnation, revision });
      if (before?.incarnation === record.incarnation && revision > before.revision) again.push(record);
    }
    this.#writes = writes;
    return again;
  }

  /** The first `most` ignored records, each with the rule that it breaks. */
  ignored(most: number): { key: string; fault: string }[] {
    const found: { key: string; fault: string }[] = [];
    for (const [key, { fault }] of this.#read) {
      if (found.length >= most) break;
      if (fault !== undefined) found.push({ key: shownKey(key), fault });
    }
    return found;
  }

  /** The revision of the record of this life of the peer; `undefined` if it is not listed. */
  revisionOf({ name, incarnation }: Pick<PeerRecord, "name" | "incarnation">): number | undefined {
    const read = this.#read.get(keyOf(this.#options.group, name));
    return read?.record?.incarnation === incarnation ? read.revision : undefined;
  }

  /** The record of an earlier life of the peer. Incarnations are ULIDs, so an earlier one is smaller. */
  earlierLife({ name, incarnation }: Pick<PeerRecord, "name" | "incarnation">) {
    const { record, revision } = this.#read.get(keyOf(this.#options.group, name)) ?? {};
    if (record === undefined || revision === undefined || record.incarnation >= incarnation) return undefined;
    return { record, revision };
  }

  /** Tells whether the store is away. Then no peer can put itself back, so no lost peer is dropped. */
  setAway(isAway: boolean): void {
    this.#isAway = isAway;
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelGrace?.();
  }

  #graceEndMs(): number {
    return this.#options.clock.nowMs() + this.#options.lostGraceMs;
  }

  #awaitGrace(): void {
    if (this.#lost.size === 0 || this.#cancelGrace !== undefined) return;
    const { clock } = this.#options;
    const firstMs = Math.min(...[...this.#lost.values()].map(({ untilMs }) => untilMs));
    this.#cancelGrace = clock.after(firstMs - clock.nowMs(), () => {
      this.#cancelGrace = undefined;
      if (this.#isClosed) return;
      for (const [key, lost] of this.#lost) {
        if (lost.untilMs > clock.nowMs()) continue;
        if (this.#isAway) lost.untilMs = this.#graceEndMs();
        else this.#lost.delete(key);
      }
      this.#awaitGrace();
      this.#rebuild();
    });
  }

  #rebuild(): void {
    const { group, log, onRoster } = this.#options;
    const present = [...this.#read.values()].filter((entry) => entry.record !== undefined);
    const isOverfull = present.length > maxPeers;
    if (isOverfull && !this.#isOverfull) {
      const message = `the ${listText(group)} holds ${present.length} records: only the ${maxPeers} oldest count`;
      log.warn(message, {}, { group, records: present.length });
    }
    this.#isOverfull = isOverfull;
    // Sort by revision, so that every node keeps the same peers and a flood of records does not displace earlier ones.
    if (isOverfull) present.sort((a, b) => a.revision - b.revision).length = maxPeers;
    const peers = [...present, ...this.#lost.values()].map(({ record }) => record!).slice(0, maxPeers);
    // With an empty list no node would own a key, so a node that serves the group serves alone.
    const isEmpty = peers.length === 0;
    const next: Roster = {
      ...rosterOf(group, this.#revision, isEmpty ? this.#standIn : peers),
      ...(isEmpty && { isStandIn: true }),
    };
    const former = this.#roster;
    const isSamePeers = next.peers.length === former.peers.length &&
      next.peers.every((peer, index) => isSameRecord(peer, former.peers[index]!));
    if (isSamePeers && next.revision === former.revision) return;
    this.#roster = next;
    if (!isSamePeers || former.revision === 0 || isEmpty !== this.#isEmpty) this.#say(former, next, isEmpty);
    this.#isEmpty = isEmpty;
    try {
      onRoster(next);
    } catch (error) {
      const reason = (error as Error).message;
      log.error(`cannot use the new ${listText(group)}: ${reason}`, { revision: next.revision }, { group, reason });
    }
  }

  get #standIn(): readonly PeerRecord[] {
    const { self } = this.#options;
    return self === undefined ? [] : [self];
  }

  #say(former: Roster, next: Roster, isEmpty: boolean): void {
    const { group, revision } = next;
    const { text, facts } = isEmpty ? { text: "empty", facts: { peers: [] } } : rosterNews(former, next);
    this.#options.log.info(`got new ${listText(group)} (revision ${revision}): ${text}`, {}, {
      group,
      revision,
      ...facts,
    });
  }

  #parse(key: string, value: Uint8Array, revision: number): Read {
    try {
      const { group, self, faultOf } = this.#options;
      const record = parseRecord(group, key, value);
      const fault = record.incarnation === self?.incarnation ? undefined : faultOf?.(record.url);
      return fault === undefined ? { revision, value, record } : { revision, value, record: undefined, fault };
    } catch (error) {
      return { revision, value, record: undefined, fault: (error as Error).message };
    }
  }
}

function isSameRecord(left: PeerRecord, right: PeerRecord): boolean {
  return left === right || JSON.stringify(left) === JSON.stringify(right);
}
