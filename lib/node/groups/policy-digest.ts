/** A group's policy in one line, which nodes compare with each other's. It stands in the registry, so it holds no secret. */
import { createHash } from "node:crypto";
import type { GroupConfig } from "../../config/config.ts";

/**
 * The fields that are to be the same on all nodes. Not `budgetBytes` and `hotAfterFetches`, which are about one node's memory.
 * A field is named here, and not taken from the policy as it is: a later one may hold a secret.
 */
const SHOWN = [
  "ttlMs",
  "ttlJitter",
  "staleWhileRevalidateMs",
  "staleIfErrorMs",
  "softTimeoutMs",
  "refreshAhead",
  "negativeTtlMs",
  "honourOrigin",
  "loadTimeoutMs",
  "valueBytesMax",
  "replicas",
  "setCookie",
  "writable",
  "maxBlindMs",
  "maxConcurrent",
  "maxQueued",
  "queueTimeoutMs",
  "breakerShare",
  "breakerPauseMs",
  "retries",
  "retryBudget",
] as const satisfies readonly (keyof GroupConfig)[];

/** Those that are too long to be told: a hash stands for each. */
const HASHED: ReadonlySet<string> = new Set(["headers", "hosts"]);

/** Of the 64 hexadecimal digits of SHA-256. Chosen: an operator's few policies do not meet by chance. */
const HASH_DIGITS = 8;
/** Chosen: the longest value that another node's policy has in a log line, in characters. */
const MAX_SHOWN = 32;

/** `ttlMs=60000 ttlJitter=0.1 … hosts=1a2b3c4d`, the same on all runtimes; about 280 characters. */
export function policyDigest(config: GroupConfig): string {
  const shown = SHOWN.map((field) => `${field}=${config[field]}`);
  const names = config.headers.map(([name]) => name);
  return [
    ...shown,
    `headers=${hashed(names)}`,
    `hosts=${hashed(config.hosts)}`,
  ].join(" ");
}

/**
 * Where another node's policy differs from this one's, in words. A field that only one of the two has is none: the nodes are of
 * different versions.
 *
 * @param theirs what anybody may have written
 */
export function policyDifferences(mine: string, theirs: string): string[] {
  if (mine === theirs) return [];
  const other = fieldsOf(theirs);
  return [...fieldsOf(mine)].flatMap(([field, value]) => {
    const told = other.get(field);
    if (told === undefined || told === value) return [];
    return HASHED.has(field) ? `other ${field}` : `${field} ${told.slice(0, MAX_SHOWN)}, not ${value}`;
  });
}

function fieldsOf(digest: string): Map<string, string> {
  return new Map(
    digest.split(" ").map((text) => {
      const at = text.indexOf("=");
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

function hashed(texts: readonly string[]): string {
  return createHash("sha256").update(JSON.stringify([...texts].sort())).digest("hex").slice(0, HASH_DIGITS);
}

/**
 * Stands for the origin of a group. A login is no part of it. The rest of the URL is, with its query: two queries may be two
 * services. So little of the hash is told that a secret in a query cannot be found by it.
 */
export function originDigest({ origin }: Pick<GroupConfig, "origin">): string {
  return hashed([origin.replace(/^([a-z]+:\/\/)[^/@]*@/, "$1")]);
}
