/**
 * Muster inside a program: a node whose values are loaded by functions of that program, once in the whole cluster.
 *
 * @example
 * ```ts
 * import { createNode } from "muster-cache";
 *
 * await using node = await createNode({
 *   nats: "off", // of a cluster: "nats://127.0.0.1:4222"
 *   groups: { greetings: { type: "text", load: (name) => `Hello, ${name}!` } },
 * });
 * const greeting = await node.group("greetings").get("Ada");
 * if (greeting !== "Hello, Ada!") throw new Error(greeting);
 * ```
 * @module
 */
export { Answer, type AnswerFields } from "./library/answer.ts";
export { createNode } from "./library/create-node.ts";
export type {
  GroupOptions,
  GroupPolicy,
  Groups,
  JsonLoadGroup,
  JsonOf,
  LoadGroup,
  NodeLog,
  NodeOptions,
  OriginGroup,
  ReloadOptions,
  ValueOf,
  ValueType,
} from "./library/options.ts";
export type {
  Arrival,
  CacheGroup,
  Change,
  Changed,
  ChangeOptions,
  GetOptions,
  MusterNode,
  PutOptions,
} from "./library/surface.ts";
export type { Body, Loaded, LoadOptions, LoadResult, Stale } from "./origins/module/contract.ts";
export {
  BadKeyError,
  ConfigError,
  NotFoundError,
  OriginError,
  OriginTimeoutError,
  OriginUnreachableError,
  OverloadedError,
  UnavailableError,
} from "./core/errors.ts";
