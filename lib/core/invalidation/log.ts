/**
 * The port to the log that gives all invalidations of a cache one order: a JetStream stream, or memory on a machine
 * that runs alone.
 */
import type { Label } from "./label.ts";

/** Receives the messages of the log. All calls are synchronous, one after the other. */
export interface LogFollower {
  /**
   * Messages may have been missed: this is the first contact, the log was made again, or it no longer holds the
   * messages after the last delivered one. The next message comes after this label; older ones never come. Sequence 0:
   * this life of the log has no message yet.
   */
  restart(label: Label): void;
  /**
   * The next message in the order of the log; the messages of all groups share one sequence. `data` is valid until this
   * returns.
   *
   * @param ageMs how long ago the log took it; absent if unknown
   */
  take(sequence: number, group: string, data: Uint8Array, ageMs?: number): void;
  /**
   * All messages up to this sequence were delivered.
   *
   * @param askedAtMs when the question behind this knowledge was sent
   */
  settled(sequence: number, askedAtMs: number): void;
  /** The log cannot be reached. Called once per outage, and before the first contact. The next `settled` ends the outage. */
  away(): void;
}

export interface InvalidationLog {
  /** Whether the log is in this machine's own memory, so that a node never loses contact to it. */
  readonly isLocal?: boolean;
  /** Starts calling the follower. To be called once. The follower is not called before this returns, nor after `close`. */
  followLog(follower: LogFollower): void;
  /**
   * Adds a message. Resolves to its label when it is durable.
   *
   * @throws UnavailableError the message was not added; if `isAmbiguous`, it may have been added or may still be
   */
  publish(group: string, data: Uint8Array): Promise<Label>;
  /**
   * Looks for messages now, and checks the life of the log. Resolves when the follower got all messages that the log
   * held at this call, or when the look failed. Never rejects. Calls during a look share the next one.
   */
  catchUp(): Promise<void>;
}
