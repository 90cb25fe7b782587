/** Counts answers: those of a group at its meter, all others by the route that gave them. */
import { StatusCounts } from "../core/measure/status-counts.ts";
import type { AnswerMeter } from "../core/measure/answer-meter.ts";

type Answer = Response | Promise<Response>;

/**
 * Counts the answer of a group.
 *
 * @param begun what the meter's `begin` gave
 * @returns the answer, as it is
 */
export function counted(meter: AnswerMeter, begun: number, answer: Answer): Answer {
  if (answer instanceof Response) meter.answeredNow(answer.status, begun);
  else {
    const [later, sinceMs] = [meter.beginLater(), meter.nowMs()];
    answer.then(({ status }) => meter.answeredLater(status, later, sinceMs), ignored);
  }
  return answer;
}

function ignored(): void {}

/** What answers without a group: one row of figures each. `cache` has the answers about groups that are not there. */
const ROUTES = ["cache", "admin", "health", "peers", "status", "none"] as const;
type Route = typeof ROUTES[number];

/** The answers of one node that no group has given, by route and status. */
export class RouteAnswers {
  readonly #counts: Readonly<Record<Route, StatusCounts>>;

  constructor() {
    this.#counts = Object.fromEntries(ROUTES.map((route) => [route, new StatusCounts()])) as Record<
      Route,
      StatusCounts
    >;
  }

  /** Counts one answer. @returns it, as it is */
  count<T extends Answer>(route: Route, answer: T): T {
    const counts = this.#counts[route];
    if (answer instanceof Response) counts.add(answer.status);
    else (answer as Promise<Response>).then(({ status }) => counts.add(status), ignored);
    return answer;
  }

  figures(): Record<Route, Record<string, number>> {
    const figures = ROUTES.map((route) => [route, this.#counts[route].figures()] as const);
    return Object.fromEntries(figures) as Record<Route, Record<string, number>>;
  }
}
