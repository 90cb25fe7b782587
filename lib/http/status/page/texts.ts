/** Figures as texts for people. */

const MEBIBYTE = 1024 * 1024;

/** A short text with enough digits to read. */
export function rateText(perSecond: number): string {
  if (perSecond === 0) return "0";
  if (perSecond < 10) return perSecond.toFixed(1);
  return perSecond < 10_000 ? String(Math.round(perSecond)) : `${Math.round(perSecond / 1_000)}k`;
}

/** A share with one decimal; 0 % of nothing. */
export function percent(part: number, whole: number): string {
  return whole === 0 ? "0 %" : `${(100 * part / whole).toFixed(1)} %`;
}

/** A number of MiB, without the unit. */
export function mebibytes(bytes: number): string {
  return (bytes / MEBIBYTE).toFixed(bytes < 10 * MEBIBYTE ? 1 : 0);
}

/** A span of time: its largest unit, and the one below it. */
export function spanText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  const [minutes, hours, days] = [60, 3_600, 86_400].map((unit) => Math.floor(seconds / unit)) as [
    number,
    number,
    number,
  ];
  if (days > 0) return `${days} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes % 60} min`;
  return minutes > 0 ? `${minutes} min` : `${seconds} s`;
}

/** The time of day of an ISO date. */
export function clockText(iso: string): string {
  return `${iso.slice(11, 19)} UTC`;
}
