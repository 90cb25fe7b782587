/**
 * Finds dot segments in every spelling that some server reads as one: dots and slashes escaped once or more often,
 * backslashes, and parameters after the dots (`..;a/`, which Tomcat cuts off).
 */

/** `%2f`, `%252f`, … */
const escaped = (hex: string) => `%(?:25)*${hex}`;
const DOT = `(?:\\.|${escaped("2e")})`;
/** Separators of segments for some server, besides a raw slash. */
const HIDDEN_SLASH = `\\\\|${escaped("2f")}|${escaped("5c")}`;
const END = `$|;|${escaped("3b")}`;
const ANY = new RegExp(`(?:^|/|${HIDDEN_SLASH})${DOT}{1,2}(?:/|${HIDDEN_SLASH}|${END})`, "i");
const UP = new RegExp(`^${DOT}{2}(?:${END})`, "i");
const HERE = new RegExp(`^${DOT}(?:${END})`, "i");
const HIDDEN_SLASHES = new RegExp(HIDDEN_SLASH, "i");

/** Whether a path, in the form that is sent, has a dot segment. */
export function hasDotSegment(path: string): boolean {
  return ANY.test(path);
}

/**
 * Whether a path that is sent after a folder leads out of that folder for some server. If servers differ, the one that
 * goes up most counts.
 */
export function leadsOut(path: string): boolean {
  if (!ANY.test(path)) return false;
  let depth = 0;
  for (const segment of path.split("/")) {
    const parts = segment.split(HIDDEN_SLASHES);
    const ups = parts.filter((part) => UP.test(part)).length;
    // It is unknown how far down a segment with hidden slashes leads, so beside its `..` its other parts do not count.
    // An empty segment may be no step for some server.
    if (ups > 0) depth -= ups;
    else if (segment !== "" && !HERE.test(segment)) depth++;
    if (depth < 0) return true;
  }
  return false;
}
