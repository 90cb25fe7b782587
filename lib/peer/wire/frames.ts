/**
 * The layout of frames, which both ends of a connection import.
 *
 * A WebSocket binary message is one frame. A frame is one or more messages, back to back. Numbers are little-endian:
 *
 *     message  = u8 type | u32 id | u32 length | payload (length bytes)
 *
 *     type              payload                                                                      id
 *     1 hello           JSON, at most 16 KiB (greeting.ts): first message of the end that dialed     0
 *     2 welcome         JSON, at most 16 KiB: the answer to a hello                                  0
 *     3 refuse          JSON, at most 16 KiB: instead of a welcome; the connection is then closed    0
 *     4 get             u16 group | u32 timeoutMs | key in UTF-8 (1 to 1,024 bytes)                  the asker's
 *     5 cancel          nothing: the asker no longer wants the reply, and none may follow            the asker's
 *     6 value           f64 ageMs | f64 ttlLeftMs | u16 n | content type (n bytes of UTF-8) | body   that of the get or peek
 *     7 failure         u8 code | detail in UTF-8 (at most 1,024 bytes)                              that of any ask
 *
 *     16 peek           as get: a value in memory or being loaded; starts no load                    the asker's
 *     17 nothing        nothing: there is no such value in memory                                    that of the peek
 *     18 probe          nothing                                                                      the asker's
 *     19 probed         nothing: the peer is alive                                                   that of the probe
 *     20 indirectProbe  u32 timeoutMs | u16 n | suspect's name (n bytes of UTF-8) | its incarnation  the asker's
 *     21 indirectProbed u8, 1: the suspect answered, 0: it did not                                   that of the indirect probe
 *     22 push           u16 group | u16 n | n entries (1 to 4,096), back to back                     the asker's
 *     23 taken          u32 n: so many of the entries were taken                                     that of the push
 *     24 groupAdded     u16 group | u8 isEmpty, 0 or 1 | f64 revision | name in UTF-8                0
 *     25 groupRemoved   u16 group                                                                    0
 *     26 to 47          reserved for membership
 *
 *     entry    = f64 ageMs | f64 ttlLeftMs | u16 key bytes | u16 content type bytes | u32 body bytes
 *                | key in UTF-8 | content type in UTF-8 | body
 *
 * Rules; a breach is a malformed frame, and the receiver closes the connection with a reason:
 *
 * - A greeting (hello, welcome, refuse) travels alone, in the first frame.
 * - Both ends ask over the same connection, each with ids of its own. An ask (get, peek, push, probe, indirectProbe) and
 *   a cancel carry the sender's id; a reply carries the receiver's. Replies come in any order.
 * - Times are relative, since two machines' clocks differ. `ageMs` is at least 0; `ttlLeftMs` is Infinity for a value
 *   without a lifetime.
 * - Names and incarnations have 1 to 256 units of UTF-16.
 * - `group` is an id that the sender gave to one of its own groups, in its greeting or in a groupAdded. Each new id is
 *   greater than all before it on the connection, so none is ever used again. An ask may name a group that the sender
 *   has removed, or that the receiver does not serve: the reply is the failure unknownGroup. An ask with an id that is
 *   greater than all announced ones is malformed.
 *
 * How the protocol grows, so that a node talks with the release before it:
 *
 * - The greetings agree on one version (greeting.ts); the channel keeps it.
 * - A new message takes a type number that no version used. It is sent only where the agreed version has it; an older
 *   end would take it for malformed.
 * - The payload of a type never changes. A message that needs another payload is a new type.
 * - A greeting may gain JSON fields at any time: unknown ones are ignored.
 */

import { MAX_BODY_BYTES } from "../../core/base/limits.ts";

/** The versions that an end speaks, both included. */
export interface ProtocolRange {
  readonly min: number;
  readonly max: number;
}

/** The versions that this release speaks; told in each greeting. */
export const PROTOCOL: ProtocolRange = { min: 2, max: 2 };

export const MessageType = {
  hello: 1,
  welcome: 2,
  refuse: 3,
  get: 4,
  cancel: 5,
  value: 6,
  failure: 7,
  peek: 16,
  nothing: 17,
  probe: 18,
  probed: 19,
  indirectProbe: 20,
  indirectProbed: 21,
  push: 22,
  taken: 23,
  groupAdded: 24,
  groupRemoved: 25,
} as const;

/** The messages that want a reply. */
export type AskType = typeof MessageType["get" | "peek" | "probe" | "indirectProbe" | "push"];
/** The messages that are nothing but their header. */
export type BareType = typeof MessageType["cancel" | "nothing" | "probe" | "probed"];

export const FailureCode = {
  notFound: 1,
  originFailed: 2,
  originTimeout: 3,
  overloaded: 4,
  badKey: 5,
  unknownGroup: 6,
  /** The peer cannot be asked now (it is closing, for example): the asker falls back. */
  unavailable: 7,
} as const;
export type FailureCode = typeof FailureCode[keyof typeof FailureCode];
export const LAST_FAILURE_CODE = FailureCode.unavailable;

/** Chosen: some 220 groups with names of 8 letters. */
export const MAX_GREETING_BYTES = 16 * 1024;
/** The groups that one end may have announced at a time. Chosen; the size of a greeting bounds a node's own sooner. */
export const MAX_GROUPS = 1024;
export const MAX_GROUP_ID = 0xffff;
export const MAX_DETAIL_BYTES = 1024;
export const HEADER_BYTES = 9;
export const GET_HEAD_BYTES = 6;
export const VALUE_HEAD_BYTES = 18;
export const INDIRECT_PROBE_HEAD_BYTES = 6;
export const PUSH_HEAD_BYTES = 4;
export const ENTRY_HEAD_BYTES = 24;
export const GROUP_ADDED_HEAD_BYTES = 11;
export const MAX_ENTRIES = 4096;
/** One entry of the largest value, with its key; under MAX_FRAME_BYTES with the messages batched in front of it. */
export const MAX_PUSH_BYTES = MAX_BODY_BYTES + 64 * 1024;

/** A pushed entry as it travels: its times are relative. `body` is a copy: it keeps nothing of the frame alive. */
export interface PushedEntry {
  readonly key: string;
  readonly ageMs: number;
  readonly ttlLeftMs: number;
  readonly contentType: string;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** A group as its owner announces it to a peer. */
export interface GroupNews {
  /** How the owner's asks name it on this connection. */
  readonly id: number;
  readonly name: string;
  /** The revision of the owner's roster. */
  readonly revision: number;
  /** The owner has nothing of this group, in memory or in flight: a peer need not look for values there. */
  readonly isEmpty?: boolean | undefined;
}

/** Takes the peer's asks and announcements. A method may return why the connection must close; reading then stops. */
export interface AskVisitor {
  onGet(id: number, group: number, timeoutMs: number, key: string): string | void;
  onPeek(id: number, group: number, timeoutMs: number, key: string): string | void;
  onPush(id: number, group: number, entries: readonly PushedEntry[]): string | void;
  onProbe(id: number): string | void;
  onIndirectProbe(id: number, timeoutMs: number, name: string, incarnation: string): string | void;
  onCancel(id: number): string | void;
  onGroupAdded(group: GroupNews): string | void;
  onGroupRemoved(group: number): string | void;
}

/** Takes the peer's replies. A method may return why the connection must close; reading then stops. */
export interface ReplyVisitor {
  /** `body` is a part of the frame and keeps all of it alive: copy it to keep it for longer than a reply. */
  onValue(
    id: number,
    ageMs: number,
    ttlLeftMs: number,
    contentType: string,
    body: Uint8Array<ArrayBuffer>,
  ): string | void;
  onFailure(id: number, code: FailureCode, detail: string): string | void;
  onNothing(id: number): string | void;
  onProbed(id: number): string | void;
  onIndirectProbed(id: number, isAlive: boolean): string | void;
  onTaken(id: number, count: number): string | void;
}
