/** The figures of the workers of one machine as those of one: what `/stats` says on the public address. */
import type { GroupFigures, MachineFace, NodeReport, WorkerReport } from "../ports.ts";

/** @param own the report of the worker that answers: the rosters are as it knows them */
export function machineStats(machine: MachineFace, own: NodeReport, workers: readonly WorkerReport[]): object {
  const { version, runtime } = own;
  return {
    name: machine.name,
    url: machine.url,
    version,
    runtime,
    groups: summed(own, workers),
    workers: workers.map(({ name, url, report, fault }) => report ?? { name, url, fault }),
  };
}

/** Every number of each group, added up over the workers; the rosters are `own`'s. */
export function summed(own: NodeReport, workers: readonly WorkerReport[]): Record<string, GroupFigures> {
  const reports = workers.flatMap(({ report }) => report ?? []);
  return Object.fromEntries(
    Object.entries(own.groups).map(([group, { roster }]) => {
      const parts = reports.flatMap(({ groups }) => Object.hasOwn(groups, group) ? [groups[group]!] : []);
      return [group, { ...sumOf(parts), ...(roster === undefined ? {} : { roster }) }];
    }),
  );
}

/** Numbers, and those of the objects among the fields (the caches); all else has no sum. */
function sumOf(parts: readonly object[]): Record<string, unknown> {
  const total: Record<string, unknown> = {};
  for (const part of parts) {
    for (const [name, value] of Object.entries(part)) {
      const before = total[name];
      if (typeof value === "number") total[name] = (typeof before === "number" ? before : 0) + value;
      else if (isObject(value) && name !== "roster") total[name] = sumOf(isObject(before) ? [before, value] : [value]);
    }
  }
  return total;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
