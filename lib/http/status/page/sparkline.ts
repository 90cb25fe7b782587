/** Small plots over time, as SVG text. */

const WIDTH = 160;
const HEIGHT = 32;
/** This many values fill the whole width; if there are more, all of them do. Chosen: a minute. */
const LEAST_SLOTS = 30;
/** Leaves room at the edges for a line two pixels wide. */
const MARGIN = 2;

/** One line of a plot. */
export interface Line {
  /** Its name, for its CSS class and for readers. */
  readonly name: string;
  /** The oldest first. */
  readonly values: readonly number[];
}

/**
 * The lines on one scale, from 0 to the highest value. A node that has just started has few values; they are drawn at
 * the right.
 */
export function sparkline(lines: readonly Line[]): string {
  const slots = Math.max(LEAST_SLOTS, ...lines.map(({ values }) => values.length));
  const most = Math.max(0, ...lines.flatMap(({ values }) => values));
  const label = lines.map(({ name, values }) => `${name} ${rateText(values.at(-1) ?? 0)}/s`).join(", ");
  const drawn = lines.map(({ name, values }) =>
    `<polyline class="${name}" points="${pointsOf(values, most, slots)}"/>`
  );
  const title = `${label}; at most ${rateText(most)}/s in the last minutes`;
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${title}">` +
    `<title>${title}</title>${drawn.join("")}</svg>`;
}

function pointsOf(values: readonly number[], most: number, slots: number): string {
  const step = (WIDTH - 2 * MARGIN) / Math.max(1, slots - 1);
  const scale = most === 0 ? 0 : (HEIGHT - 2 * MARGIN) / most;
  return values.map((value, i) => {
    const x = WIDTH - MARGIN - (values.length - 1 - i) * step;
    return `${x.toFixed(1)},${(HEIGHT - MARGIN - value * scale).toFixed(1)}`;
  }).join(" ");
}

/** A short text with enough digits to read. */
export function rateText(perSecond: number): string {
  if (perSecond === 0) return "0";
  if (perSecond < 10) return perSecond.toFixed(1);
  return perSecond < 10_000 ? String(Math.round(perSecond)) : `${Math.round(perSecond / 1_000)}k`;
}
