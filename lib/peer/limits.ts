/** Every bound of the peer transport, in one place; tests make them smaller. Chosen, if there is no other reason. */
export interface PeerLimits {
  /**
   * Gets, peeks and catch-ups in flight per link, and those that wait until it opens; further ones fail with
   * OverloadedError.
   */
  readonly asksInFlight: number;
  /** Probes, indirect probes and pushes in flight per link. */
  readonly membershipInFlight: number;
  /** A peer's gets and peeks that this node works on at a time; further ones get the reply "overloaded". */
  readonly incomingInFlight: number;
  /** A frame of this size is sent at once, without waiting for the end of the tick. */
  readonly batchBytes: number;
  /** With more unsent bytes the socket counts as full: values and pushes then wait as references, not as encoded bytes. */
  readonly socketBytes: number;
  /** Bytes of encoded messages that may wait behind a full socket; with more, the connection is closed. */
  readonly backlogBytes: number;
  /** Values and pushes with longer bodies travel in pieces of this length, others in one message. */
  readonly pieceBytes: number;
  /** The smallest window, which is also the first one: bytes of pieces sent to the peer and not acknowledged yet. */
  readonly windowBytes: number;
  /** The largest window. */
  readonly maxWindowBytes: number;
  /**
   * The window grows while acknowledgements come at most this much later than the quickest one, and shrinks when they
   * come twice that much later. So a probe waits at most about that long, here and in the system's buffers. Other links
   * of this node may share the path, and a probe has 250 ms.
   */
  readonly pieceDelayMs: number;
  /** An ask whose value or push travels in pieces may take this long after the last piece, even beyond its own time. */
  readonly pieceStallMs: number;
  /** The longest time of such an ask in all. Derived: the longest value over some 2 Mbit/s. */
  readonly transferMs: number;
  /**
   * Bytes of value bodies that may wait behind a full socket or leave in pieces; with more, a get gets the reply
   * "overloaded".
   */
  readonly valueBacklogBytes: number;
  /**
   * Bytes of push bodies that may wait behind a full socket or leave in pieces, after the first push; with more, a push
   * is refused.
   */
  readonly pushBacklogBytes: number;
  /** A full socket that takes nothing for this long is closed. */
  readonly stallMs: number;
  /**
   * So many misses in a row, without a frame from the peer between them, make a connection dead (silence.ts). At the
   * pace of probes this takes some 5 s: it is twice the misses of a suspect. So a peer that stood still is evicted
   * first, or continues on the same connection.
   */
  readonly silentMisses: number;
  /** Misses within this time count as one. Derived: the time-out of a probe. */
  readonly silentMissMs: number;
  /** How often a full socket is checked, as WebSocket has no event for it. */
  readonly drainPollMs: number;
  /** How long a link to a new peer of the roster counts as connecting. */
  readonly firstOpenMs: number;
  /**
   * How long gets wait for a new peer of a cluster that this node already knew: the next in rank had its keys until
   * then. A starting node waits for `firstOpenMs`, as its peers already have their keys.
   */
  readonly newPeerMs: number;
  /** How many lives that left the roster are remembered, as a returning life is no new peer. */
  readonly formerLives: number;
  /** The longest time from a dial or an accepted socket to the greeting. */
  readonly greetingMs: number;
  /** How long a challenge may be answered; longer than `heldProofMs`. */
  readonly challengeMs: number;
  /**
   * Correctly answered challenges to remember, as each may be answered once; with more, no peer is admitted for
   * `challengeMs`.
   */
  readonly usedChallenges: number;
  /** Challenges that are being signed at a time, some 60 us each; with more, no challenge is made. */
  readonly signing: number;
  /** How long a proof waits until the roster lists its sender; shorter than `greetingMs`. */
  readonly heldProofMs: number;
  /** The interval between reads of the roster while a proof is held, as this node's roster may be old. */
  readonly heldAskMs: number;
  /** If a new peer does not dial within this time, this node says hello itself. */
  readonly knockAfterMs: number;
  /** How long a link counts as connecting while the peer lives but does not list this node. NATS may need 10 s to tell it. */
  readonly unknownMs: number;
  /**
   * The same after another peer has welcomed this node, which shows that NATS works. The refusing peer has probably
   * lost NATS and lists this node later. It reads its list every `heldAskMs`, which may take a second over a long path.
   */
  readonly lateUnknownMs: number;
  /** Upgrade requests whose proof is held, and accepted sockets without a welcome; one more displaces the oldest. */
  readonly strangers: number;
  readonly firstRetryMs: number;
  readonly lastRetryMs: number;
  /** After a connection of this length, the next retry counts as the first. */
  readonly steadyMs: number;
  /** How long the link to a peer that left the roster may take to finish its asks. */
  readonly lingerMs: number;
}

export const PEER_LIMITS: PeerLimits = {
  asksInFlight: 4096,
  membershipInFlight: 1024,
  incomingInFlight: 4096,
  batchBytes: 256 * 1024,
  socketBytes: 4 * 1024 * 1024,
  backlogBytes: 8 * 1024 * 1024,
  pieceBytes: 64 * 1024,
  windowBytes: 128 * 1024,
  maxWindowBytes: 4 * 1024 * 1024,
  pieceDelayMs: 50,
  pieceStallMs: 5_000,
  transferMs: 60_000,
  valueBacklogBytes: 64 * 1024 * 1024,
  pushBacklogBytes: 32 * 1024 * 1024,
  stallMs: 5_000,
  silentMisses: 12,
  silentMissMs: 250,
  drainPollMs: 2,
  firstOpenMs: 3_000,
  newPeerMs: 250,
  formerLives: 1_000,
  greetingMs: 5_000,
  challengeMs: 5_000,
  usedChallenges: 10_000,
  signing: 256,
  heldProofMs: 2_000,
  heldAskMs: 250,
  knockAfterMs: 250,
  unknownMs: 15_000,
  lateUnknownMs: 2_000,
  strangers: 64,
  firstRetryMs: 50,
  lastRetryMs: 2_000,
  steadyMs: 2_000,
  lingerMs: 5_000,
};
