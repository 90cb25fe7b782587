/**
 * HTTP-date (RFC 9110, section 5.6.7): three formats, read strictly except for upper and lower case. `Date.parse`
 * accepts far more, and differs between runtimes. The npm packages for this are unmaintained or unavailable.
 */
const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const MONTH = `(${MONTHS.join("|")})`;
const TIME = "(\\d{2}):(\\d{2}):(\\d{2})";
const IMF = new RegExp(`^(?:mon|tue|wed|thu|fri|sat|sun), (\\d{2}) ${MONTH} (\\d{4}) ${TIME} gmt$`);
const RFC850 = new RegExp(`^(?:mon|tues|wednes|thurs|fri|satur|sun)day, (\\d{2})-${MONTH}-(\\d{2}) ${TIME} gmt$`);
const ASCTIME = new RegExp(`^(?:mon|tue|wed|thu|fri|sat|sun) ${MONTH} ([ \\d]\\d) ${TIME} (\\d{4})$`);

/** Parses to Unix milliseconds; `undefined` for any other text. @param nowMs decides the century of a two-digit year */
export function parseHttpDate(text: string, nowMs: number): number | undefined {
  const lower = text.toLowerCase();
  let parts = IMF.exec(lower);
  if (parts !== null) return utcMs(parts[3]!, parts[2]!, parts[1]!, parts[4]!, parts[5]!, parts[6]!);
  parts = RFC850.exec(lower);
  if (parts !== null) {
    const year = fullYear(Number(parts[3]), new Date(nowMs).getUTCFullYear());
    return utcMs(String(year), parts[2]!, parts[1]!, parts[4]!, parts[5]!, parts[6]!);
  }
  parts = ASCTIME.exec(lower);
  return parts === null ? undefined : utcMs(parts[6]!, parts[1]!, parts[2]!, parts[3]!, parts[4]!, parts[5]!);
}

/** Formats as IMF-fixdate, the only format that may be sent. */
export function formatHttpDate(atMs: number): string {
  return new Date(atMs).toUTCString();
}

/** A two-digit year more than 50 years in the future means the most recent past year with the same two digits. */
function fullYear(twoDigits: number, nowYear: number): number {
  const year = nowYear - nowYear % 100 + twoDigits;
  return year > nowYear + 50 ? year - 100 : year;
}

function utcMs(year: string, month: string, day: string, hour: string, minute: string, second: string) {
  // Not Date.UTC, as it takes the years 0 to 99 for 1900 to 1999.
  const date = new Date(0);
  const dayMs = date.setUTCFullYear(Number(year), MONTHS.indexOf(month), Number(day));
  // 31 February would roll over to March, and minute 75 into the next hour: neither is a date. A leap second is valid.
  const isReal = date.getUTCDate() === Number(day) && Number(hour) < 24 && Number(minute) < 60 && Number(second) <= 60;
  return isReal ? dayMs + ((Number(hour) * 60 + Number(minute)) * 60 + Number(second)) * 1_000 : undefined;
}
