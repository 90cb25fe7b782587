/** Requests of operators that cannot be done. */
import type { Problem } from "../problem.ts";

/** The most names in a refusal. Chosen: an operator finds a typing mistake among them, and the message stays a line. */
const MAX_NAMES = 20;

/** A request that is answered with a problem, and changes nothing. */
export class Refusal extends Error {
  readonly problem: Pick<Problem, "status" | "detail">;

  constructor(status: number, detail: string) {
    super(detail);
    this.problem = { status, detail };
  }
}

/** The known names as `a, b and 3 more`, for a message about an unknown one. */
export function namesText(all: Iterable<string>): string {
  const names = [...new Set(all)].sort();
  const more = names.length - MAX_NAMES;
  const shown = names.slice(0, MAX_NAMES).join(", ");
  return names.length === 0 ? "none" : more > 0 ? `${shown} and ${more} more` : shown;
}

/** The refusal of an unknown group. It lists the known ones, so it is only for operators. */
export function unknownGroup(name: string, groups: { keys(): Iterable<string> }): Refusal {
  return new Refusal(404, `this node serves no group called ${name}: it serves ${namesText(groups.keys())}`);
}
