/** Counts answers. A group's meter counts the group's answers; all others are counted by route. */
import { StatusCounts } from "../core/measure/status-counts.ts";
import type { AnswerMeter } from "../core/measure/answer-meter.ts";

type Answer = Response | Promise<Response>;

/**
 * Counts the answer of a group.
 *
 * @param begun the result of the meter's `begin`
 * @returns the answer, unchanged
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

/**
 * The routes that answer without a group; each has one row of figures. `cache` counts the answers about groups that do
 * not exist.
 */
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

  /** Counts one answer. @returns the answer, unchanged */
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
