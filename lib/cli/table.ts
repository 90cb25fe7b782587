/** Tables and colours for terminals. */

/** The meaning of a cell, which only its colour shows. */
export type Tone = "good" | "bad" | "doubtful" | "dim";

/** A cell: a text, or a text with a tone. Numbers stand on the right. */
export type Cell = string | number | { readonly text: string; readonly tone: Tone };

/** SGR parameters (ECMA-48). */
const SGR: Readonly<Record<Tone | "head", string>> = { good: "32", bad: "31", doubtful: "33", dim: "2", head: "1" };

/**
 * Lines of aligned columns, each with a line feed.
 *
 * @param isColoured whether escape sequences may be written
 */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[], isColoured: boolean): string {
  const texts = rows.map((row) => row.map(textOf));
  const widths = head.map((title, column) => Math.max(title.length, ...texts.map((row) => row[column]!.length)));
  const isOfNumbers = head.map((_, column) => rows.some((row) => typeof row[column] === "number"));
  const line = (cells: readonly Cell[], tone?: "head") =>
    cells.map((cell, column) => {
      const text = textOf(cell);
      const isLast = column === cells.length - 1;
      const space = " ".repeat(widths[column]! - text.length);
      const shown = coloured(text, tone ?? (typeof cell === "object" ? cell.tone : undefined), isColoured);
      return typeof cell === "number" || (tone === "head" && isOfNumbers[column])
        ? space + shown
        : shown + (isLast ? "" : space);
    }).join("  ").trimEnd() + "\n";
  return line(head, "head") + rows.map((row) => line(row)).join("");
}

/** @param tone `undefined`: no colour */
export function coloured(text: string, tone: Tone | "head" | undefined, isColoured: boolean): string {
  return tone === undefined || !isColoured ? text : `\x1b[${SGR[tone]}m${text}\x1b[0m`;
}

/** Removes control characters from another machine's text, as they could control the terminal. */
export function plain(text: string): string {
  return text.replace(/\p{Cc}/gu, "?");
}

function textOf(cell: Cell): string {
  return plain(typeof cell === "object" ? cell.text : String(cell));
}

/** `1.5 MB`: three digits at most; units of a thousand. */
export function bytesText(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [amount, unit] = [bytes, 0];
  for (; amount >= 999.5 && unit < units.length - 1; unit++) amount /= 1_000;
  return `${unit === 0 || amount >= 99.5 ? Math.round(amount) : amount.toFixed(1)} ${units[unit]}`;
}

/** `1.5 s`, `2 min`, `3 h`, `4 d`; `null` is no end. */
export function spanText(ms: number | null): string {
  if (ms === null) return "no end";
  const sign = ms < 0 ? "-" : "";
  const size = Math.abs(ms);
  if (size < 1_000) return `${sign}${Math.round(size)} ms`;
  if (size < 60_000) return `${sign}${(size / 1_000).toFixed(1)} s`;
  if (size < 3_600_000) return `${sign}${Math.round(size / 60_000)} min`;
  return size < 172_800_000 ? `${sign}${Math.round(size / 3_600_000)} h` : `${sign}${Math.round(size / 86_400_000)} d`;
}

/** `99.5 %`; `-` if the whole is 0. */
export function shareText(part: number, whole: number): string {
  return whole === 0 ? "-" : `${(100 * part / whole).toFixed(1)} %`;
}
