/**
 * The groupcache wire, as golang/groupcache speaks it over HTTP (its `groupcachepb/groupcache.proto`):
 *
 *     message GetResponse {
 *       optional bytes  value      = 1;
 *       optional double minute_qps = 2;
 *     }
 *
 * A Go peer asks `GET <base>/_groupcache/<group>/<key>`, both escaped with `url.QueryEscape`. For the Go peer any
 * status except 200 is a failure; it then loads the value itself.
 */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

export const groupcacheContentType = "application/x-protobuf";

const valueField = 1;
const minuteQpsField = 2;

export interface GetResponse {
  readonly value: Uint8Array;
  /** Requests for the key per minute; golang/groupcache's client reads it and does not use it. */
  readonly minuteQps?: number;
}

/** Writes the field for an empty value too, because an absent value is not an empty one. */
export function encodeGetResponse(response: GetResponse): Uint8Array<ArrayBuffer> {
  const writer = new BinaryWriter();
  writer.tag(valueField, WireType.LengthDelimited).bytes(response.value);
  if (response.minuteQps !== undefined) writer.tag(minuteQpsField, WireType.Bit64).double(response.minuteQps);
  return writer.finish();
}

/**
 * Follows protobuf: skips unknown fields, takes the last of a repeated field, and reads an absent value as empty.
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
