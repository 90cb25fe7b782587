/** How a group's values are given and taken: as bytes, as text, or as JSON. */
import { OriginError } from "../core/errors.ts";
import type { LoadResult } from "../origins/module/contract.ts";
import { Answer } from "./answer.ts";
import type { ValueType } from "./options.ts";

/** Between the values of a program and the bytes that nodes keep. */
export interface Codec {
  /** By the contract of a module, what a load has returned. @throws OriginError it cannot be written */
  resultOf(returned: unknown): LoadResult;
  /** A value of the caller's own: nothing of it is shared with the cache. @throws OriginError it cannot be read */
  decode(body: Uint8Array<ArrayBuffer>): unknown;
  /** The bytes of a value that is put. @throws TypeError none of this type */
  encode(value: unknown): { readonly body: Uint8Array<ArrayBuffer>; readonly contentType: string };
}

const TEXT = "text/plain; charset=utf-8";
const JSON_TYPE = "application/json";
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** As it is; `answerOf` refuses what is no body. */
function resultOf(returned: unknown): LoadResult {
  const isAnswer = returned instanceof Answer;
  return (isAnswer ? { ...returned.fields, body: returned.value } : returned) as LoadResult;
}

const bytes: Codec = {
  resultOf,
  decode: (body) => body.slice(),
  encode(value) {
    if (value instanceof Uint8Array) {
      return { body: new Uint8Array(value), contentType: "application/octet-stream" };
    }
    throw new TypeError(`Cannot put ${typeof value} as it must be a Uint8Array`);
  },
};

const text: Codec = {
  resultOf,
  decode: (body) => decoder.decode(body),
  encode(value) {
    if (typeof value === "string") {
      return { body: encoder.encode(value), contentType: TEXT };
    }
    throw new TypeError(`Cannot put ${typeof value} as it must be a text`);
  },
};

const json: Codec = {
  resultOf(returned) {
    const { value, fields } = returned instanceof Answer ? returned : new Answer(returned);
    if (value === undefined || value === null || value instanceof Response) return value;
    const body = isWritten(value) ? value : JSON.stringify(value);
    if (body === undefined) {
      throw new OriginError(`load returned a ${typeof value}, which JSON cannot say`);
    }
    return { contentType: JSON_TYPE, ...fields, body };
  },
  decode(body) {
    try {
      return JSON.parse(decoder.decode(body));
    } catch (error) {
      throw new OriginError("the value is not JSON", { cause: error });
    }
  },
  encode(value) {
    const written = JSON.stringify(value);
    if (written === undefined) {
      throw new TypeError(`Cannot put a ${typeof value} as JSON cannot say it`);
    }
    return { body: encoder.encode(written), contentType: JSON_TYPE };
  },
};

/** Bytes are JSON that is written already. */
function isWritten(value: unknown): value is Uint8Array | ArrayBuffer | ReadableStream<Uint8Array> {
  return value instanceof Uint8Array || value instanceof ArrayBuffer ||
    value instanceof ReadableStream;
}

/** By the `type` of a group. */
export const codecs: Readonly<Record<ValueType, Codec>> = { bytes, text, json };
