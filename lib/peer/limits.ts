/** Every bound of the peer transport, in one place; tests make them smaller. Chosen, where no reason is given. */
export interface PeerLimits {
  /** Gets, peeks and catch-ups in flight per link, and those that wait for it to open; further ones fail with OverloadedError. */
  readonly asksInFlight: number;
  /** Probes, indirect probes and pushes in flight per link. */
  readonly membershipInFlight: number;
  /** A peer's gets and peeks that this node works on; further ones get the reply "overloaded". */
  readonly incomingInFlight: number;
  /** A frame of this size is sent at once, without waiting for the end of the tick. */
  readonly batchBytes: number;
  /** With more unsent bytes in the socket, it is full: values and pushes wait as references, not as encoded bytes. */
  readonly socketBytes: number;
  /** Encoded messages that may wait behind a full socket; beyond it the link is given up. */
  readonly backlogBytes: number;
  /** A value or a push with longer bodies travels in pieces of this length, others in one message. */
  readonly pieceBytes: number;
  /** Pieces that are under way to the peer and not acknowledged: at least so many bytes, which is where it begins. */
  readonly windowBytes: number;
  /** And at most so many. */
  readonly maxWindowBytes: number;
  /**
   * The window grows while pieces are acknowledged at most so much later than the quickest was, and shrinks when they take
   * twice as much longer: so long at most stands in front of a probe, here and in the system's buffers. Other links of this
   * node may share the path, and a probe has 250 ms.
   */
  readonly pieceDelayMs: number;
  /** An ask whose value, or whose push, moves on in pieces may take so long after the last piece, whatever its own time. */
  readonly pieceStallMs: number;
  /** But so long in all: the longest value over some 2 Mbit/s. */
  readonly transferMs: number;
  /** Bodies of values that may wait behind a full socket or leave in pieces; beyond it a get gets the reply "overloaded". */
  readonly valueBacklogBytes: number;
  /** Bodies of pushes that may wait behind a full socket or leave in pieces, but for the first; beyond it a push is refused. */
  readonly pushBacklogBytes: number;
  /** A full socket that takes nothing for so long is given up. */
  readonly stallMs: number;
  /**
   * Misses in a row, with no frame from the peer between them, that make a connection dead (silence.ts). At the pace of
   * probes that is some 5 s: twice the misses that make a suspect. So a peer that stood still is evicted, or goes on,
   * over the connection that it has.
   */
  readonly silentMisses: number;
  /** Misses within so long count as one. The time-out of a probe. */
  readonly silentMissMs: number;
  /** How often a full socket is looked at: WebSocket has no event for it. */
  readonly drainPollMs: number;
  /** How long a link to a peer that is new in the roster counts as connecting. */
  readonly firstOpenMs: number;
  /**
   * How long gets wait for a peer that came to a cluster which this node knew before: the next in rank had its keys until
   * then. A node that starts waits for `firstOpenMs`, as its peers have their keys already.
   */
  readonly newPeerMs: number;
  /** Lives that left the roster and are remembered, as one that returns is no new peer. */
  readonly formerLives: number;
  /** From the start of a dial, or from an accepted socket, to the greeting. */
  readonly greetingMs: number;
  /** How long a challenge may be answered; over `heldProofMs`. */
  readonly challengeMs: number;
  /** Challenges that were answered rightly and cannot be again; beyond it nobody is admitted for `challengeMs`. */
  readonly usedChallenges: number;
  /** Challenges that are being signed, some 60 us each; beyond it none is made. */
  readonly signing: number;
  /** How long a proof waits for the roster to list its sender; under `greetingMs`. */
  readonly heldProofMs: number;
  /** While a proof is held, the roster is read again so often: it may be this node's roster that is old. */
  readonly heldAskMs: number;
  /** A node that waits for so long to be dialed by a new peer says hello itself. */
  readonly knockAfterMs: number;
  /** A link counts as connecting for so long while the peer is alive and does not list this node. NATS may need 10 s to tell. */
  readonly unknownMs: number;
  /**
   * The same once another peer has welcomed this node: NATS tells then. The one that refuses has probably lost NATS, and lists
   * this node when it has it again. It reads its list anew every `heldAskMs` meanwhile, which may take a second over a long way.
   */
  readonly lateUnknownMs: number;
  /** Requests to upgrade that wait for their proof, and accepted sockets that have not been welcomed; the oldest gives way. */
  readonly strangers: number;
  readonly firstRetryMs: number;
  readonly lastRetryMs: number;
  /** After a connection that lasted so long, the next retry is a first one. */
  readonly steadyMs: number;
  /** How long the link to a peer that left the roster may finish its asks. */
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
