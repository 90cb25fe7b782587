import { Deadlines } from "../../core/base/time/deadlines.ts";
import type { Label } from "../../core/invalidation/label.ts";
import type { Suspect } from "../../core/liveness/probed-peer.ts";
import { PeerError } from "../../core/errors.ts";
import type { Ask, AskOptions, Entry, PushOptions } from "../../core/ports.ts";
import type { Value } from "../../core/value.ts";
import type { OwnGreeting } from "../own-groups.ts";
import type { ChannelContext } from "../service.ts";
import { CloseCode, type SocketHandler, type SocketLike } from "../socket/socket.ts";
import { OPTIONAL_TYPES_VERSION } from "../wire/frames.ts";
import type { PeerGreeting } from "../wire/greeting.ts";
import { readFrame } from "../wire/reader.ts";
import { OwnGroupIds, RemoteGroups } from "./groups.ts";
import { IncomingAsks } from "./incoming-asks.ts";
import { IncomingPieces } from "./incoming-pieces.ts";
import { Outbox } from "./outbox.ts";
import { OutgoingAsks } from "./outgoing-asks.ts";
import { Silence } from "./silence.ts";
import { ToldLabel } from "./told-label.ts";

const NO_MISS = { framesIn: 0, atMs: -Infinity };
/**
 * What came since a miss longer ago proves nothing: a node that probes for another one may have missed the peer days ago.
 * Chosen: longer than the usual time between two probes.
 */
const LATE_REPLY_MS = 10_000;

/** Why a connection ended; `isFault`: the peer broke the rules. */
export type OnLost = (reason: string, isFault: boolean) => void;

/** Asks and replies in both directions over one connection on which both ends have greeted. */
export class Channel implements SocketHandler {
  readonly remote: PeerGreeting;
  readonly #socket: SocketLike;
  readonly #context: ChannelContext;
  readonly #onLost: OnLost;
  readonly #outbox: Outbox;
  readonly #ownGroups: OwnGroupIds;
  readonly #remoteGroups: RemoteGroups;
  readonly #outgoing: OutgoingAsks;
  readonly #incoming: IncomingAsks;
  readonly #pieces: IncomingPieces;
  readonly #deadlines: Deadlines;
  readonly #silence: Silence;
  readonly #told = new ToldLabel();
  #closedBecause: string | undefined;
  #onIdle: (() => void) | undefined;
  /** The state as the last probe ended, if that had no reply in time. */
  #miss = NO_MISS;
  framesIn = 0;

  /**
   * @param remote the peer's greeting
   * @param own this node's greeting on the same connection; `announceGroups` sends later changes
   */
  constructor(
    socket: SocketLike,
    remote: PeerGreeting,
    own: OwnGreeting,
    context: ChannelContext,
    onLost: OnLost,
  ) {
    this.remote = remote;
    this.#socket = socket;
    this.#context = context;
    this.#onLost = onLost;
    const { clock, schedule, limits, groups } = context;
    const settled = () => this.#checkIdle();
    const giveUp = (code: number, reason: string) => this.#giveUp(code, reason);
    const outbox = new Outbox(socket, clock, schedule, limits, giveUp, settled);
    this.#outbox = outbox;
    this.#silence = new Silence(limits);
    this.#deadlines = new Deadlines(clock, (nowMs) => this.#endOverdue(nowMs));
    this.#ownGroups = new OwnGroupIds(groups, own.groups);
    this.#remoteGroups = new RemoteGroups(groups, remote.groups, clock.nowMs());
    const { name } = remote;
    const [deadlines, told] = [this.#deadlines, this.#told];
    const isTraced = remote.version >= OPTIONAL_TYPES_VERSION;
    this.#outgoing = new OutgoingAsks(name, this.#ownGroups, context, outbox, deadlines, told, isTraced, settled);
    this.#incoming = new IncomingAsks(name, this.#remoteGroups, context, outbox, deadlines, told, settled);
    this.#pieces = new IncomingPieces(context, outbox, deadlines, this.#incoming, this.#outgoing, () => {
      giveUp(CloseCode.stalled, "a message in pieces does not go on");
    });
    socket.handler = this;
  }

  /** The protocol version that both ends speak. */
  get version(): number {
    return this.remote.version;
  }

  /** When the peer announced the group, if it then had no value of it. */
  emptyAtMs(group: string): number | undefined {
    return this.#remoteGroups.emptyAtMs(group);
  }

  /**
   * Tells the peer which groups this node added and removed since the last announcement. An ask in flight for a removed
   * group gets its reply. When the connection has no group id left, it ends and a new one replaces it.
   */
  announceGroups(): void {
    if (this.#closedBecause !== undefined) return;
    this.#remoteGroups.review();
    if (!this.#ownGroups.announce(this.#outbox)) this.#giveUp(CloseCode.replaced, "no group id is left on it");
  }

  /** The last label in the log of invalidations that the peer told; `undefined`: it told none yet. */
  get applied(): Label | undefined {
    return this.#told.label;
  }

  /** Tells this node's label to the peer. */
  announceApplied(label: Label): void {
    if (this.#closedBecause === undefined) this.#outbox.applied(label);
  }

  /** How many groups this connection keeps in memory: this node's and the peer's. */
  get groups(): { own: number; remote: number } {
    return { own: this.#ownGroups.size, remote: this.#remoteGroups.size };
  }

  /**
   * Rejected with the owner's final answers, BehindError, PeerError, OverloadedError, BadKeyError; with
   * PassThroughError if the request's fields cannot be sent; with the signal's reason when it aborts. This and the asks
   * below never throw synchronously.
   */
  get(group: string, key: string, ask: Ask): void {
    this.#outgoing.get(group, key, ask);
  }

  /** @throws PeerError, BadKeyError; the signal's reason when it aborts */
  peek(group: string, key: string, options: AskOptions): Promise<Value | undefined> {
    return this.#outgoing.peek(group, key, options);
  }

  /** @throws PeerError; RangeError more than fits into one message; the signal's reason when it aborts */
  push(group: string, entries: readonly Entry[], options: PushOptions): Promise<number> {
    return this.#outgoing.push(group, entries, options);
  }

  /** @throws PeerError; the signal's reason when it aborts */
  catchUp(label: Label, options: AskOptions): Promise<Label> {
    return this.#outgoing.catchUp(label, options);
  }

  /**
   * The other end's channel replies by itself. A probe queues behind earlier messages: behind a full socket it times out,
   * as gets would. Any arriving bytes count as an answer. A reply may be late on a slow path, and a far peer's reply comes
   * after each probe has ended.
   *
   * @throws PeerError; OverloadedError it was not sent, as too many asks are in flight
   */
  async probe(timeoutMs: number): Promise<void> {
    const { clock } = this.#context;
    const { framesIn, atMs } = this.#miss;
    const before = clock.nowMs() - atMs < LATE_REPLY_MS ? framesIn : this.framesIn;
    try {
      await this.#outgoing.probe(timeoutMs);
      this.#miss = NO_MISS;
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      this.#miss = { framesIn: this.framesIn, atMs: clock.nowMs() };
      if (this.framesIn === before || this.#closedBecause !== undefined) throw error;
    }
  }

  /** Bytes of memory for the peer's messages that have arrived in part. */
  get arrivingBytes(): number {
    return this.#pieces.heldBytes;
  }

  /** @throws PeerError */
  probeIndirectly(suspect: Suspect, timeoutMs: number): Promise<boolean> {
    return this.#outgoing.probeIndirectly(suspect, timeoutMs);
  }

  /** Asks without a reply: this node's, and the peer's. */
  get inFlight(): { outgoing: number; incoming: number } {
    return { outgoing: this.#outgoing.inFlight, incoming: this.#incoming.inFlight + this.#outbox.backlog };
  }

  /** This node's gets and peeks so far. */
  get asked(): number {
    return this.#outgoing.asked;
  }

  /** The peer's gets and peeks so far. */
  get answered(): number {
    return this.#incoming.answered;
  }

  get framesOut(): number {
    return this.#outbox.frames;
  }

  get bytesOut(): number {
    return this.#outbox.bytes;
  }

  /** Fails the asks in flight at once; `onLost` is not called. Idempotent. */
  close(code: number, reason: string): void {
    if (this.#closedBecause !== undefined) return;
    this.#end(reason);
    this.#socket.close(code, reason);
  }

  /** Calls `action` once, when no ask is in flight or the connection has ended; at once if this is already so. */
  whenIdle(action: () => void): void {
    this.#onIdle = action;
    this.#checkIdle();
  }

  opened(): void {}

  received(frame: Uint8Array<ArrayBuffer> | undefined): void {
    this.framesIn++;
    let reason: string | undefined;
    const workingBefore = this.#incoming.working;
    this.#outbox.cork();
    try {
      reason = frame === undefined
        ? "malformed frame: not binary, or too long"
        : readFrame(frame, this.#incoming, this.#outgoing, this.#pieces, this.#context.clock.nowMs());
    } catch (error) {
      this.#context.log.error(`peer ${this.remote.name}: reading a frame failed: ${error}`, {}, {
        peer: this.remote.name,
        error,
      });
      reason = "internal error";
    }
    if (this.#closedBecause !== undefined) return;
    if (reason !== undefined) {
      this.close(CloseCode.malformed, reason);
      this.#onLost(reason, true);
      return;
    }
    // Send ready replies at once, unless other replies to this frame may still join them in this tick.
    this.#outbox.uncork(this.#incoming.working <= workingBefore);
    this.#checkIdle();
  }

  closed(reason: string): void {
    if (this.#closedBecause !== undefined) return;
    this.#end(reason);
    this.#onLost(reason, false);
  }

  #endOverdue(nowMs: number): number {
    const overdueBefore = this.#outgoing.overdue;
    const asksMs = Math.min(this.#outgoing.endOverdue(nowMs), this.#incoming.endOverdue(nowMs));
    const nextMs = Math.min(asksMs, this.#pieces.endOverdue(nowMs));
    if (this.#outgoing.overdue > overdueBefore) this.#missed(nowMs);
    this.#checkIdle();
    return this.#closedBecause === undefined ? nextMs : Infinity;
  }

  #missed(nowMs: number): void {
    const { framesIn, bytesOut } = this;
    const isDead = this.#silence.missed(nowMs, { framesIn, bytesOut, unsentBytes: this.#socket.bufferedBytes });
    if (isDead) this.#giveUp(CloseCode.silent, "it sends nothing, and replies to nothing");
  }

  #giveUp(code: number, reason: string): void {
    if (this.#closedBecause !== undefined) return;
    this.close(code, reason);
    this.#onLost(reason, false);
  }

  #end(reason: string): void {
    this.#closedBecause = reason;
    this.#deadlines.stop();
    this.#outbox.close();
    this.#outgoing.close(reason);
    this.#incoming.close(reason);
    this.#pieces.close(reason);
    this.#checkIdle();
  }

  #checkIdle(): void {
    if (this.#onIdle === undefined) return;
    const { outgoing, incoming } = this.inFlight;
    if (this.#closedBecause === undefined && (outgoing + incoming > 0 || this.#outbox.isStuck)) return;
    const action = this.#onIdle;
    this.#onIdle = undefined;
    this.#outbox.flush();
    action();
  }
}
