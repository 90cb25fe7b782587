/**
 * The one layout that both ends of a link import.
 *
 * A WebSocket binary message is one frame; a frame is one or more messages back to back; all numbers are little-endian:
 *
 *     message  = u8 type | u32 id | u32 length | payload (length bytes)
 *
 *     type        payload                                                                        id
 *     1 hello     JSON, at most 16 KiB (greeting.ts): first message of the end that dialed       0
 *     2 welcome   JSON, at most 16 KiB: the answer to a hello                                    0
 *     3 refuse    JSON, at most 16 KiB: instead of a welcome; the connection is then closed      0
 *     4 get       u16 group | u32 timeoutMs | key in UTF-8 (1 to 1,024 bytes)                    the asker's
 *     5 cancel    nothing: the asker no longer wants the answer, and none may follow             the asker's
 *     6 value     f64 ageMs | f64 ttlLeftMs | u16 n | content type (n bytes of UTF-8) | body     that of the get or peek
 *     7 failure   u8 code | detail in UTF-8 (at most 1,024 bytes)                                that of any question
 *
 *     16 peek     as get: what is in memory or being loaded; starts no load                      the asker's
 *     17 nothing  nothing: there is no such value in memory                                      that of the peek
 *     18 poll     nothing: is anybody there?                                                     the asker's
 *     19 polled   nothing                                                                        that of the poll
 *     20 vouch    u32 timeoutMs | u16 n | suspect's name (n bytes of UTF-8) | its incarnation    the asker's
 *     21 vouched  u8, 1: the suspect answered, 0: it did not                                     that of the vouch
 *     22 push     u16 group | u16 n | n entries (1 to 4,096), back to back                       the asker's
 *     23 taken    u32 n: so many of the entries were taken                                       that of the push
 *     24 to 47    reserved for membership
 *
 *     entry    = f64 ageMs | f64 ttlLeftMs | u16 key bytes | u16 content type bytes | u32 body bytes
 *                | key in UTF-8 | content type in UTF-8 | body
 *
 * A greeting travels alone in its frame. `group` is an index into the group list of the asker's own greeting. Both ends
 * ask over the same connection, each with ids of its own: a question (get, peek, poll, vouch, push) and a `cancel` carry
 * the sender's, an answer carries the receiver's. Times are relative, since two machines' clocks differ: `ageMs` is at
 * least 0, `ttlLeftMs` is Infinity for a value without a lifetime. Answers come in any order, each of the kind that its
 * question asks for. A poll names nobody, as the greetings pin both ends of a connection to one life each. A name and an
 * incarnation have 1 to 256 units of UTF-16.
 *
 * Whatever breaks these rules is a malformed frame, on which the receiver closes the connection with a reason.
 */

import { MAX_BODY_BYTES } from "../../core/base/limits.ts";

/** Said in each greeting; another number at the other end is refused. */
export const PROTOCOL = 1;

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
} as const;

/** The messages that want an answer. */
export type QuestionType = typeof MessageType["get" | "peek" | "probe" | "indirectProbe" | "push"];
/** The messages that are nothing but their header. */
export type BareType = typeof MessageType["cancel" | "nothing" | "probe" | "probed"];

export const FailureCode = {
  notFound: 1,
  originFailed: 2,
  originTimeout: 3,
  overloaded: 4,
  badKey: 5,
  unknownGroup: 6,
  /** The peer is no place to ask now (it closes, say): the asker falls back. */
  unavailable: 7,
} as const;
export type FailureCode = typeof FailureCode[keyof typeof FailureCode];
export const LAST_FAILURE_CODE = FailureCode.unavailable;

export const MAX_GREETING_BYTES = 16 * 1024;
export const MAX_DETAIL_BYTES = 1024;
export const HEADER_BYTES = 9;
export const GET_HEAD_BYTES = 6;
export const VALUE_HEAD_BYTES = 18;
export const VOUCH_HEAD_BYTES = 6;
export const PUSH_HEAD_BYTES = 4;
export const ENTRY_HEAD_BYTES = 24;
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

/** Who reads a frame; each method may return a reason to close the connection, and the rest is then not read. */
export interface FrameVisitor {
  onGreeting(type: number, json: unknown): string | void;
  onGet(id: number, group: number, timeoutMs: number, key: string): string | void;
  onCancel(id: number): string | void;
  /** `body` is a part of the frame, and keeps all of it alive: who keeps it for longer than an answer takes a copy. */
  onValue(
    id: number,
    ageMs: number,
    ttlLeftMs: number,
    contentType: string,
    body: Uint8Array<ArrayBuffer>,
  ): string | void;
  onFailure(id: number, code: FailureCode, detail: string): string | void;
  onPeek(id: number, group: number, timeoutMs: number, key: string): string | void;
  onNothing(id: number): string | void;
  onProbe(id: number): string | void;
  onProbed(id: number): string | void;
  onIndirectProbe(id: number, timeoutMs: number, name: string, incarnation: string): string | void;
  onIndirectProbed(id: number, isAlive: boolean): string | void;
  onPush(id: number, group: number, entries: readonly PushedEntry[]): string | void;
  onTaken(id: number, count: number): string | void;
}
