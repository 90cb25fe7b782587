/** A value with what a load says of it. */
import type { Loaded } from "../origins/module/contract.ts";

/** What a load may say of a value. Where it says nothing, the policy of the group counts. */
export type AnswerFields = Omit<Loaded, "body" | "status">;

/**
 * What a load returns to say more than the value. A group of JSON takes any object for the value itself, so there this is
 * the only way.
 *
 * @example A value that lives for a minute, and can be invalidated by a tag
 * ```ts
 * import { Answer, createNode } from "muster-cache";
 *
 * await using node = await createNode({
 *   nats: "off",
 *   groups: {
 *     users: {
 *       type: "json",
 *       load: (id) => new Answer({ id, name: "Ada" }, { ttlMs: 60_000, tags: ["users"] }),
 *     },
 *   },
 * });
 * const { name } = await node.group("users").get("7");
 * if (name !== "Ada") throw new Error(name);
 * await node.group("users").invalidate({ tags: ["users"] });
 * ```
 */
export class Answer<Value> {
  /** The value. */
  readonly value: Value;
  /** What there is to say of it. */
  readonly fields: AnswerFields;

  /** Says `fields` of `value`. */
  constructor(value: Value, fields: AnswerFields = {}) {
    this.value = value;
    this.fields = fields;
  }
}
