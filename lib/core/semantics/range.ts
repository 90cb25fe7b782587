/** One range of bytes (RFC 9110, section 14). */

export type RangeRequest =
  /** The whole body: for no range, another unit, a malformed range or several ranges (section 14.2 lets a server choose). */
  | { readonly kind: "whole" }
  | { readonly kind: "part"; readonly start: number; readonly end: number }
  | { readonly kind: "unsatisfiable" };

const WHOLE: RangeRequest = { kind: "whole" };

/** @param total bytes of the whole body. `end` of the result is exclusive */
export function rangeOf(value: string | undefined, total: number): RangeRequest {
  const parts = /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(value ?? "");
  if (parts === null) return WHOLE;
  const [first, last] = [parts[1]!, parts[2]!];
  if (first === "" && last === "") return WHOLE;
  if (first === "") {
    const length = Math.min(Number(last), total);
    return length === 0 ? { kind: "unsatisfiable" } : { kind: "part", start: total - length, end: total };
  }
  const start = Number(first);
  const end = last === "" ? total : Math.min(Number(last) + 1, total);
  if (last !== "" && Number(last) < start) return WHOLE;
  return start >= total ? { kind: "unsatisfiable" } : { kind: "part", start, end };
}
