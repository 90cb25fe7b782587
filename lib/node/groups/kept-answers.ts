/**
 * Answers to POST that serve later GETs (RFC 9110, section 9.3.3). They are collected while the client receives them.
 */
import { Buffer } from "node:buffer";
import type { Clock } from "../../core/base/clock.ts";
import { MAX_KEY_BYTES } from "../../core/base/limits.ts";
import type { Group } from "../../core/group/group.ts";
import type { Label } from "../../core/invalidation/label.ts";
import type { ForwardedAnswer } from "../../core/ports.ts";
import type { CheckedOrigin } from "../../origins/origin.ts";
import type { SiteFace } from "../../http/ports.ts";
import type { Invalidations } from "../invalidations.ts";

/**
 * Longer answers are not kept. Chosen: forms answer with pages, and the 1,024 requests to one origin hold 1 GiB at
 * most.
 */
const MAX_KEPT_BYTES = 1_024 * 1_024;
/** No client can ask for this key, so no message names it. */
const NO_KEY = "\n";

export interface KeepingOptions {
  readonly group: Group;
  readonly forward: NonNullable<CheckedOrigin["forward"]>;
  readonly invalidations: Invalidations;
  readonly clock: Clock;
  /** The longest value of the group, in bytes. */
  readonly valueBytesMax: number;
}

/** Wraps the `forward` of a site so that it keeps answers to POST where this is allowed. */
export function keepingForward(
  { group, forward, invalidations, clock, valueBytesMax }: KeepingOptions,
): SiteFace["forward"] {
  const maxBytes = Math.min(valueBytesMax, MAX_KEPT_BYTES);
  return async (request, signal) => {
    const { method, key } = request;
    const isWatched = method === "POST" && Buffer.byteLength(key) <= MAX_KEY_BYTES;
    const watch = isWatched ? group.watch(key) : undefined;
    const sinceMs = clock.nowMs();
    let answer: ForwardedAnswer;
    try {
      answer = await forward(request, signal);
    } catch (error) {
      watch?.end();
      throw error;
    }
    const { kept, body } = answer;
    if (watch === undefined || kept === undefined) {
      watch?.end();
      return answer;
    }
    const keep = (own: Label | undefined) => {
      if (own === undefined) {
        watch.end();
        return body;
      }
      const about = { tags: kept.tags ?? [] };
      // The log does not tell which of two changes the site made first, so this answer may be the older one.
      const isLatest = watch.isAlone(own) &&
        !group.validity.isCovered(NO_KEY, { label: watch.begun, freshUntilMs: Infinity, about });
      if (!isLatest) return body;
      const spentMs = clock.nowMs() - sinceMs;
      return collecting(body, maxBytes, (bytes) => {
        void invalidations.give(group.name, key, group.valueOf({ ...kept, body: bytes }, spentMs, own));
      });
    };
    return { ...answer, keep };
  };
}

/**
 * Passes the same bytes on, no faster than they are taken. @param whole gets all of them, unless they are too many or
 * cut
 */
function collecting(
  body: ReadableStream<Uint8Array>,
  maxBytes: number,
  whole: (bytes: Uint8Array<ArrayBuffer>) => void,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let chunks: Uint8Array[] | undefined = [];
  let bytes = 0;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { value, done } = await reader.read();
      if (done) {
        controller.close();
        if (chunks !== undefined) whole(new Uint8Array(Buffer.concat(chunks)));
        return;
      }
      bytes += value.byteLength;
      if (bytes > maxBytes) chunks = undefined;
      // Copy, as the server may take over the buffer.
      else chunks?.push(value.slice());
      controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
}
