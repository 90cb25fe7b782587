/** Faults that are planted on purpose, at least one for each rule. The model must find each: else it proves nothing. */
import { ByteCache } from "../../../../lib/core/cache/byte-cache.ts";
import { Group } from "../../../../lib/core/group/group.ts";
import { BLIND, type Label } from "../../../../lib/core/invalidation/label.ts";
import { Mark, Marks } from "../../../../lib/core/invalidation/marks.ts";
import { LogPosition } from "../../../../lib/core/invalidation/position.ts";
import { type Labelled, Validity } from "../../../../lib/core/invalidation/validity.ts";
import { Failover } from "../../../../lib/core/load/failover.ts";
import { Flights } from "../../../../lib/core/load/flights.ts";
import { OriginLoads } from "../../../../lib/core/load/origin-loads.ts";
import { patch } from "./patch.ts";
import type { ThemeName } from "./model.ts";
import type { Mistakes } from "./world.ts";

export interface Fault {
  /** The number of the rule in lib/core/invalidation/README.md that it breaks. */
  readonly rule: number;
  readonly name: string;
  /** What the product does wrong. @returns what undoes it */
  readonly plant?: () => () => void;
  /** What the runs are about. @default anything */
  readonly theme?: ThemeName;
  /** What is done wrong around it. */
  readonly mistakes?: Mistakes;
}

function both(...undos: (() => void)[]): () => void {
  return () => {
    for (const undo of undos.reverse()) undo();
  };
}

export const FAULTS: readonly Fault[] = [
  {
    rule: 1,
    name: "a value counts as good without a look at what was invalidated",
    plant: () =>
      patch(
        Validity.prototype,
        "check",
        () =>
          function <V extends Labelled>(this: Validity, _key: string, value: V): V {
            value.label = this.applied;
            return value;
          },
      ),
  },
  {
    rule: 1,
    name: "a hit does not compare labels",
    plant: () =>
      patch(ByteCache.prototype, "get", (real) =>
        function (this: ByteCache, key, nowMs, hash) {
          return real.call(this, key, nowMs, hash);
        }),
  },
  {
    rule: 1,
    name: "a pushed value counts as good where it comes to",
    mistakes: { taken: (value, by) => void (value.label = by.label) },
  },
  {
    rule: 1,
    name: "a value that is handed over is labelled by what its node has applied by then",
    mistakes: { handedOver: (value, by) => void (value.label = by.label) },
  },
  {
    rule: 1,
    name: "a value with too many tags is covered by none",
    plant: () => {
      const blunt = <V extends Labelled>(value: V): V => ({ ...value, about: { ...value.about, tags: [] } });
      return both(
        patch(
          Validity.prototype,
          "check",
          (real) =>
            function <V extends Labelled>(this: Validity, key: string, value: V): V | undefined {
              return real.call(this, key, blunt(value)) === undefined ? undefined : value;
            },
        ),
        patch(Validity.prototype, "isCovered", (real) =>
          function (this: Validity, key, value) {
            return real.call(this, key, blunt(value));
          }),
      );
    },
  },
  {
    rule: 1,
    name: "a change that the log has not taken is forgotten",
    plant: () => patch(Validity.prototype, "addPending", () => () => {}),
  },
  { rule: 2, name: "a get of a peer does not carry what the asker has applied", mistakes: { after: () => BLIND } },
  {
    rule: 2,
    name: "an owner that is behind answers all the same",
    plant: () =>
      both(
        patch(Validity.prototype, "reach", () => () => true as const),
        patch(Validity.prototype, "has", () => () => true),
      ),
  },
  {
    rule: 2,
    name: "the word of an owner counts for what the asker has applied since it asked",
    plant: () =>
      patch(Failover.prototype, "answered", (real) =>
        function (this: Failover<unknown>, ask, by, value) {
          (ask as { after: Label }).after = this.after();
          real.call(this, ask, by, value);
        }),
  },
  {
    rule: 3,
    name: "a load is labelled at its end",
    plant: () =>
      patch(OriginLoads.prototype, "load", (real) =>
        async function (this: OriginLoads, ...args) {
          const loaded = await real.apply(this, args);
          const [, , flight] = args;
          const { flights } = flight as unknown as { flights: Flights<unknown> };
          if (!loaded.isStandIn) loaded.value.label = flights.applied();
          return loaded;
        }),
  },
  {
    rule: 3,
    name: "a load answers all who wait for it, whatever its tags",
    plant: () => patch(Flights.prototype, "isFor", () => () => true),
  },
  {
    rule: 3,
    name: "a load that is covered is joined, and answers all",
    plant: () =>
      both(patch(Flights.prototype, "isFor", () => () => true), patch(Flights.prototype, "detach", () => () => {})),
  },
  {
    rule: 3,
    name: "what a load brings is never found to be covered",
    plant: () => patch(Validity.prototype, "isCovered", () => () => false),
  },
  {
    rule: 4,
    name: "a value is overwritten by one with an earlier label",
    plant: () =>
      patch(Validity.prototype, "compare", (real) =>
        function (this: Validity, one, other) {
          return Math.min(0, real.call(this, one, other));
        }),
  },
  {
    rule: 4,
    name: "a pushed copy counts as a later load",
    theme: "handover",
    mistakes: { taken: (value) => void Object.assign(value, { bornAtMs: value.bornAtMs + 1_000_000 }) },
  },
  {
    rule: 4,
    name: "a written value is labelled by the node that it comes to",
    mistakes: { written: (_label, at) => at.label },
  },
  {
    rule: 5,
    name: "a hard invalidation makes values stale only",
    plant: () =>
      patch(
        Validity.prototype,
        "check",
        (real) =>
          function <V extends Labelled>(this: Validity, key: string, value: V): V | undefined {
            return real.call(this, key, value) as V | undefined ?? { ...value, label: this.applied, freshUntilMs: 0 };
          },
      ),
  },
  {
    rule: 5,
    name: "the last soft invalidation counts, not the first",
    theme: "soft",
    plant: () =>
      patch(Marks.prototype, "add", (real) =>
        function (this: Marks, name, sequence, softAtMs) {
          const mark = this.get(name);
          if (mark?.isSoft && softAtMs !== undefined) mark.addHard(mark.hard);
          return real.call(this, name, sequence, softAtMs);
        }),
  },
  {
    rule: 5,
    name: "a soft invalidation takes the place of a hard one",
    theme: "tags",
    plant: () =>
      patch(Mark.prototype, "addSoft", (real) =>
        function (this: Mark, sequence, atMs) {
          this.hard = 0;
          real.call(this, sequence, atMs);
        }),
  },
  {
    rule: 5,
    name: "a soft invalidation does nothing",
    plant: () => patch(Mark.prototype, "addSoft", () => () => {}),
  },
  {
    rule: 6,
    name: "values survive a gap",
    plant: () =>
      patch(Validity.prototype, "restarted", () =>
        function (this: Validity) {
          this.moved();
        }),
  },
  {
    rule: 6,
    name: "labels of another life of the log count",
    plant: () => patch(LogPosition.prototype, "numberOf", () => ({ sequence }) => sequence),
  },
  {
    rule: 9,
    name: "a get after a sequence does not wait for it",
    plant: () => patch(Group.prototype, "reach", () => () => true as const),
  },
  {
    rule: 9,
    name: "a node that has lost touch with the log serves on",
    plant: () => patch(Validity.prototype, "touched", () => () => {}),
  },
];
