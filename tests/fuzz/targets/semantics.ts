/** HTTP fields of clients and of origins, and dates. */
import assert from "node:assert/strict";
import { OriginError } from "../../../lib/core/errors.ts";
import { cacheControlOf, secondsOf, targetedCacheControlOf } from "../../../lib/core/semantics/cache-control.ts";
import {
  freshened,
  isAbout,
  isNotModified,
  isRangeOf,
  unconditional,
  validatorsOf,
} from "../../../lib/core/semantics/conditional.ts";
import { formatHttpDate, parseHttpDate } from "../../../lib/core/semantics/dates.ts";
import {
  endToEnd,
  type Fields,
  isFieldName,
  isFieldValue,
  linesOf,
  membersOf,
} from "../../../lib/core/semantics/fields.ts";
import { freshnessOf, type FreshnessPolicy, hasExplicitLifetime } from "../../../lib/core/semantics/freshness.ts";
import { rangeOf } from "../../../lib/core/semantics/range.ts";
import { invalidatedTags, MAX_TAGS, TagReader } from "../../../lib/core/semantics/tags.ts";
import {
  inLanguage,
  inWantedLanguage,
  languageOf,
  selectionOf,
  varyingNames,
} from "../../../lib/core/semantics/vary.ts";
import { refusalOf } from "../../../lib/http/admin/gate.ts";
import { BadAfterError, readAfter } from "../../../lib/http/after.ts";
import { contentTypeOf, keptFields } from "../../../lib/origins/http/answer.ts";
import { HostCheck } from "../../../lib/http/host.ts";
import type { Dice } from "../dice.ts";
import { checkMessage, latin1Of, type Target, textOf, tried, utf8 } from "../target.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const NOW_MS = Date.UTC(2026, 0, 31, 12);
const URL_TOLD = "http://origin/";
const policy: FreshnessPolicy = {
  honourOrigin: true,
  ttlMs: null,
  staleWhileRevalidateMs: 0,
  staleIfErrorMs: 5,
  hasHeuristics: false,
  keepsCookies: false,
};
const policies: readonly FreshnessPolicy[] = [
  policy,
  { ...policy, hasHeuristics: true },
  { ...policy, honourOrigin: false, ttlMs: 60_000, keepsCookies: true },
  { ...policy, ttlMs: 1_000, hasHeuristics: true },
];
const STATUSES = [200, 203, 206, 304, 404, 500, 599];
const DIRECTIVES = ["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error", "no-cache", "private"];

/** The lines `name: value`, as far as the edges let them in. */
function fieldsOf(input: Bytes): Fields {
  return latin1Of(input).split("\n").flatMap((line): [string, string][] => {
    const colon = line.indexOf(":");
    const [name, value] = [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    return colon > 0 && isFieldName(name) && isFieldValue(value) ? [[name, value]] : [];
  });
}

function runFields(input: Bytes): boolean {
  const fields = fieldsOf(input);
  checkFreshness(fields);
  checkLists(fields);
  checkSelection(fields);
  checkConditions(fields);
  checkTags(fields);
  checkEdges(fields);
  return fields.length > 0;
}

/** A lifetime that is no number would make a value fresh for ever, or never travel. */
function checkFreshness(fields: Fields): void {
  for (const directives of [cacheControlOf(fields), targetedCacheControlOf(fields) ?? new Map()]) {
    for (const name of DIRECTIVES) {
      const seconds = secondsOf(directives, name);
      assert.ok(seconds === undefined || Number.isInteger(seconds) && seconds >= 0 && seconds <= 2 ** 31, name);
    }
  }
  hasExplicitLifetime(fields);
  const status = STATUSES[(fields[0]?.[1].length ?? 0) % STATUSES.length]!;
  const exchange = { requestFields: fields, status, fields, requestedAtMs: NOW_MS - 20, receivedAtMs: NOW_MS };
  for (const policy of policies) {
    const { ageMs, freshMs, staleWhileRevalidateMs, staleIfErrorMs } = freshnessOf(exchange, policy);
    assert.ok(ageMs >= 0 && ageMs < Infinity, `an age of ${ageMs}`);
    assert.ok(freshMs >= -ageMs, `a lifetime of ${freshMs}`);
    for (const ms of [staleWhileRevalidateMs, staleIfErrorMs]) assert.ok(ms >= 0, `a lifetime of ${ms}`);
  }
}

function checkLists(fields: Fields): void {
  for (const [name, value] of fields) {
    const members = membersOf(value);
    assert.equal(membersOf(members.join(", ")).join("\n"), members.join("\n"), name);
  }
  const passed = endToEnd(fields);
  assert.equal(endToEnd(passed).length, passed.length);
}

/** A list in one line, in several, or with spaces says the same. */
function checkSelection(fields: Fields): void {
  const names = varyingNames(fields);
  assert.equal(names.join(), [...new Set(names)].sort().join());
  const says = selectionOf(names, fields);
  // deno-lint-ignore no-control-regex
  assert.ok(!/[\x00\x03-\x08\x0a-\x1f\x7f]/.test(says), "control characters in a selection");
  const apart = names.flatMap((name) =>
    linesOf(fields, name).length === 0
      ? []
      : membersOf(linesOf(fields, name).join(",")).map((member): [string, string] => [name, ` ${member} `])
  );
  const asked = names.filter((name) => linesOf(fields, name).length > 0 && !apart.some(([other]) => other === name));
  const again = selectionOf(names, [...apart, ...asked.map((name): [string, string] => [name, " , "])]);
  assert.equal(again, says);
  const wanted = inWantedLanguage(says);
  if (wanted !== undefined) assert.equal(inWantedLanguage(wanted), wanted);
  const language = languageOf(fields);
  const inIt = inLanguage(says, language);
  if (inIt !== undefined) assert.equal(inLanguage(inIt, language), inIt);
}

function checkConditions(fields: Fields): void {
  assert.equal(unconditional(validatorsOf(fields)).length, 0);
  const fresh = freshened(fields, fields);
  assert.equal(freshened(fresh, fields).join("\n"), fresh.join("\n"));
  assert.ok(isAbout(fields, fields));
  isNotModified(fields, fields, NOW_MS);
  isRangeOf(fields, fields);
  for (const range of linesOf(fields, "range")) {
    for (const total of [0, 1, 1_000, 2 ** 24]) {
      const part = rangeOf(range, total);
      if (part.kind !== "part") continue;
      const { start, end } = part;
      assert.ok(Number.isInteger(start) && Number.isInteger(end) && start >= 0 && start < end && end <= total, range);
    }
  }
}

function checkTags(fields: Fields): void {
  // A reader of its own: a shared one would give the second run of an input what the first one found.
  for (const tags of [new TagReader().of(fields) ?? [], invalidatedTags(fields)]) {
    if (tags === "any") continue;
    assert.ok(tags.length <= MAX_TAGS && new Set(tags).size === tags.length && !tags.includes(""));
    assert.ok(tags.every((tag) => new TextEncoder().encode(tag).length <= 1_024));
  }
}

function checkEdges(fields: Fields): void {
  for (const after of linesOf(fields, "muster-after")) {
    const read = tried(() => readAfter(after), BadAfterError);
    if (read !== undefined) assert.ok(Number.isSafeInteger(read[0].sequence) && read[0].sequence >= 0);
  }
  tried(() => keptFields(fields, URL_TOLD), OriginError);
  tried(() => contentTypeOf(fields, URL_TOLD, "a/b"), OriginError);
  const [host] = linesOf(fields, "host");
  if (host === undefined) return;
  const request = { method: "POST", url: `http://${host}/`, headers: new Headers(fields.map(([...field]) => field)) };
  const isSound = new HostCheck().isSound(request as Request);
  for (const isRead of [false, true]) {
    const refusal = refusalOf(request, true, isRead);
    if (refusal !== undefined) checkMessage(refusal);
    else assert.match(new URL(request.url).hostname, /^(localhost|127\.|\[::1\])/);
  }
  // A port of 99999 is none, but leads nowhere else either.
  if (isSound && URL.canParse(request.url)) assert.equal(new URL(request.url).pathname, "/");
}

const FIELDS = [
  ...['cache-control: max-age=60, s-maxage="10", stale-while-revalidate=5, no-cache="set-cookie, a"', "age: 10"],
  ...["cdn-cache-control: max-age=60;a, s-maxage=1, x=(1 2)", "expires: Sun, 06 Nov 1994 08:49:37 GMT", "expires: 0"],
  ...[
    "date: Sat, 31 Jan 2026 11:59:00 GMT",
    "last-modified: Sunday, 06-Nov-94 08:49:37 GMT",
    'etag: W/"1,2"',
    "vary: *",
  ],
  ...[
    "vary: Accept-Language, accept-encoding",
    "accept-language: de-CH;q=0.5, en, fr;q=1.0",
    "accept-encoding: gzip, br",
  ],
  ...["content-language: de", 'if-none-match: "a", W/"b", *', "if-modified-since: Sun Nov  6 08:49:37 1994"],
  ...['if-range: "a"', "range: bytes=0-499", "range: bytes=-5", 'cache-groups: "a", "b";c', "surrogate-key: a b  c"],
  ...["cache-tag: m\xc3\xa4, b", "xkey: a,b c", 'cache-group-invalidation: "a"', "connection: close, x-a", "x-a: 1"],
  ...[
    "muster-after: 1700000000000000-17",
    'content-type: text/html; charset="utf-8"',
    "host: localhost:8000",
    "via: 1.1 a",
  ],
  ...["authorization: Basic YQ==", "set-cookie: a=b", "pragma: no-cache"],
];
const latin1 = (text: string): Bytes => Uint8Array.from(text, (char) => char.charCodeAt(0));

function madeFields(dice: Dice): Bytes {
  return latin1(Array.from({ length: 1 + dice.size(12) }, () => dice.pick(FIELDS)).join("\n"));
}

const FORMS = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
const IMF = /^\w{3}, (\d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} gmt)$/i;

function runDate(input: Bytes): boolean {
  const text = textOf(input);
  const atMs = parseHttpDate(text, NOW_MS);
  if (atMs === undefined) return false;
  assert.ok(Number.isInteger(atMs / 1_000), text);
  const written = formatHttpDate(atMs);
  assert.equal(parseHttpDate(written, NOW_MS), atMs, text);
  // The name of the day is not judged; a leap second is the next minute.
  const said = IMF.exec(text)?.[1]?.toLowerCase();
  if (said?.includes(":60 ")) assert.equal(parseHttpDate(text.replace(":60 ", ":59 "), NOW_MS), atMs - 1_000, text);
  else if (said !== undefined) assert.equal(IMF.exec(written)![1]!.toLowerCase(), said);
  return true;
}

/** A right date of any year of four digits, or one whose day or time may not exist. */
function madeDate(dice: Dice): Bytes {
  const two = (end: number) => String(dice.below(end)).padStart(2, "0");
  if (dice.isIn(0.5)) {
    return utf8(formatHttpDate(Date.UTC(1970) + (dice.below(8_000 * 366) - 1_900 * 365) * 86_400_000));
  }
  const month = dice.pick(["Jan", "Feb", "Apr", "Dec"]);
  return utf8(`Sun, ${two(34)} ${month} ${two(100)}${two(100)} ${two(26)}:${two(63)}:${two(63)} GMT`);
}

export const semanticsTargets: readonly Target[] = [
  {
    name: "fields",
    seeds: [...FIELDS.map(latin1), latin1(FIELDS.join("\n"))],
    tokens: [
      ...[
        '"',
        '\\"',
        ",",
        ", ",
        ";q=",
        "q=0.5",
        "=",
        ";",
        "(",
        ")",
        ":",
        "\n",
        "*",
        "W/",
        "max-age=",
        "s-maxage",
        "?1",
        "%",
      ],
      ...[
        "999999999999999999999",
        "bytes=",
        "-",
        "\t",
        " ",
        "de",
        "vary: ",
        "a, ",
        "\ncache-tag: ",
        "\nconnection: ",
        "@1",
      ],
    ],
    make: madeFields,
    run: runFields,
  },
  {
    name: "dates",
    seeds: FORMS.map(utf8),
    tokens: ["GMT", "Feb", "31", "60", "00", "24", "9999", "0000", "0099", " ", ", ", "Monday", "UTC", ":"],
    make: madeDate,
    run: runDate,
  },
];
