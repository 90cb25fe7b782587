/** Which stored answer serves which request (RFC 9111, section 4.1). */
import { type Fields, linesOf, membersOf } from "./fields.ts";

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
    return `${name}\u0001=${(name === "accept-language" ? byWeight(members) : members).join(",")}`;
  }).join("\u0002");
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
