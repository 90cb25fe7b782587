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
 *     23 taken          u32 n: the number of entries taken                                           that of the push
 *     24 groupAdded     u16 group | u8 isEmpty, 0 or 1 | f64 revision | name in UTF-8                0
 *     25 groupRemoved   u16 group                                                                    0
 *     26 catchUp        u32 timeoutMs | label: the peer must apply all invalidations up to it        the asker's
 *     27 caughtUp       label: the peer's label now; it may be before the requested one              that of the catchUp
 *     28 applied        label: the sender's label now                                                0
 *     29 to 47          reserved for membership
 *     128 traced        trace, of the request behind the get or getFor of this id; it is sent just   the asker's
 *                       before it. From version 5 on
 *     129 to 255        any payload: a receiver that does not know the type skips the message        any
 *
 *     times    = f64 ageMs | f64 freshMs | f64 staleWhileRevalidateMs | f64 staleIfErrorMs | u32 loadMs
 *     label    = f64 epoch | f64 sequence: in a get the asking node's label, with a value the value's own
 *     entry    = times | label | u16 key bytes | u16 content type bytes | u32 about bytes | u32 body bytes
 *                | key in UTF-8 | content type in UTF-8 | about | body
 *     about    = nothing, or JSON of at most 64 KiB: status, fields and more of a value (about.ts)
 *     fields   = JSON of at most 64 KiB: the header fields of the client's request (about.ts)
 *     trace    = three lines of ASCII, each may be empty: request id, traceparent, tracestate
 *                (core/semantics/trace-context.ts); more lines may follow one day. At most 1,024 bytes
 *
 * Rules; a breach is a malformed frame, and the receiver closes the connection with a reason:
 *
 * - A greeting (hello, welcome, refuse) is alone in the first frame.
 * - Both ends ask over the same connection, each with its own ids. An ask (get, getFor, peek, push, probe,
 *   indirectProbe, catchUp) and a cancel carry the sender's id; a reply carries the receiver's. The receiver handles
 *   asks and announcements (groupAdded, groupRemoved, applied) in the order of the frames; replies come in any order.
 * - Other messages may come between the pieces of a transfer, and the pieces of several transfers may alternate. The
 *   sender numbers its transfers. A number is free again after its last piece or `dropped`. A sender has at most
 *   MAX_TRANSFERS transfers, of MAX_TRANSFER_BYTES together. The receiver acknowledges each piece, in order, even if it
 *   no longer wants the value. The whole message counts as arrived with its last piece; the times of its values count
 *   from `parted`.
 * - Times are relative, since two machines' clocks differ. None is NaN or beyond MAX_SPAN_MS. Only `freshMs` may be
 *   below 0: then the value is stale. All except `ageMs` may be Infinity: without end.
 * - Both numbers of a label are whole, from 0 to 2^53 - 1.
 * - Names and incarnations have 1 to 256 units of UTF-16.
 * - `group` is an id that the sender gave to one of its own groups, in its greeting or in a groupAdded. Each new id is
 *   greater than all earlier ones on the connection, so none is used again. If an ask names a group that the sender has
 *   removed, or that the receiver does not serve, the reply is the failure unknownGroup. An ask with an id greater than
 *   all announced ones is malformed.
 *
 * How the protocol changes, so that a node can talk with the release before it (lib/peer/README.md, "The release before"):
 *
 * - The greetings agree on one version (greeting.ts), and `Channel.version` keeps it. One release adds at most one
 *   version, for all its changes.
 * - A message that its receiver may not know gets a type from 128 on, and is sent if the agreed version is 5 or more.
 *   It must be optional, such as a hint or a trace. For an end of version 4 it would be malformed.
 * - Any other new message gets an unused type number below 128 and a new version. It is sent only if the agreed version
 *   has it.
 * - The payload of a type never changes within the range of versions that a release speaks: readers take further bytes
 *   for malformed. A message with another payload needs a new type. The same is true for a new failure code.
 * - The JSON of greetings and of `about` may get optional fields at any time: unknown ones are ignored. So a new field
 *   is lost when a node of the release before hands the value on. `fields` contains only header lines.
 *
 * Version 5 added the types from 128 on. Version 4 is the first that a release spoke together with another version.
 * Nodes of version 3 and before cannot prove themselves before the upgrade.
 */

import { MAX_BODY_BYTES, MAX_KEY_BYTES } from "../../core/base/limits.ts";
import type { Trace } from "../../core/base/trace.ts";
import { VARIANT_KEY_BYTES } from "../../core/base/variant-key.ts";
import type { Label } from "../../core/invalidation/label.ts";
import type { Entry, RequestHead } from "../../core/ports.ts";
import type { Value } from "../../core/value.ts";

/** The versions that an end speaks, `min` and `max` included. */
export interface ProtocolRange {
  readonly min: number;
  readonly max: number;
}

/** The versions that this release speaks. Each greeting contains them. */
export const PROTOCOL: ProtocolRange = { min: 4, max: 5 };
/** The first version that skips messages of the optional types. */
export const OPTIONAL_TYPES_VERSION = 5;
/** The first type that a receiver skips if it does not know it. */
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

/** The messages that expect a reply. */
export type AskType = typeof MessageType["get" | "peek" | "probe" | "indirectProbe" | "push" | "catchUp"];
/** The messages that consist only of their header. */
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
  /** The peer cannot be asked now (it is closing, for example): the asking node falls back. */
  unavailable: 7,
  /** Each request for this key must ask the origin itself. */
  passThrough: 8,
  /** The owner is behind the get's label and could not catch up in time. */
  behind: 9,
  /** The owner cannot reach the origin: the next in rank tries, once. */
  originUnreachable: 10,
} as const;
export type FailureCode = typeof FailureCode[keyof typeof FailureCode];
export const LAST_FAILURE_CODE = FailureCode.originUnreachable;

/** Chosen: room for some 220 groups with names of 8 letters. */
export const MAX_GREETING_BYTES = 16 * 1024;
/**
 * The most groups that one end may have announced at a time. Chosen; a node's own groups are already limited by the
 * size of a greeting.
 */
export const MAX_GROUPS = 1024;
export const MAX_GROUP_ID = 0xffff;
export const MAX_DETAIL_BYTES = 1024;
/** Derived: the three longest fields have 697 bytes. */
export const MAX_TRACE_BYTES = 1024;
export const HEADER_BYTES = 9;
export const LABEL_BYTES = 16;
export const GET_HEAD_BYTES = 6 + LABEL_BYTES;
export const GET_FOR_HEAD_BYTES = GET_HEAD_BYTES + 2;
export const PEEK_HEAD_BYTES = 6;
export const TIMES_BYTES = 36;
/** The offset of the lengths in a value's payload and in an entry. */
export const LENGTHS_AT_BYTES = TIMES_BYTES + LABEL_BYTES;
export const VALUE_HEAD_BYTES = LENGTHS_AT_BYTES + 6;
export const INDIRECT_PROBE_HEAD_BYTES = 6;
export const PUSH_HEAD_BYTES = 5;
export const CATCH_UP_BYTES = 4 + LABEL_BYTES;
export const ENTRY_HEAD_BYTES = LENGTHS_AT_BYTES + 12;
export const GROUP_ADDED_HEAD_BYTES = 11;
export const MAX_ENTRIES = 4096;
/**
 * Derived: one entry of the largest value, with its key and its about. It fits into MAX_FRAME_BYTES with the messages
 * before it.
 */
export const MAX_PUSH_BYTES = MAX_BODY_BYTES + 128 * 1024;
export const PARTED_BYTES = 9;
/** The longest piece that is accepted. Chosen: this release sends a quarter of it; a later one may send more. */
export const MAX_PIECE_BYTES = 256 * 1024;
/** The most payload bytes of transfers from one end at a time. Chosen: four of the longest values. */
export const MAX_TRANSFER_BYTES = 4 * MAX_PUSH_BYTES;
/** The most transfers from one end at a time. Chosen. */
export const MAX_TRANSFERS = 64;
/**
 * The longest time that is not Infinity: some 142,000 years. Chosen: a Date can hold a moment so far from now, and
 * milliseconds are exact.
 */
export const MAX_SPAN_MS = 2 ** 52;

/** The longest cache key: a client's key and the mark of a variant. */
export const MAX_CACHE_KEY_BYTES = MAX_KEY_BYTES + VARIANT_KEY_BYTES;

/** A group as a node announces it to a peer. */
export interface GroupNews {
  /** Its id in that node's asks on this connection. */
  readonly id: number;
  readonly name: string;
  /** The revision of that node's roster. */
  readonly revision: number;
  /** Whether that node has no value of this group, in memory or in flight: a peer need not look for values there. */
  readonly isEmpty?: boolean | undefined;
}

/** Handles the peer's asks and announcements. A method may return why the connection must close; reading then stops. */
export interface AskVisitor {
  /** @param trace `undefined`: this node does not understand it */
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
  /** The bodies are copies, so they do not keep the frame alive. */
  onPush(id: number, group: number, entries: readonly Entry[], isWritten: boolean): string | void;
  onCatchUp(id: number, timeoutMs: number, label: Label): string | void;
  onProbe(id: number): string | void;
  onIndirectProbe(id: number, timeoutMs: number, name: string, incarnation: string): string | void;
  onCancel(id: number): string | void;
  onGroupAdded(group: GroupNews): string | void;
  onGroupRemoved(group: number): string | void;
  onApplied(label: Label): string | void;
}

/** Handles the peer's replies. A method may return why the connection must close; reading then stops. */
export interface ReplyVisitor {
  /** The body is a view of the frame and keeps all of it alive. Copy it to keep it longer than for a reply. */
  onValue(id: number, value: Value): string | void;
  onFailure(id: number, code: FailureCode, detail: string): string | void;
  onNothing(id: number): string | void;
  onProbed(id: number): string | void;
  onIndirectProbed(id: number, isAlive: boolean): string | void;
  onTaken(id: number, count: number): string | void;
  onCaughtUp(id: number, label: Label): string | void;
}

/** Handles the parts of a message in pieces. A method may return why the connection must close; reading then stops. */
export interface PieceVisitor {
  /** @param bytes the length of the message's payload, within the bounds of its type */
  onParted(transfer: number, type: PartedType, id: number, bytes: number): string | void;
  /** @param piece a view of the frame, to be copied */
  onPiece(transfer: number, piece: Uint8Array<ArrayBuffer>): string | void;
  onPieceTaken(transfer: number): string | void;
  onDropped(transfer: number): string | void;
}
