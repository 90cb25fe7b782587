/** Converts a group's values: bytes, text, or JSON. */
import { OriginError } from "../core/errors.ts";
import type { LoadResult } from "../origins/module/contract.ts";
import { Answer } from "./answer.ts";
import type { ValueType } from "./options.ts";

/** Converts between a program's values and the bytes that nodes keep. */
export interface Codec {
  /** Converts the return value of a load, by the contract of a module. @throws OriginError it cannot be encoded */
  resultOf(returned: unknown): LoadResult;
  /**
   * Makes a value that belongs to the caller and shares nothing with the cache. @throws OriginError the bytes cannot be
   * decoded
   */
  decode(body: Uint8Array<ArrayBuffer>): unknown;
  /** The bytes of a value for `put`. @throws TypeError the value is not of this type */
  encode(value: unknown): { readonly body: Uint8Array<ArrayBuffer>; readonly contentType: string };
}

const TEXT = "text/plain; charset=utf-8";
const JSON_TYPE = "application/json";
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Passes it on unchanged; `answerOf` refuses values that are no body. */
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

/** Whether it is already encoded as JSON: bytes are. */
function isWritten(value: unknown): value is Uint8Array | ArrayBuffer | ReadableStream<Uint8Array> {
  return value instanceof Uint8Array || value instanceof ArrayBuffer ||
    value instanceof ReadableStream;
}

/** By the `type` of a group. */
export const codecs: Readonly<Record<ValueType, Codec>> = { bytes, text, json };
