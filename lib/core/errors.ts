/**
 * One class for each reaction of the caller, not for each place that can fail.
 *
 * | class              | what the caller does next                                   |
 * | ------------------ | ----------------------------------------------------------- |
 * | NotFoundError      | final: tell the client, ask no other node                   |
 * | OriginError        | final: tell the client, ask no other node                   |
 * | OriginTimeoutError | final: tell the client that the origin was too slow         |
 * | OriginUnreachable… | fall back: the next in rank asks the origin, once           |
 * | OverloadedError    | final: tell the client to try again later                   |
 * | UnservedError      | final: tell the client that no node serves the group now    |
 * | PassThroughError   | ask the origin for this one request, and stream its answer  |
 * | PeerError          | fall back: ask the next in rank in the peer's place         |
 * | BehindError        | ask the origin for this one request, and keep nothing       |
 * | BadKeyError        | tell the client what is wrong with the key                  |
 * | RequestBodyError   | the client's own fault: it says nothing of the origin       |
 * | ConfigError        | tell the operator what is wrong, exit with code 2           |
 * | NameTakenError     | tell the operator which node has the name, exit with code 1 |
 * | WrongRevisionError | lost a race in the registry: read again, decide again       |
 * | UnavailableError   | NATS gives no answer: try again later, or tell the client   |
 *
 * A programmer's mistake is a built-in error (TypeError, RangeError), thrown.
 */

/** The origin has no value for this key, or the owner says so. Final. */
export class NotFoundError extends Error {
  /** The name of the class. */
  override readonly name = "NotFoundError";
}

/** The origin refused, failed, or answered nonsense. Final, since the owner has tried. */
export class OriginError extends Error {
  /** The name of the class. */
  override readonly name: string = "OriginError";
}

/** The origin did not answer in time. Final. */
export class OriginTimeoutError extends OriginError {
  /** The name of the class. */
  override readonly name = "OriginTimeoutError";
}

/** The origin did not begin to answer: refused, no route, no such name, no connection in time. Another node may reach it. */
export class OriginUnreachableError extends OriginError {
  /** The name of the class. */
  override readonly name = "OriginUnreachableError";
}

/** This node or the owner has reached a bound: flights, asks in flight, or buffered bytes. */
export class OverloadedError extends Error {
  /** The name of the class. */
  override readonly name: string = "OverloadedError";
}

/** This node does not serve the group, and it can reach no node that does. The message is for the client. */
export class UnservedError extends OverloadedError {
  override readonly name = "UnservedError";
}

/** No node keeps this answer; for example, it is too long. Each request must ask the origin itself. */
export class PassThroughError extends Error {
  override readonly name = "PassThroughError";
}

/** A peer could not be reached, was lost, or refused: another node must be asked. */
export class PeerError extends Error {
  override readonly name = "PeerError";
}

/** A node has not applied an invalidation that the asking node has applied, and it could not catch up in time. */
export class BehindError extends Error {
  override readonly name = "BehindError";
}

/** Every node refuses this key: it is empty, too long, has control characters, or cannot be encoded. */
export class BadKeyError extends Error {
  /** The name of the class. */
  override readonly name = "BadKeyError";
}

/** The body of a client's request broke off before it was passed on whole. The origin is not to blame. */
export class RequestBodyError extends Error {
  override readonly name: string = "RequestBodyError";
}

/** The client was silent for too long in the middle of its request's body. */
export class SlowRequestError extends RequestBodyError {
  override readonly name = "SlowRequestError";
}

/** The configuration cannot be used. The message lists every fault. */
export class ConfigError extends Error {
  /** The name of the class. */
  override readonly name = "ConfigError";
}

/** Another live node is listed under this node's name. */
export class NameTakenError extends Error {
  override readonly name = "NameTakenError";
}

/** A registry write named a revision that is no longer the key's latest. */
export class WrongRevisionError extends Error {
  override readonly name = "WrongRevisionError";
}

/**
 * NATS, or the store in its place, is away or slow, or its answer was lost. A write may have been applied: read again
 * and compare before deciding.
 */
export class UnavailableError extends Error {
  /** The name of the class. */
  override readonly name = "UnavailableError";
  /** Whether the write may have been applied or may still be applied. `false`: it was never sent, or it was refused. */
  readonly isAmbiguous: boolean;

  /** Ambiguous by default, since most failures leave the outcome open. */
  constructor(message: string, { isAmbiguous = true, ...options }: ErrorOptions & { isAmbiguous?: boolean } = {}) {
    super(message, options);
    this.isAmbiguous = isAmbiguous;
  }
}
