/** Which stored answer serves which request (RFC 9111, section 4.1). */
import { type Fields, linesOf, membersOf } from "./fields.ts";

/** Between a name and what is said in it, and between two names. */
const SAYS = "\u0001=";
const NEXT = "\u0002";
/** Language ranges but for the wildcard (RFC 4647, section 2.1); tags have the same form. */
const LANGUAGE = /^[a-z]{1,8}(?:-[a-z0-9]{1,8})*$/;

/** The request fields that `Vary` names, in lower case, sorted, each once; empty without `Vary`. `*` is not among them. */
export function varyingNames(fields: Fields): readonly string[] {
  const names = membersOf(linesOf(fields, "vary").join(",")).map((name) => name.toLowerCase());
  return [...new Set(names)].filter((name) => name !== "*").sort();
}

/**
 * What a request says in the named fields, as one string without control characters but U+0001 and U+0002: two requests
 * agree where it is the same. White space around commas, and whether a list stands in one line or in two, do not count.
 * Nor does the case of languages (RFC 5646, section 2.1.1), or the order of those with the same weight (RFC 9110, section
 * 12.4.2).
 */
export function selectionOf(names: readonly string[], requestFields: Fields): string {
  return names.map((name) => {
    const lines = linesOf(requestFields, name);
    if (lines.length === 0) return `${name}\u0001`;
    const members = membersOf(lines.join(","));
    return `${name}${SAYS}${(name === "accept-language" ? byWeight(members) : members).join(",")}`;
  }).join(NEXT);
}

/**
 * What a request says, with the one language that it wants most in place of all that it would take. Lookup (RFC 4647,
 * section 3.4) goes from the heaviest range down and ends at the first match. So where there is an answer in that very
 * language, the other ranges change nothing.
 *
 * @param says as `selectionOf` writes it
 * @returns `undefined` where two languages are wanted alike, or any will do, or the request names none
 */
export function inWantedLanguage(says: string): string | undefined {
  const [heaviest, next] = saidOf(says)?.split(",").map((range) => range.split(";q=")) ?? [];
  if (heaviest === undefined || heaviest[1] === "0" || heaviest[1] === next?.[1] && next !== undefined) {
    return undefined;
  }
  return inLanguage(says, heaviest[0]);
}

/**
 * What a request says that wants this language most, and agrees with `says` otherwise: an answer in that language is for
 * it, whichever request it was loaded for.
 *
 * @returns `undefined` for no language, or where `says` does not tell answers apart by theirs
 */
export function inLanguage(says: string, language: string | undefined): string | undefined {
  const said = saidOf(says);
  if (said === undefined || language === undefined || !LANGUAGE.test(language)) return undefined;
  return partsOf(says).map((part) => part.startsWith(ACCEPT_LANGUAGE) ? ACCEPT_LANGUAGE + language : part).join(NEXT);
}

/** The language of an answer in lower case (RFC 9110, section 8.5); `undefined`: it does not say, or is for several. */
export function languageOf(fields: Fields): string | undefined {
  const [language, another] = membersOf(linesOf(fields, "content-language").join(","));
  return another === undefined ? language?.toLowerCase() : undefined;
}

const ACCEPT_LANGUAGE = `accept-language${SAYS}`;

function partsOf(says: string): string[] {
  return says.split(NEXT);
}

function saidOf(says: string): string | undefined {
  return partsOf(says).find((part) => part.startsWith(ACCEPT_LANGUAGE))?.slice(ACCEPT_LANGUAGE.length);
}

/** Language ranges in lower case, the heaviest first, those of one weight by name. */
function byWeight(members: readonly string[]): string[] {
  const weighted = members.map((member) => {
    const [range = "", ...parameters] = member.toLowerCase().split(";").map((part) => part.trim());
    const weight = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2);
    const q = weight === undefined ? 1 : Number(weight);
    return { range, q: q >= 0 && q <= 1 ? q : 1 };
  });
  weighted.sort((a, b) => b.q - a.q || (a.range < b.range ? -1 : Number(a.range > b.range)));
  return weighted.map(({ range, q }) => q === 1 ? range : `${range};q=${q}`);
}
