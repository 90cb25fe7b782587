/**
 * Turns a group's errors into failure codes and back: the asking node gets the class that the owner threw.
 *
 * An error outside the group's contract is a defect of the owner. It is sent as a final OriginError, as the next in
 * rank would run the same code on the same key. Its text stays in the owner's log.
 */
import {
  BadKeyError,
  BehindError,
  NotFoundError,
  OriginError,
  OriginTimeoutError,
  OriginUnreachableError,
  OverloadedError,
  PassThroughError,
  PeerError,
} from "../../core/errors.ts";
import { FailureCode } from "./frames.ts";

/** @returns `undefined` for an error outside the contract */
export function codeOf(error: unknown): FailureCode | undefined {
  if (error instanceof NotFoundError) return FailureCode.notFound;
  if (error instanceof OriginTimeoutError) return FailureCode.originTimeout;
  if (error instanceof OriginUnreachableError) return FailureCode.originUnreachable;
  if (error instanceof OriginError) return FailureCode.originFailed;
  if (error instanceof OverloadedError) return FailureCode.overloaded;
  if (error instanceof BadKeyError) return FailureCode.badKey;
  if (error instanceof PassThroughError) return FailureCode.passThrough;
  if (error instanceof BehindError) return FailureCode.behind;
  if (error instanceof PeerError) return FailureCode.unavailable;
  return undefined;
}

/** The error for a failure code, so that a caller reacts as to a local error. */
export function errorOf(code: FailureCode, detail: string, peer: string): Error {
  switch (code) {
    case FailureCode.notFound:
      return new NotFoundError(detail);
    case FailureCode.originFailed:
      return new OriginError(detail);
    case FailureCode.originTimeout:
      return new OriginTimeoutError(detail);
    case FailureCode.originUnreachable:
      return new OriginUnreachableError(detail);
    case FailureCode.overloaded:
      return new OverloadedError(detail);
    case FailureCode.badKey:
      return new BadKeyError(detail);
    case FailureCode.passThrough:
      return new PassThroughError(detail);
    case FailureCode.behind:
      return new BehindError(detail);
    case FailureCode.unknownGroup:
    case FailureCode.unavailable:
      return new PeerError(`${peer}: ${detail}`);
  }
}
