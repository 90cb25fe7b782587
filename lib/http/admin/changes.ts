/**
 * Requests that change cached values. The answer names the place of the change in the log. A client that sends this
 * place as `Muster-After` gets nothing older, at any node.
 *
 * For a site, `soft` and `wait` at the end of the query are flags. They may also be the site's own parameters, so the
 * key that contains them is invalidated too.
 */
import { Buffer } from "node:buffer";
import type { Clock } from "../../core/base/clock.ts";
import { MAX_CONTENT_TYPE_BYTES, MAX_KEY_BYTES } from "../../core/base/limits.ts";
import type { Log } from "../../core/base/log.ts";
import { BadKeyError, OverloadedError, PeerError, UnavailableError } from "../../core/errors.ts";
import {
  type Invalidation,
  invalidationOf,
  MAX_MESSAGE_BYTES,
  parseInvalidation,
} from "../../core/invalidation/message.ts";
import { isFieldValue } from "../../core/semantics/fields.ts";
import { afterText } from "../after.ts";
import { jsonResponse } from "../json.ts";
import { decodeKeyPath, pathEnd, pathStart } from "../key.ts";
import type { Invalidated, ServedGroup, ServedGroups } from "../ports.ts";
import { notAllowed, type Problem, problemOf, problemResponse } from "../problem.ts";
import { Bodies } from "./body.ts";
import { type FlagName, type Flags, flagsBehind, flagsOf } from "./flags.ts";
import type { Gate } from "./gate.ts";
import { Refusal, unknownGroup } from "./refusal.ts";

const DEFAULT_CONTENT_TYPE = "application/octet-stream";
/** The lifetime of a written value, in seconds, as unstorage's driver for HTTP sends it. */
const TTL = "x-ttl";
/** Matches the path after `/_admin/`. */
const INVALIDATE = /^groups\/([^/]+)\/invalidate$/;
/** Refused: a client relies on these conditions, and this route does not check them. */
const CONDITIONS = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];

export interface ChangesOptions {
  readonly groups: ServedGroups;
  readonly gate: Gate;
  readonly clock: Clock;
  readonly log: Log;
}

/** What a request names: a group, and a key in it. */
export interface Target {
  readonly groupName: string;
  /** `undefined`: the node serves no such group. */
  readonly served: ServedGroup | undefined;
  /** As received. */
  readonly rawKey: string;
  /** With its `?`; `""`: there is no query. */
  readonly query: string;
}

/** The methods that `/cache/<group>/<key>` accepts for a group that is no site. */
export function allowOf(served: ServedGroup | undefined): string {
  return served?.isWritable ? "GET, HEAD, PUT, DELETE, PURGE" : "GET, HEAD, PURGE";
}

/** The handlers of changes. None of their promises rejects. */
export class Changes {
  readonly #groups: ServedGroups;
  readonly #gate: Gate;
  readonly #log: Log;
  readonly #bodies: Bodies;

  constructor({ groups, gate, clock, log }: ChangesOptions) {
    this.#groups = groups;
    this.#gate = gate;
    this.#log = log;
    this.#bodies = new Bodies(clock);
  }

  /** Answers every method except GET and HEAD at `/cache/<group>/<key>`; for a site, PURGE only. */
  cache(request: Request, target: Target): Response | Promise<Response> {
    const { method } = request;
    const { served } = target;
    const isWrite = method === "PUT" || method === "DELETE";
    if (method !== "PURGE" && !(isWrite && served?.isWritable)) return notAllowed(method, allowOf(served));
    const refusal = this.#gate.change(request);
    if (refusal !== undefined) return refusal;
    return this.#answer(method, target.groupName, served, async (served) => {
      if (method === "PURGE") return await this.#purge(served, target);
      return method === "PUT" ? await this.#put(request, served, target) : await this.#delete(request, served, target);
    });
  }

  /**
   * Answers `POST /_admin/groups/<group>/invalidate` with a message as JSON. Checks the operator first, so that others
   * cannot learn which paths exist.
   */
  admin(request: Request): Response | Promise<Response> {
    const refusal = this.#gate.change(request);
    if (refusal !== undefined) return refusal;
    const { url, method } = request;
    const start = pathStart(url);
    const end = pathEnd(url, start);
    const [, groupName] = INVALIDATE.exec(url.slice(start + "/_admin/".length, end)) ?? [];
    if (groupName === undefined) {
      return problemResponse({ status: 404, detail: "there is nothing under this path" });
    }
    if (method !== "POST") return notAllowed(method, "POST");
    return this.#answer(method, groupName, this.#groups.get(groupName), async ({ invalidation }) => {
      const flags = flagsIn(url.slice(end), ["wait"]);
      const message = messageIn(await this.#bodies.read(request, MAX_MESSAGE_BYTES));
      return await invalidation.invalidate(message, { waitMs: flags.waitMs });
    });
  }

  async #answer(
    method: string,
    groupName: string,
    served: ServedGroup | undefined,
    change: (served: ServedGroup) => Promise<Invalidated>,
  ): Promise<Response> {
    if (served === undefined) {
      return problemResponse(unknownGroup(groupName, this.#groups).problem);
    }
    try {
      return jsonResponse(answerOf(await change(served)));
    } catch (error) {
      if (error instanceof Refusal) return problemResponse(error.problem);
      const problem = changeProblemOf(error, method, groupName);
      if (problem.unexpected) {
        const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
        this.#log.error(`cannot change ${groupName}: ${reason}`, { group: groupName, error });
      }
      return problemResponse(problem);
    }
  }

  async #purge(served: ServedGroup, { rawKey, query }: Target): Promise<Invalidated> {
    const { soft, waitMs, keys } = served.site === undefined
      ? { ...flagsIn(query, ["soft", "wait"]), keys: [decodeKeyPath(rawKey)] }
      : flagsBehind(rawKey + query);
    const kept = keys.filter((key) => Buffer.byteLength(key) <= MAX_KEY_BYTES);
    if (kept.length === 0) throw new BadKeyError(`A key of more than ${MAX_KEY_BYTES} bytes of UTF-8 is never cached`);
    return await served.invalidation.invalidate(invalidationOf({ keys: kept, soft }), { waitMs });
  }

  async #put(request: Request, served: ServedGroup, { rawKey, query }: Target): Promise<Invalidated> {
    const [key, { waitMs }] = [decodeKeyPath(rawKey), flagsIn(query, ["wait"])];
    const { headers } = request;
    refuseConditions(headers);
    const coding = headers.get("content-encoding");
    if (coding !== null) {
      throw new Refusal(415, `a value is stored as it is, without its Content-Encoding: send it without ${coding}`);
    }
    if (headers.has("content-range")) throw new Refusal(400, "a value is written whole, not in parts");
    const contentType = headers.get("content-type") || DEFAULT_CONTENT_TYPE;
    if (Buffer.byteLength(contentType) > MAX_CONTENT_TYPE_BYTES) {
      throw new Refusal(400, `Content-Type must have at most ${MAX_CONTENT_TYPE_BYTES} bytes`);
    }
    if (!isFieldValue(contentType)) throw new Refusal(400, "Content-Type must have no control characters");
    const ttlMs = ttlIn(headers);
    const body = await this.#bodies.read(request, served.valueBytesMax);
    return await served.invalidation.write(key, { body, contentType, ...ttlMs }, { waitMs });
  }

  async #delete({ headers }: Request, { invalidation }: ServedGroup, { rawKey, query }: Target): Promise<Invalidated> {
    const { waitMs } = flagsIn(query, ["wait"]);
    refuseConditions(headers);
    return await invalidation.invalidate(deletedBy(rawKey), { waitMs });
  }
}

/**
 * A last path segment `:` means all keys under the path before it, or the whole group. unstorage clears in this way.
 */
function deletedBy(rawKey: string): Invalidation {
  if (rawKey === ":") return invalidationOf({ all: true });
  if (rawKey.endsWith("/:")) return invalidationOf({ prefixes: [decodeKeyPath(rawKey.slice(0, -1))] });
  return invalidationOf({ keys: [decodeKeyPath(rawKey)] });
}

/**
 * @returns an empty object if the client names no lifetime
 * @throws Refusal
 */
function ttlIn(headers: Headers): { readonly ttlMs?: number } {
  const text = headers.get(TTL);
  if (text === null) return {};
  const ttlMs = /^\d{1,9}(\.\d{1,3})?$/.test(text) ? Math.round(Number(text) * 1_000) : 0;
  if (ttlMs > 0) return { ttlMs };
  throw new Refusal(400, `${TTL} must be a number of seconds above 0`);
}

/** @throws Refusal */
function flagsIn(query: string, allowed: readonly FlagName[]): Flags {
  const flags = flagsOf(query, allowed);
  if (flags !== undefined) return flags;
  throw new Refusal(400, `the query may hold ${allowed.join(" and ")} only: a question mark in a key is written %3F`);
}

/** @throws Refusal */
function messageIn(body: Uint8Array): Invalidation {
  try {
    return parseInvalidation(body);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new Refusal(400, `the message cannot be used: ${error.message}`);
  }
}

/** @throws Refusal */
function refuseConditions(headers: Headers): void {
  const name = CONDITIONS.find((condition) => headers.has(condition));
  if (name !== undefined) throw new Refusal(400, `${name} has no effect on a write: leave it out`);
}

function answerOf({ label, applied, behind, durableMs, appliedMs }: Invalidated): object {
  const { sequence, epoch } = label;
  return { sequence, epoch, after: afterText(label), applied, behind, durableMs, appliedMs };
}

/** Tells the client whether a failed change may still take effect. */
function changeProblemOf(error: unknown, method: string, group: string): Problem {
  if (error instanceof UnavailableError) {
    const detail = error.isAmbiguous
      ? "NATS has not answered: it may have been invalidated, and may yet be"
      : "NATS cannot be reached: nothing was invalidated";
    return { status: 503, detail, code: "unavailable" };
  }
  if (method === "PUT" && (error instanceof OverloadedError || error instanceof PeerError)) {
    const why = error instanceof PeerError ? "the owner of the key cannot be reached" : "no node has room for it";
    return { status: 503, detail: `${why}: the old value is gone, and the new one is not stored`, code: "not-stored" };
  }
  return problemOf(error, group, "key");
}
