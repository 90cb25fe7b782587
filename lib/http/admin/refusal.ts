import type { Problem } from "../problem.ts";

/** A request that is answered with a problem, and changes nothing. */
export class Refusal extends Error {
  readonly problem: Pick<Problem, "status" | "detail">;

  constructor(status: number, detail: string) {
    super(detail);
    this.problem = { status, detail };
  }
}
