/** Counts answers by status, in bounded memory for any statuses of an origin. */

/** The statuses that are counted separately: a node's own, and the most informative ones of an origin. */
const KNOWN = [
  ...[200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 416],
  ...[422, 426, 429, 499, 500, 501, 502, 503, 504],
];
/** All other statuses count by their class. */
const CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];
const NAMES: readonly string[] = [...KNOWN.map(String), ...CLASSES];
/** Prometheus sees no increase from a missing series to its first value, so these may be shown as 0 before the first one. */
const USUAL: ReadonlySet<string> = new Set(["200", "404", "500", "502", "503", "504"]);

/** The index in the counts for each status below 1,000. */
const PLACES = Uint8Array.from({ length: 1_000 }, (_, status) => {
  const at = KNOWN.indexOf(status);
  const isOfClass = status >= 100 && status < 600;
  return at >= 0 ? at : KNOWN.length + (isOfClass ? Math.floor(status / 100) - 1 : CLASSES.length - 1);
});

/** How many answers had each status. */
export class StatusCounts {
  readonly #counts = new Float64Array(NAMES.length);

  add(status: number): void {
    this.#counts[PLACES[status] ?? NAMES.length - 1]!++;
  }

  /**
   * The counts by status or class (`"200"`, `"5xx"`). Statuses that never came are left out.
   *
   * @param withZeros whether the usual statuses are included with 0
   */
  figures(withZeros = false): Record<string, number> {
    const isShown = (name: string, at: number) => this.#counts[at]! > 0 || withZeros && USUAL.has(name);
    return Object.fromEntries(NAMES.flatMap((name, at) => isShown(name, at) ? [[name, this.#counts[at]!]] : []));
  }
}
