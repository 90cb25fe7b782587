/**
 * One class per reaction of the caller, not one per place that can fail.
 *
 * | class             | what the caller does next                                  |
 * | ----------------- | ---------------------------------------------------------- |
 * | NotFoundError     | final: tell the client, ask nobody else                    |
 * | OriginError       | final: tell the client, ask nobody else                    |
 * | OriginTimeoutError| the same, but the client is told that it was slow          |
 * | OverloadedError   | final here: the client may come again after a while        |
 * | PeerError         | fall back: ask the next in rank in this peer's place       |
 * | BadKeyError       | the client's mistake                                       |
 * | ConfigError       | the operator's mistake: say it and exit with code 2        |
 * | NameTakenError    | another live node has our name: say it and exit with 1     |
 * | WrongRevisionError| a lost race in the registry: read again, decide again      |
 *
 * Programmer's mistakes are built-in errors (TypeError, RangeError) and are thrown.
 */

/** The origin, or the owner on its behalf, says that there is no value under this key. Final. */
export class NotFoundError extends Error {
  override readonly name = "NotFoundError";
}

/** The origin could not give a value: refused, broke, or answered nonsense. Final: the owner has tried. */
export class OriginError extends Error {
  override readonly name: string = "OriginError";
}

/** The origin did not answer within its time. Final. */
export class OriginTimeoutError extends OriginError {
  override readonly name = "OriginTimeoutError";
}

/** A bound of this node or of the owner is reached (flights, asks in the air, buffered bytes). */
export class OverloadedError extends Error {
  override readonly name = "OverloadedError";
}

/** A peer could not be reached, was lost on the way, or refused us: somebody else must be asked. */
export class PeerError extends Error {
  override readonly name = "PeerError";
}

/** A key that no node takes: empty, too long, control characters, or not encodable. */
export class BadKeyError extends Error {
  override readonly name = "BadKeyError";
}

/** What the operator wrote cannot be used; the message lists every fault. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** Another live node is listed under this node's name. */
export class NameTakenError extends Error {
  override readonly name = "NameTakenError";
}

/** A registry write named a revision that is no longer the key's last one. */
export class WrongRevisionError extends Error {
  override readonly name = "WrongRevisionError";
}
