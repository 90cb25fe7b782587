/** Requests of operators that cannot be done. */
import type { Problem } from "../problem.ts";

/** Names that a refusal lists. Chosen: an operator finds a typing mistake among them, and the message stays a line. */
const MAX_NAMES = 20;

/** A request that is answered with a problem, and changes nothing. */
export class Refusal extends Error {
  readonly problem: Pick<Problem, "status" | "detail">;

  constructor(status: number, detail: string) {
    super(detail);
    this.problem = { status, detail };
  }
}

/** `a, b and 3 more`: the names that there are, for one that is unknown. */
export function namesText(all: Iterable<string>): string {
  const names = [...new Set(all)].sort();
  const more = names.length - MAX_NAMES;
  const shown = names.slice(0, MAX_NAMES).join(", ");
  return names.length === 0 ? "none" : more > 0 ? `${shown} and ${more} more` : shown;
}

/** The refusal of a group that the node does not know; only operators may see the names of the others. */
export function unknownGroup(name: string, groups: { keys(): Iterable<string> }): Refusal {
  return new Refusal(404, `this node serves no group called ${name}: it serves ${namesText(groups.keys())}`);
}
