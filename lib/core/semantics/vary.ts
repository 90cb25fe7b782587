/** Decides which stored answer serves which request (RFC 9111, section 4.1). */
import { type Fields, linesOf, membersOf } from "./fields.ts";

/** Separators: between a name and its value, and between two names. */
const SAYS = "\u0001=";
const NEXT = "\u0002";
/** Language ranges without the wildcard (RFC 4647, section 2.1). Language tags have the same form. */
const LANGUAGE = /^[a-z]{1,8}(?:-[a-z0-9]{1,8})*$/;

/** The request fields that `Vary` names, in lower case, sorted, each once, without `*`. Empty without `Vary`. */
export function varyingNames(fields: Fields): readonly string[] {
  const names = membersOf(linesOf(fields, "vary").join(",")).map((name) => name.toLowerCase());
  return [...new Set(names)].filter((name) => name !== "*").sort();
}

/**
 * A request's content of the named fields as one string; its only control characters are U+0001 and U+0002. Equal
 * strings mean that requests agree. These differences do not count: white space around commas, lists over several
 * lines, the case of languages (RFC 5646, section 2.1.1), the order of languages with the same weight (RFC 9110,
 * section 12.4.2).
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
 * Reduces a selection to the language that the request wants most. Lookup (RFC 4647, section 3.4) starts at the
 * heaviest range and ends at the first match. So if there is an answer in exactly that language, the other ranges do
 * not matter.
 *
 * @param says as `selectionOf` writes it
 * @returns `undefined` if the request wants two languages equally, accepts any, or names none
 */
export function inWantedLanguage(says: string): string | undefined {
  const [heaviest, next] = saidOf(says)?.split(",").map((range) => range.split(";q=")) ?? [];
  if (heaviest === undefined || heaviest[1] === "0" || heaviest[1] === next?.[1] && next !== undefined) {
    return undefined;
  }
  return inLanguage(says, heaviest[0]);
}

/**
 * The selection of a request that wants this language most and otherwise agrees with `says`. An answer in that language
 * is for it, even if another request loaded the answer.
 *
 * @returns `undefined` for no language, or if the language is not part of `says`
 */
export function inLanguage(says: string, language: string | undefined): string | undefined {
  const said = saidOf(says);
  if (said === undefined || language === undefined || !LANGUAGE.test(language)) return undefined;
  return partsOf(says).map((part) => part.startsWith(ACCEPT_LANGUAGE) ? ACCEPT_LANGUAGE + language : part).join(NEXT);
}

/** The language of an answer in lower case (RFC 9110, section 8.5); `undefined`: it names none or several. */
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

/** Language ranges in lower case, the heaviest first, equal weights by name. */
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
