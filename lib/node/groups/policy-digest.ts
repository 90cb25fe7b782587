/** A group's policy in one line, for nodes to compare. It is stored in the registry, so it holds no secret. */
import { createHash } from "node:crypto";
import type { GroupConfig } from "../../config/config.ts";

/**
 * The fields that must be the same on all nodes. `budgetBytes` and `hotAfterFetches` are about one node's memory, so
 * they are left out. This is a list, not all fields of the policy, because a later field may hold a secret.
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

/** Fields that are too long; a hash replaces each value. */
const HASHED: ReadonlySet<string> = new Set(["headers", "hosts"]);

/**
 * How many of SHA-256's 64 hexadecimal digits are kept. Chosen: an operator has few policies, so they do not collide by
 * chance.
 */
const HASH_DIGITS = 8;
/** The longest value of another node's policy in a log line, in characters. Chosen. */
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
 * The differences between another node's policy and this one's, in words. A field that only one of them has is no
 * difference: the nodes have different versions.
 *
 * @param theirs untrusted text from the registry
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
 * A short hash that stands for the origin of a group. It leaves out a login. It includes the rest of the URL with its
 * query, as two queries may be two services. The hash is too short to find a secret in a query.
 */
export function originDigest({ origin }: Pick<GroupConfig, "origin">): string {
  return hashed([origin.replace(/^([a-z]+:\/\/)[^/@]*@/, "$1")]);
}
