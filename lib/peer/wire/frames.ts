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
 *     4 get             u16 group | u32 timeoutMs | label | key in UTF-8 (1 to 1,041 bytes)          the asker's
 *     5 cancel          nothing: the asker no longer wants the reply, and none may follow            the asker's
 *     6 value           times | label | u16 n | u32 m | content type (n bytes of UTF-8)              that of the get or peek
 *                       | about (m bytes) | body
 *     7 failure         u8 code | detail in UTF-8 (at most 1,024 bytes)                              that of any ask
 *     8 getFor          u16 group | u32 timeoutMs | label | u16 n | key (n bytes of UTF-8) | fields  the asker's
 *     9 parted          u8 type (6 or 22) | u32 its id | u32 n: a value or a push whose payload of   a transfer's
 *                       n bytes follows in pieces
 *     10 piece          the next bytes of that payload (1 to 262,144)                                that transfer's
 *     11 pieceTaken     nothing: the receiver has read a piece                                       that transfer's
 *     12 dropped        nothing: the sender gives the transfer up, and no piece follows              that transfer's
 *
 *     16 peek           u16 group | u32 timeoutMs | key as in a get: a value in memory or being      the asker's
 *                       loaded; starts no load
 *     17 nothing        nothing: there is no such value in memory                                    that of the peek
 *     18 probe          nothing                                                                      the asker's
 *     19 probed         nothing: the peer is alive                                                   that of the probe
 *     20 indirectProbe  u32 timeoutMs | u16 n | suspect's name (n bytes of UTF-8) | its incarnation  the asker's
 *     21 indirectProbed u8, 1: the suspect answered, 0: it did not                                   that of the indirect probe
 *     22 push           u16 group | u8 isWritten, 0 or 1 | u16 n | n entries (1 to 4,096), back to   the asker's
 *                       back
 *     23 taken          u32 n: so many of the entries were taken                                     that of the push
 *     24 groupAdded     u16 group | u8 isEmpty, 0 or 1 | f64 revision | name in UTF-8                0
 *     25 groupRemoved   u16 group                                                                    0
 *     26 catchUp        u32 timeoutMs | label: the peer is to apply all invalidations up to it       the asker's
 *     27 caughtUp       label: where the peer is now; it may be short of the one that was asked for  that of the catchUp
 *     28 applied        label: where the sender is now                                               0
 *     29 to 47          reserved for membership
 *     128 traced        trace: what the request is known by that the ask of this id is made for;     the asker's
 *                       stands in front of that get or getFor. From version 5 on
 *     129 to 255        any payload: a receiver that does not know the type skips the message        any
 *
 *     times    = f64 ageMs | f64 freshMs | f64 staleWhileRevalidateMs | f64 staleIfErrorMs | u32 loadMs
 *     label    = f64 epoch | f64 sequence: in a get what the asker has applied, with a value the value's own
 *     entry    = times | label | u16 key bytes | u16 content type bytes | u32 about bytes | u32 body bytes
 *                | key in UTF-8 | content type in UTF-8 | about | body
 *     about    = nothing, or JSON of at most 64 KiB: status, fields and more of a value (about.ts)
 *     fields   = JSON of at most 64 KiB: what the client's request says beside the key (about.ts)
 *     trace    = three lines of ASCII, each may be empty: request id, traceparent, tracestate
 *                (core/semantics/trace-context.ts); more lines may follow one day. At most 1,024 bytes
 *
 * Rules; a breach is a malformed frame, and the receiver closes the connection with a reason:
 *
 * - A greeting (hello, welcome, refuse) travels alone, in the first frame.
 * - Both ends ask over the same connection, each with ids of its own. An ask (get, getFor, peek, push, probe,
 *   indirectProbe, catchUp) and a cancel carry the sender's id; a reply carries the receiver's. Asks and announcements
 *   (groupAdded, groupRemoved, applied) are taken in their order in the frames; replies come in any order.
 * - Other messages may stand between the pieces of a transfer, and the pieces of several transfers may alternate. The
 *   sender numbers its transfers. A number is free again when its last piece was sent, or `dropped`. Its transfers have at
 *   most MAX_TRANSFER_BYTES together, and are at most MAX_TRANSFERS. Each piece is acknowledged, in the order of the pieces,
 *   also when nobody wants the value any more. The whole message counts as arrived with its last piece; the times of its
 *   values count from `parted`.
 * - Times are relative, since two machines' clocks differ. None is NaN, or beyond MAX_SPAN_MS. Only `freshMs` may be
 *   below 0: the value is stale. All but `ageMs` may be Infinity: without end.
 * - Both numbers of a label are whole, from 0 to 2^53 - 1.
 * - Names and incarnations have 1 to 256 units of UTF-16.
 * - `group` is an id that the sender gave to one of its own groups, in its greeting or in a groupAdded. Each new id is
 *   greater than all before it on the connection, so none is ever used again. An ask may name a group that the sender
 *   has removed, or that the receiver does not serve: the reply is the failure unknownGroup. An ask with an id that is
 *   greater than all announced ones is malformed.
 *
 * How the protocol grows, so that a node talks with the release before it (lib/peer/README.md, "The release before"):
 *
 * - The greetings agree on one version (greeting.ts), and `Channel.version` keeps it. One release adds one version at most,
 *   for all that is new in it.
 * - A message that its receiver may not know takes a type from 128 on, and is sent where the agreed version is 5 or
 *   more. It must change nothing that matters: a hint, a trace. An end of version 4 would take it for malformed.
 * - Any other new message takes a type number below 128 that no version used, and a new version. It is sent only where the
 *   agreed version has it.
 * - The payload of a type never changes within the range of versions that a release speaks: readers take bytes behind it for
 *   malformed. A message that needs another payload is a new type. The same goes for a new code of a failure.
 * - The JSON of greetings and of `about` may gain optional fields at any time: unknown ones are ignored. So what a field says
 *   is lost where a node of the release before hands the value on. `fields` has only lines of a header.
 *
 * Version 5 added the types from 128 on. Version 4 is the first that a release spoke together with another one: nodes of
 * version 3 and before cannot prove themselves before the upgrade.
 */

import { MAX_BODY_BYTES, MAX_KEY_BYTES } from "../../core/base/limits.ts";
import type { Trace } from "../../core/base/trace.ts";
import { VARIANT_KEY_BYTES } from "../../core/base/variant-key.ts";
import type { Label } from "../../core/invalidation/label.ts";
import type { Entry, RequestHead } from "../../core/ports.ts";
import type { Value } from "../../core/value.ts";

/** The versions that an end speaks, both included. */
export interface ProtocolRange {
  readonly min: number;
  readonly max: number;
}

/** The versions that this release speaks; told in each greeting. */
export const PROTOCOL: ProtocolRange = { min: 4, max: 5 };
/** The first version that skips messages of the optional types. */
export const OPTIONAL_TYPES_VERSION = 5;
/** The first of the types that a receiver skips if it does not know them. */
export const FIRST_OPTIONAL_TYPE = 128;

export const MessageType = {
  hello: 1,
  welcome: 2,
  refuse: 3,
  get: 4,
  cancel: 5,
  value: 6,
  failure: 7,
  getFor: 8,
  parted: 9,
  piece: 10,
  pieceTaken: 11,
  dropped: 12,
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
  catchUp: 26,
  caughtUp: 27,
  applied: 28,
  traced: 128,
} as const;

/** The messages that want a reply. */
export type AskType = typeof MessageType["get" | "peek" | "probe" | "indirectProbe" | "push" | "catchUp"];
/** The messages that are nothing but their header. */
export type BareType = typeof MessageType["cancel" | "nothing" | "probe" | "probed" | "pieceTaken" | "dropped"];
/** The messages that may travel in pieces. */
export type PartedType = typeof MessageType["value" | "push"];

export const FailureCode = {
  notFound: 1,
  originFailed: 2,
  originTimeout: 3,
  overloaded: 4,
  badKey: 5,
  unknownGroup: 6,
  /** The peer cannot be asked now (it is closing, for example): the asker falls back. */
  unavailable: 7,
  /** Each request for this key is to ask the origin for itself. */
  passThrough: 8,
  /** The owner is behind the get's label, and could not catch up in time. */
  behind: 9,
  /** The owner has not reached the origin: the next in rank tries, once. */
  originUnreachable: 10,
} as const;
export type FailureCode = typeof FailureCode[keyof typeof FailureCode];
export const LAST_FAILURE_CODE = FailureCode.originUnreachable;

/** Chosen: some 220 groups with names of 8 letters. */
export const MAX_GREETING_BYTES = 16 * 1024;
/** The groups that one end may have announced at a time. Chosen; the size of a greeting bounds a node's own sooner. */
export const MAX_GROUPS = 1024;
export const MAX_GROUP_ID = 0xffff;
export const MAX_DETAIL_BYTES = 1024;
/** Derived: the longest three fields have 697. */
export const MAX_TRACE_BYTES = 1024;
export const HEADER_BYTES = 9;
export const LABEL_BYTES = 16;
export const GET_HEAD_BYTES = 6 + LABEL_BYTES;
export const GET_FOR_HEAD_BYTES = GET_HEAD_BYTES + 2;
export const PEEK_HEAD_BYTES = 6;
export const TIMES_BYTES = 36;
/** Where the lengths of a value stand: in a value's payload, and in an entry. */
export const LENGTHS_AT_BYTES = TIMES_BYTES + LABEL_BYTES;
export const VALUE_HEAD_BYTES = LENGTHS_AT_BYTES + 6;
export const INDIRECT_PROBE_HEAD_BYTES = 6;
export const PUSH_HEAD_BYTES = 5;
export const CATCH_UP_BYTES = 4 + LABEL_BYTES;
export const ENTRY_HEAD_BYTES = LENGTHS_AT_BYTES + 12;
export const GROUP_ADDED_HEAD_BYTES = 11;
export const MAX_ENTRIES = 4096;
/** One entry of the largest value, with its key and its about; under MAX_FRAME_BYTES with the messages in front of it. */
export const MAX_PUSH_BYTES = MAX_BODY_BYTES + 128 * 1024;
export const PARTED_BYTES = 9;
/** The longest piece that is taken. Chosen: this release sends a quarter as much, and a later one may send more. */
export const MAX_PIECE_BYTES = 256 * 1024;
/** What one end may have under way to the other at a time, in bytes of payload: the longest value four times. Chosen. */
export const MAX_TRANSFER_BYTES = 4 * MAX_PUSH_BYTES;
/** Transfers that one end may have under way at a time. Chosen. */
export const MAX_TRANSFERS = 64;
/**
 * The longest time that is not Infinity: some 142,000 years. Chosen: a moment so far from now is one that a Date can hold,
 * and milliseconds are exact.
 */
export const MAX_SPAN_MS = 2 ** 52;

/** A key as caches have it: one of a client, and the mark of a variant. */
export const MAX_CACHE_KEY_BYTES = MAX_KEY_BYTES + VARIANT_KEY_BYTES;

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
  /** @param trace `undefined`: it says nothing that this node understands */
  onTraced(id: number, trace: Trace | undefined): string | void;
  onGet(
    id: number,
    group: number,
    timeoutMs: number,
    after: Label,
    key: string,
    request?: RequestHead,
  ): string | void;
  onPeek(id: number, group: number, timeoutMs: number, key: string): string | void;
  /** The bodies are copies: they keep nothing of the frame alive. */
  onPush(id: number, group: number, entries: readonly Entry[], isWritten: boolean): string | void;
  onCatchUp(id: number, timeoutMs: number, label: Label): string | void;
  onProbe(id: number): string | void;
  onIndirectProbe(id: number, timeoutMs: number, name: string, incarnation: string): string | void;
  onCancel(id: number): string | void;
  onGroupAdded(group: GroupNews): string | void;
  onGroupRemoved(group: number): string | void;
  onApplied(label: Label): string | void;
}

/** Takes the peer's replies. A method may return why the connection must close; reading then stops. */
export interface ReplyVisitor {
  /** Its body is a part of the frame and keeps all of it alive: copy it to keep it for longer than a reply. */
  onValue(id: number, value: Value): string | void;
  onFailure(id: number, code: FailureCode, detail: string): string | void;
  onNothing(id: number): string | void;
  onProbed(id: number): string | void;
  onIndirectProbed(id: number, isAlive: boolean): string | void;
  onTaken(id: number, count: number): string | void;
  onCaughtUp(id: number, label: Label): string | void;
}

/** Takes what a message in pieces consists of. A method may return why the connection must close; reading then stops. */
export interface PieceVisitor {
  /** @param bytes of the message's payload, within the bounds of its type */
  onParted(transfer: number, type: PartedType, id: number, bytes: number): string | void;
  /** @param piece a part of the frame: to be copied */
  onPiece(transfer: number, piece: Uint8Array<ArrayBuffer>): string | void;
  onPieceTaken(transfer: number): string | void;
  onDropped(transfer: number): string | void;
}
