/** The keys of one group in the bucket, from its stream: bounded, and delivered as views. */
import { isDelete } from "./bucket.ts";
import { maxRecordBytes, parseRecord } from "../../registry/record.ts";
import { type Entry, maxKeysPerGroup, type View } from "../../registry/store/store.ts";
import { type Seal, SEAL_BYTES } from "../seal.ts";
import type { StreamMessage } from "../stream/stream.ts";
import type { Follower } from "../stream/stream-reader.ts";

export interface GroupKeysOptions {
  readonly group: string;
  /** The part of the stream's subjects before the keys, such as `$KV.peers.`. */
  readonly prefix: string;
  readonly seal: Seal;
  readonly onView: (view: View) => void;
}

/** Replaces every value that is too long, so that a bucket full of them takes no memory. It is refused like them. */
const TOO_LONG = new Uint8Array(maxRecordBytes + 1);

/** The keys of one group. The last view stays valid until a new one is complete. */
export class GroupKeys implements Follower {
  readonly #options: GroupKeysOptions;
  #entries = new Map<string, Entry>();
  #epoch = "";
  #revision = 0;
  /** The number of refused keys from which another search for room is useful. */
  #refused = 0;
  #lookAgainAt = 0;

  constructor(options: GroupKeysOptions) {
    this.#options = options;
  }

  begin(epoch: string): void {
    this.#entries = new Map();
    this.#epoch = epoch;
    this.#revision = 0;
    this.#refused = this.#lookAgainAt = 0;
  }

  /** Takes only messages that fit: anybody may write a million keys, or values of a megabyte, into an open bucket. */
  take({ subject, sequence, header, data }: StreamMessage): void {
    const key = subject.slice(this.#options.prefix.length);
    this.#revision = sequence;
    if (this.#entries.size >= maxKeysPerGroup && !this.#entries.has(key) && !this.#hasRoom()) return;
    const isDeleted = isDelete(header.get("KV-Operation"));
    const isTooLong = data.byteLength > maxRecordBytes + SEAL_BYTES;
    const value = isDeleted ? undefined : isTooLong ? TOO_LONG : this.#options.seal.open(subject, data.slice());
    this.#entries.set(key, { value, revision: sequence });
  }

  settle(): void {
    this.#options.onView({
      group: this.#options.group,
      epoch: this.#epoch,
      revision: this.#revision,
      entries: this.#entries,
    });
  }

  misses(lastSequence: number, subjects: ReadonlySet<string>): boolean {
    for (const [key, { revision }] of this.#entries) {
      if (revision <= lastSequence && !subjects.has(this.#options.prefix + key)) return true;
    }
    return false;
  }

  /**
   * Makes room if it can: it drops delete markers (peers that came and went over the years) and broken records. A search is a
   * pass over all keys. So after one without success the next `maxKeysPerGroup / 10` keys are refused without a search.
   */
  #hasRoom(): boolean {
    if (++this.#refused < this.#lookAgainAt) return false;
    const faults = new Set<string>();
    for (const [key, { value }] of this.#entries) {
      const fault = value === undefined ? "deleted" : faultOf(this.#options.group, key, value);
      if (fault === undefined) continue;
      // Keep one of each kind, so that the fault is logged.
      if (value === undefined || faults.has(fault)) this.#entries.delete(key);
      else faults.add(fault);
    }
    const isFull = this.#entries.size >= maxKeysPerGroup;
    this.#refused = 0;
    this.#lookAgainAt = isFull ? maxKeysPerGroup / 10 : 0;
    return !isFull;
  }
}

function faultOf(group: string, key: string, value: Uint8Array): string | undefined {
  try {
    parseRecord(group, key, value);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
