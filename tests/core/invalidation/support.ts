/** What the tests of invalidation share. */
import type { Group } from "../../../lib/core/group/group.ts";
import type { GroupOptions } from "../../../lib/core/group/options.ts";
import type { Label } from "../../../lib/core/invalidation/label.ts";
import type { InvalidationLog } from "../../../lib/core/invalidation/log.ts";
import { encodeInvalidation, type Invalidation, invalidationOf } from "../../../lib/core/invalidation/message.ts";
import { LogPosition, type LogPositionOptions } from "../../../lib/core/invalidation/position.ts";
import type { Tags } from "../../../lib/core/invalidation/tags.ts";
import { Validity, type ValidityOptions } from "../../../lib/core/invalidation/validity.ts";
import type { LifetimePolicy } from "../../../lib/core/lifetime/policy.ts";
import type { LoadContext } from "../../../lib/core/ports.ts";
import { PLAIN, type Value } from "../../../lib/core/value.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { type CountingOrigin, read, text } from "../cluster.ts";
import { threeNodes } from "../lifetime/support.ts";
import { valueOf } from "../support.ts";
import type { TestLogView } from "./log.ts";

export const EPOCH = 7;

export function at(sequence: number, epoch = EPOCH): Label {
  return { epoch, sequence };
}

export function encode(message: Partial<Invalidation>): Uint8Array {
  return encodeInvalidation(invalidationOf(message));
}

/** A log that tells nothing by itself. `looks` counts the calls of `catchUp`. */
export class SilentLog implements InvalidationLog {
  looks = 0;
  readonly isLocal: boolean;

  constructor(isLocal = false) {
    this.isLocal = isLocal;
  }

  followLog(): void {}

  publish(): Promise<Label> {
    return Promise.reject(new Error("not in this test"));
  }

  async catchUp(): Promise<void> {
    this.looks++;
  }
}

/** A position that is moved by hand. */
export function makePosition(options: Partial<LogPositionOptions> & { log?: SilentLog } = {}) {
  const clock = new ManualClock();
  const log = options.log ?? new SilentLog();
  return { clock, log, position: new LogPosition({ clock, log, ...options }) };
}

/** The validity of one group, at the start of a log. `tell` adds a message for it, and returns its label. */
export function makeValidity(options: Partial<ValidityOptions> = {}) {
  const { clock, position } = makePosition();
  const validity = new Validity({ position, clock, ...options });
  position.add("dict", validity);
  position.restart(at(0));
  position.settled(0, clock.nowMs());
  const tell = (message: Partial<Invalidation>, group = "dict") => {
    position.take(position.label.sequence + 1, group, encode(message));
    return position.label;
  };
  return { clock, position, validity, tell };
}

export function labelled(label: Label, { tags = [], ...parts }: Partial<Value> & { tags?: Tags } = {}): Value {
  return valueOf("body", { about: { ...PLAIN, tags }, ...parts, label });
}

/** Of each kind, one that covers `key`, which has the tag "red". */
export const kindsFor = (key: string): readonly Partial<Invalidation>[] => [
  { keys: [key] },
  { prefixes: [key.slice(0, -1)] },
  { tags: ["red"] },
  { all: true },
];

/** Three nodes; `key` is owned by b, with c next in rank. The origin numbers its loads, and tags its answers "red". */
export function nodes(lifetime: Partial<LifetimePolicy> = {}, options: Partial<GroupOptions> = {}) {
  const cluster = threeNodes(lifetime, options);
  const { origin, log, logs } = cluster;
  origin.answer = (_key, context) => ({ ...text(numbered(origin, context)), tags: ["red"] });
  const [viewA, viewB, viewC] = ["a", "b", "c"].map((name) => logs.get(name)!) as [
    TestLogView,
    TestLogView,
    TestLogView,
  ];
  return {
    ...cluster,
    all: [cluster.a, cluster.b, cluster.c],
    invalidate: log.invalidate.bind(log),
    viewA,
    viewB,
    viewC,
  };
}

/** `v1` for the first load, counted when it begins. */
export function numbered(origin: CountingOrigin, context: LoadContext): string {
  return `v${origin.contexts.indexOf(context) + 1}`;
}

/** The loads that begin from now on wait, until the function that this gives is called; those after that do not. */
export function shut(origin: CountingOrigin): () => void {
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  return () => {
    if (origin.gate === gate.promise) origin.gate = Promise.resolve();
    gate.resolve();
  };
}

/** What a node has in memory for its clients. */
export function held(group: Group, key: string): string | undefined {
  const hit = group.lookup(key);
  return hit && read(hit);
}

/** A get, its answer read. */
export async function got(group: Group, key: string, after?: Label): Promise<string> {
  return read(await group.get(key, { after }));
}

/** Whether the promise has resolved, and to what. */
export async function now<T>(promise: Promise<T> | T): Promise<T | "waits"> {
  await settle(100);
  return await Promise.race([promise, Promise.resolve("waits" as const)]);
}
