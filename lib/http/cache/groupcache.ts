/**
 * The groupcache wire, as golang/groupcache speaks it over HTTP (its `groupcachepb/groupcache.proto`):
 *
 *     message GetResponse {
 *       optional bytes  value      = 1;
 *       optional double minute_qps = 2;
 *     }
 *
 * A Go peer's client asks `GET <base>/_groupcache/<group>/<key>`, both escaped with `url.QueryEscape`, takes any status
 * but 200 for a failure, and loads by itself then.
 */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

export const groupcacheContentType = "application/x-protobuf";

const valueField = 1;
const minuteQpsField = 2;

export interface GetResponse {
  readonly value: Uint8Array;
  /** How often the key is asked for, per minute; golang/groupcache's client reads it and does nothing with it. */
  readonly minuteQps?: number;
}

/** The value is written even when empty: the field is optional, and absent is not empty. */
export function encodeGetResponse(response: GetResponse): Uint8Array<ArrayBuffer> {
  const writer = new BinaryWriter();
  writer.tag(valueField, WireType.LengthDelimited).bytes(response.value);
  if (response.minuteQps !== undefined) writer.tag(minuteQpsField, WireType.Bit64).double(response.minuteQps);
  return writer.finish();
}

/**
 * Unknown fields are skipped, the last of a repeated field counts, and an absent value is empty, as protobuf has it.
 *
 * @throws RangeError or Error the bytes are no GetResponse
 */
export function decodeGetResponse(bytes: Uint8Array): GetResponse {
  const reader = new BinaryReader(bytes);
  let value: Uint8Array = new Uint8Array(0);
  let minuteQps: number | undefined;
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === valueField && wireType === WireType.LengthDelimited) value = reader.bytes();
    else if (field === minuteQpsField && wireType === WireType.Bit64) minuteQps = reader.double();
    else reader.skip(wireType, field);
  }
  return minuteQps === undefined ? { value } : { value, minuteQps };
}
