/** What the tests of the core share. */
import { PLAIN, type Value } from "../../lib/core/value.ts";

/** A value of a dictionary that lives until it is evicted, but for what the test says. */
export function valueOf(
  body: string | number = "",
  parts: Partial<Omit<Value, "body">> = {},
): Value {
  return {
    // A number: so many bytes.
    body: typeof body === "number" ? new Uint8Array(body) : new TextEncoder().encode(body),
    contentType: "text/plain",
    loadMs: 0,
    about: PLAIN,
    bornAtMs: 0,
    freshUntilMs: Infinity,
    staleWhileRevalidateMs: 0,
    staleIfErrorMs: 0,
    ...parts,
  };
}
