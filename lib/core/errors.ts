/**
 * One class for each reaction of the caller, not for each place that can fail.
 *
 * | class              | what the caller does next                                   |
 * | ------------------ | ----------------------------------------------------------- |
 * | NotFoundError      | final: tell the client, ask no other node                   |
 * | OriginError        | final: tell the client, ask no other node                   |
 * | OriginTimeoutError | final: tell the client that the origin was too slow         |
 * | OriginUnreachable… | not the origin's word: the next in rank tries, once         |
 * | OverloadedError    | final: tell the client to try again later                   |
 * | UnservedError      | the same, with its own reason                               |
 * | PassThroughError   | ask the origin for this one request, and stream its answer  |
 * | PeerError          | fall back: ask the next in rank in the peer's place         |
 * | BehindError        | ask the origin for this one request, and keep nothing       |
 * | BadKeyError        | tell the client what is wrong with the key                  |
 * | ConfigError        | tell the operator what is wrong, exit with code 2           |
 * | NameTakenError     | tell the operator whose name it is, exit with code 1        |
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

/** No answer of the origin began: refused, no route, no such name, no connection in time. Another node may reach it. */
export class OriginUnreachableError extends OriginError {
  /** The name of the class. */
  override readonly name = "OriginUnreachableError";
}

/** This node or the owner has reached a bound: flights, asks in flight, or buffered bytes. */
export class OverloadedError extends Error {
  /** The name of the class. */
  override readonly name: string = "OverloadedError";
}

/** This node does not serve the group, and no node that does can be reached now. The message is for the client. */
export class UnservedError extends OverloadedError {
  override readonly name = "UnservedError";
}

/** The answer is none that a node keeps, such as one over the longest value: each request is to ask for itself. */
export class PassThroughError extends Error {
  override readonly name = "PassThroughError";
}

/** A peer could not be reached, was lost, or refused: another node must be asked. */
export class PeerError extends Error {
  override readonly name = "PeerError";
}

/** A node has not applied an invalidation that the asker has, and could not catch up in time. */
export class BehindError extends Error {
  override readonly name = "BehindError";
}

/** A key that no node takes: empty, too long, with control characters, or not encodable. */
export class BadKeyError extends Error {
  /** The name of the class. */
  override readonly name = "BadKeyError";
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
 * NATS, or what stands in for it, is away, slow, or its answer was lost. A write may have been applied: read again and
 * compare before deciding.
 */
export class UnavailableError extends Error {
  /** The name of the class. */
  override readonly name = "UnavailableError";
  /** Whether a write may have been applied, now or later; `false`: it was never sent, or it was refused. */
  readonly isAmbiguous: boolean;

  /** Ambiguous unless it says otherwise. */
  constructor(message: string, { isAmbiguous = true, ...options }: ErrorOptions & { isAmbiguous?: boolean } = {}) {
    super(message, options);
    this.isAmbiguous = isAmbiguous;
  }
}
