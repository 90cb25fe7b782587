/** What the tests of the core share. */
import { BLIND } from "../../lib/core/invalidation/label.ts";
import { LogPosition } from "../../lib/core/invalidation/position.ts";
import { Validity } from "../../lib/core/invalidation/validity.ts";
import { PLAIN, type Value } from "../../lib/core/value.ts";
import { ManualClock } from "../support/clock.ts";

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
    label: BLIND,
    ...parts,
  };
}

/** For caches to which nothing is ever told: all is good. */
export function allGood(): Validity {
  const clock = new ManualClock();
  return new Validity({ position: new LogPosition({ clock }), clock });
}
