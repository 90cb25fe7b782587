/** The keys of one group in the bucket, as its stream gives them: bounded, and shown as views. */
import { isDelete } from "./bucket.ts";
import { maxRecordBytes, parseRecord } from "../../registry/record.ts";
import { type Entry, maxKeysPerGroup, type View } from "../../registry/store/store.ts";
import { type Seal, SEAL_BYTES } from "../seal.ts";
import type { StreamMessage } from "../stream/stream.ts";
import type { Follower } from "../stream/stream-reader.ts";

export interface GroupKeysOptions {
  readonly group: string;
  /** What stands before the keys in the stream's subjects, such as `$KV.peers.`. */
  readonly prefix: string;
  readonly seal: Seal;
  readonly onView: (view: View) => void;
}

/** Stands for every value that is too long, so that a bucket full of them takes no memory: it is refused as they are. */
const TOO_LONG = new Uint8Array(maxRecordBytes + 1);

/** What one group holds; the view before stands until a fresh one is whole. */
export class GroupKeys implements Follower {
  readonly #options: GroupKeysOptions;
  #entries = new Map<string, Entry>();
  #epoch = "";
  #revision = 0;
  /** From how many refused keys on it is worth looking again for room. */
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

  /** Takes only what fits: anybody may write a million keys, or values of a megabyte, into a bucket that is open to all. */
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
   * Makes room where it can: markers of deletes (peers that came and went over the years) and broken records give way. A look
   * costs a pass over all keys, so after one that found no room the next `maxKeysPerGroup / 10` keys are refused unseen.
   */
  #hasRoom(): boolean {
    if (++this.#refused < this.#lookAgainAt) return false;
    const faults = new Set<string>();
    for (const [key, { value }] of this.#entries) {
      const fault = value === undefined ? "deleted" : faultOf(this.#options.group, key, value);
      if (fault === undefined) continue;
      // One of each kind stays, so that it is complained about.
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
