/** The fields of a group in the JSON file, as data; the second table of the options comes from this list too. */
import * as v from "valibot";
import { isHost } from "./texts/addresses.ts";
import type { HeaderSource } from "./texts/headers.ts";
import type { FieldText } from "./command-line/help.ts";

/** The longest value that one message between nodes carries, in bytes: MAX_BODY_BYTES of lib/core/base/limits.ts. */
const MOST_VALUE_BYTES = 16 * 1024 * 1024;
/** Chosen: 30 days, which fit into the 32 bits of a time span on the wire between nodes. */
const MOST_SPAN_MS = 30 * 24 * 60 * 60 * 1000;
/** Chosen: far more hosts than one site has. */
const MOST_HOSTS = 1_000;

/** Chosen: the number of loads that a group may have in flight. */
const MOST_CONCURRENT = 10_000;

/**
 * The lifetime of a group, at the very end of `--group` after the origin. If it is wrong, that is a fault; it is never
 * read as part of a URL.
 */
export const TTL_OF_GROUP = /;ttl=([^/?#;&{}]*)$/;

const whole = (low: number, high = Number.MAX_SAFE_INTEGER) =>
  v.pipe(v.number(), v.safeInteger(), v.minValue(low), v.maxValue(high));
const span = v.optional(whole(0, MOST_SPAN_MS), 0);
const spanRule = `a whole number from 0 to ${MOST_SPAN_MS}, which is 30 days`;
const isObject = (value: unknown) => typeof value === "object" && value !== null && !Array.isArray(value);
const host = v.pipe(v.string(), v.toLowerCase(), v.check(isHost));
const hosts = v.pipe(v.array(host), v.maxLength(MOST_HOSTS), v.check((all) => new Set(all).size === all.length));

export const groupFields = {
  origin: {
    field: "origin",
    rule: "an origin as --group takes it, without ;ttl=",
    description: "The origin that a value is loaded from on a miss",
    schema: v.pipe(v.string(), v.nonEmpty(), v.check((text) => !TTL_OF_GROUP.test(text))),
  },
  budgetBytes: {
    field: "budgetBytes",
    unit: "bytes",
    shownDefault: "67108864",
    rule: "a whole number from 0 to 2^40",
    description:
      "The memory that the entries of the main and the hot cache may cost together: see lib/core/cache/README.md",
    schema: v.optional(whole(0, 2 ** 40), 64 * 1024 * 1024),
  },
  ttlMs: {
    field: "ttlMs",
    unit: "milliseconds",
    shownDefault: "that of --ttl, else null",
    rule: "a whole number from 1, or null for no limit",
    description: "How long a value may be served, where the origin does not say it",
    schema: v.optional(v.nullable(whole(1))),
  },
  ttlJitter: {
    field: "ttlJitter",
    shownDefault: "0.1",
    rule: "a number from 0 to 1",
    description:
      "The share by which lifetimes are shortened at random, so that values that were loaded together do not expire together",
    schema: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(1)), 0.1),
  },
  staleWhileRevalidateMs: {
    field: "staleWhileRevalidateMs",
    unit: "milliseconds",
    shownDefault: "0",
    rule: spanRule,
    description: "How long after its lifetime a value is still served while one load in the whole cluster refreshes it",
    schema: span,
  },
  staleIfErrorMs: {
    field: "staleIfErrorMs",
    unit: "milliseconds",
    shownDefault: "0",
    rule: spanRule,
    description: "How long after its lifetime a value is still served when the origin fails",
    schema: span,
  },
  softTimeoutMs: {
    field: "softTimeoutMs",
    unit: "milliseconds",
    shownDefault: "null",
    rule: "a whole number from 1 to 120000, or null for never",
    description:
      "When a load takes longer than this, a stale value is served in its place if one of the two fields above still allows it; the load goes on",
    schema: v.optional(v.nullable(whole(1, 120_000)), null),
  },
  refreshAhead: {
    field: "refreshAhead",
    shownDefault: "false",
    rule: "true or false",
    description: "Whether popular values are refreshed shortly before they expire",
    schema: v.optional(v.boolean(), false),
  },
  negativeTtlMs: {
    field: "negativeTtlMs",
    unit: "milliseconds",
    shownDefault: "0",
    rule: spanRule,
    description: 'How long "not found" is remembered',
    schema: span,
  },
  honourOrigin: {
    field: "honourOrigin",
    shownDefault: "true",
    rule: "true or false",
    description:
      "Whether the lifetimes that come with a value, such as in HTTP headers, come first; with false only these fields count",
    schema: v.optional(v.boolean(), true),
  },
  loadTimeoutMs: {
    field: "loadTimeoutMs",
    unit: "milliseconds",
    shownDefault: "10000",
    rule: "a whole number from 1 to 120000",
    description: "How long one load from the origin may take",
    schema: v.optional(whole(1, 120_000), 10_000),
  },
  valueBytesMax: {
    field: "valueBytesMax",
    unit: "bytes",
    shownDefault: String(MOST_VALUE_BYTES),
    rule: `a whole number from 1 to ${MOST_VALUE_BYTES}`,
    description:
      "The longest value that is taken from an HTTP origin or written; a longer answer of a site is streamed through and not kept",
    schema: v.optional(whole(1, MOST_VALUE_BYTES), MOST_VALUE_BYTES),
  },
  replicas: {
    field: "replicas",
    shownDefault: "1",
    rule: "1 or 2",
    description: "The number of nodes that keep each value; with 2, a killed node costs the origin no loads",
    schema: v.optional(v.picklist([1, 2]), 1),
  },
  hotAfterFetches: {
    field: "hotAfterFetches",
    unit: "fetches",
    shownDefault: "2",
    rule: "a whole number from 0 to 1000, 0 for never",
    description:
      "How often a node fetches a value from its owner before the copy may displace other hot copies; while there is room, it is kept at once",
    schema: v.optional(whole(0, 1000), 2),
  },
  headers: {
    field: "headers",
    shownDefault: "{}",
    rule: 'an object from header names to texts, {"file": path} or {"env": name}',
    description:
      "Sent with every request to an HTTP origin. A file or a variable is read with the options. No value is ever logged or shown",
    schema: v.optional(v.custom<Readonly<Record<string, unknown>>>(isObject), {}),
  },
  setCookie: {
    field: "setCookie",
    shownDefault: "refuse",
    rule: '"store" or "refuse"',
    description: "Whether an HTTP origin's answer with Set-Cookie is kept, cookie included, and served to every client",
    schema: v.optional(v.picklist(["store", "refuse"]), "refuse"),
  },
  writable: {
    field: "writable",
    shownDefault: "false",
    rule: "true or false; true for the origin none:, and false for a site",
    description: "Whether clients may write and delete values with PUT and DELETE",
    schema: v.optional(v.boolean(), false),
  },
  maxBlindMs: {
    field: "maxBlindMs",
    unit: "milliseconds",
    shownDefault: "null",
    rule: "a whole number from 1000, or null for no limit",
    description:
      "After this long without contact with NATS the group's caches are not used, because this node may have missed an invalidation",
    schema: v.optional(v.nullable(whole(1_000)), null),
  },
  maxConcurrent: {
    field: "maxConcurrent",
    unit: "requests",
    shownDefault: "null",
    rule: `a whole number from 1 to ${MOST_CONCURRENT}, or null for no limit`,
    description:
      "The most requests at the origin at once, for the whole cluster; each node has a share by its weight. Further requests wait",
    schema: v.optional(v.nullable(whole(1, MOST_CONCURRENT)), null),
  },
  maxQueued: {
    field: "maxQueued",
    unit: "requests",
    shownDefault: "1000",
    rule: `a whole number from 0 to ${MOST_CONCURRENT}`,
    description: "The most requests that wait on one node because of maxConcurrent; further ones are refused",
    schema: v.optional(whole(0, MOST_CONCURRENT), 1_000),
  },
  queueTimeoutMs: {
    field: "queueTimeoutMs",
    unit: "milliseconds",
    shownDefault: "5000",
    rule: "a whole number from 1 to 120000",
    description: "How long a request may wait because of maxConcurrent, within its loadTimeoutMs; then it is refused",
    schema: v.optional(whole(1, 120_000), 5_000),
  },
  breakerShare: {
    field: "breakerShare",
    shownDefault: "null",
    rule: "a number above 0 to 1, or null for never",
    description:
      "The share of failures among a node's latest requests, at least 10 in 10 seconds, at which it stops asking the origin",
    schema: v.optional(v.nullable(v.pipe(v.number(), v.gtValue(0), v.maxValue(1))), null),
  },
  breakerPauseMs: {
    field: "breakerPauseMs",
    unit: "milliseconds",
    shownDefault: "5000",
    rule: "a whole number from 1 to 3600000",
    description: "How long it then stops asking; after that, one request tests whether the origin answers again",
    schema: v.optional(whole(1, 3_600_000), 5_000),
  },
  retries: {
    field: "retries",
    unit: "tries",
    shownDefault: "0",
    rule: "a whole number from 0 to 5",
    description: "How often a load without an answer from the origin is tried again, after a short pause",
    schema: v.optional(whole(0, 5), 0),
  },
  retryBudget: {
    field: "retryBudget",
    shownDefault: "0.1",
    rule: "a number from 0 to 1",
    description: "The most retries of a node as a share of its loads; a quiet time saves up to 10",
    schema: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(1)), 0.1),
  },
  hosts: {
    field: "hosts",
    shownDefault: "[]",
    rule: `a list of at most ${MOST_HOSTS} different texts host or host:port`,
    description:
      "Requests with one of these in Host are answered from this group, with their path unchanged. Only for sites; each host belongs to one group",
    schema: v.optional(hosts, []),
  },
} as const satisfies Record<string, FieldText & { schema: v.GenericSchema }>;

type Fields = typeof groupFields;

/** A group from the file, with the defaults of {@link groupFields} for missing fields. */
export type FileGroup =
  & Readonly<Omit<{ [F in keyof Fields]: v.InferOutput<Fields[F]["schema"]> }, "headers" | "ttlMs">>
  & {
    /** `null`: values do not expire. `undefined`: --ttl decides. */
    readonly ttlMs: number | null | undefined;
    /** Names in lower case; see {@link readHeader}. */
    readonly headers: readonly (readonly [name: string, source: HeaderSource])[];
  };

/** The policy of a group that is not in the file. */
export const defaultPolicy = {
  ...Object.fromEntries(Object.entries(groupFields).map(([field, { schema }]) => [field, v.getDefault(schema)])),
  headers: [],
} as unknown as Omit<FileGroup, "origin">;
