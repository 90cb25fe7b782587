/**
 * The port of the log that gives all invalidations of a cluster one order: a JetStream stream, or memory on a machine that
 * runs alone.
 */
import type { Label } from "./label.ts";

/** What a node does with what the log tells. All calls are synchronous, one after the other. */
export interface LogFollower {
  /**
   * Messages may have been missed: this is the first contact, the log has been made anew, or it no longer holds what came
   * after the last message that was told. The next message that is told comes after this label; the older ones are never
   * told. A sequence of 0: in this life of the log there was no message yet.
   */
  restart(label: Label): void;
  /**
   * The next message, in the order of the log; those of all groups share its numbers. `data` is valid until this returns.
   *
   * @param ageMs how long ago the log took it; absent where nobody knows
   */
  take(sequence: number, group: string, data: Uint8Array, ageMs?: number): void;
  /**
   * Everything up to this sequence has been told.
   *
   * @param askedAtMs when the question was sent whose answer says so
   */
  settled(sequence: number, askedAtMs: number): void;
  /** The log cannot be reached. Told once per outage, and before the first contact; ended by the next `settled`. */
  away(): void;
}

export interface InvalidationLog {
  /** Whether it is in this machine's own memory, with which a node never loses touch. */
  readonly isLocal?: boolean;
  /** Starts telling the follower; to be called once. It is told nothing before this returns, nor after `close`. */
  followLog(follower: LogFollower): void;
  /**
   * Adds a message. Resolves when it is durable, to its label.
   *
   * @throws UnavailableError it was not added; or, when its `isAmbiguous`, it may have been, or may still be
   */
  publish(group: string, data: Uint8Array): Promise<Label>;
  /**
   * Looks now, and at the life of the log too. Resolves when the follower was told what the log held when this was called,
   * or when that could not be found out. Never rejects. Calls while a look is under way share the next one.
   */
  catchUp(): Promise<void>;
}
