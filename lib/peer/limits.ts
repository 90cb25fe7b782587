/** Every bound of the peer transport, in one place; tests make them smaller. */
export interface PeerLimits {
  /** Gets and peeks in the air per link, those that wait for it to open included; more are refused with OverloadedError. */
  readonly asksInFlight: number;
  /** Polls, vouches and pushes in the air per link. */
  readonly membershipInFlight: number;
  /** A peer's gets and peeks that are being served per link; more are answered "overloaded". */
  readonly servedInFlight: number;
  /** A frame is sent at once when it has reached this size, without waiting for the end of the tick. */
  readonly batchBytes: number;
  /** Above this many unsent bytes in the socket, answers wait as values, not as encoded bytes. */
  readonly socketBytes: number;
  /** Asks that may wait, encoded, behind a full socket; beyond it the link is given up. */
  readonly backlogBytes: number;
  /** Bodies of values that may wait behind a full socket; beyond it a get is answered "overloaded". */
  readonly valueBacklogBytes: number;
  /** Bodies handed over that may wait behind a full socket, of one message or of more; beyond it a push is refused. */
  readonly pushBacklogBytes: number;
  /** A socket that is full and takes nothing for so long is given up. */
  readonly stallMs: number;
  /**
   * Misses in a row, with nothing heard between them, that make a connection dead. At the pace of polls some 5 s: twice the
   * misses that make a suspect, so that a peer that stands still is struck off, or goes on, over the connection that it has.
   */
  readonly silentMisses: number;
  /** From one such miss to the next that counts, at least. */
  readonly silentMissMs: number;
  /** How often a full socket is looked at: WebSocket has no event for it. */
  readonly drainPollMs: number;
  /** How long asks wait for a peer that is new in the roster. */
  readonly firstOpenMs: number;
  /** From the start of a dial, or from an accepted socket, to the greeting. */
  readonly greetingMs: number;
  /** How long a hello waits for the roster to tell of its sender; under `greetingMs`. */
  readonly heldHelloMs: number;
  /** While a hello is held, the roster is asked for again so often: it may be this node that hears nothing. */
  readonly heldAskMs: number;
  /** Who waits for a new peer to dial, and hears nothing for so long, makes itself known to it. */
  readonly knockAfterMs: number;
  /** Who joins waits so long for a peer that lives and does not list it: NATS may take 10 s to tell it. */
  readonly unknownMs: number;
  /** Accepted sockets that have not been welcomed yet; the oldest gives way. */
  readonly strangers: number;
  readonly firstRetryMs: number;
  readonly lastRetryMs: number;
  /** A connection that lasted so long makes the next retry a first one. */
  readonly steadyMs: number;
  /** How long the link to a peer that left the roster may finish what is in flight. */
  readonly lingerMs: number;
}

export const PEER_LIMITS: PeerLimits = {
  asksInFlight: 4096,
  membershipInFlight: 1024,
  servedInFlight: 4096,
  batchBytes: 256 * 1024,
  socketBytes: 4 * 1024 * 1024,
  backlogBytes: 8 * 1024 * 1024,
  valueBacklogBytes: 64 * 1024 * 1024,
  pushBacklogBytes: 8 * 1024 * 1024,
  stallMs: 5_000,
  silentMisses: 12,
  silentMissMs: 250,
  drainPollMs: 2,
  firstOpenMs: 3_000,
  greetingMs: 5_000,
  heldHelloMs: 2_000,
  heldAskMs: 250,
  knockAfterMs: 250,
  unknownMs: 15_000,
  strangers: 64,
  firstRetryMs: 50,
  lastRetryMs: 2_000,
  steadyMs: 2_000,
  lingerMs: 5_000,
};
