/** A value with the facts that a load gives about it. */
import type { Loaded } from "../origins/module/contract.ts";

/** The facts that a load may give about a value. For missing ones the policy of the group counts. */
export type AnswerFields = Omit<Loaded, "body" | "status">;

/**
 * The result of a load that gives more than the value. In a group of JSON any object is the value itself, so there this
 * class is the only way.
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
  /** The facts about the value. */
  readonly fields: AnswerFields;

  /** Joins a value with its `fields`. */
  constructor(value: Value, fields: AnswerFields = {}) {
    this.value = value;
    this.fields = fields;
  }
}
