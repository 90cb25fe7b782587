/** HTTP fields as data: lines in the order of the message, names in lower case, values unchanged but without outer spaces. */
export type Fields = readonly (readonly [name: string, value: string])[];

// A name is a token, here in lower case. A value is Latin-1 without control characters except the tab.
const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
// deno-lint-ignore no-control-regex
const FIELD_VALUE = /^[^\x00-\x08\x0a-\x1f\x7f\u0100-\uffff]*$/;

/** Whether a text may be the name of a field, in lower case (RFC 9110, section 5.1). */
export function isFieldName(text: string): boolean {
  return FIELD_NAME.test(text);
}

/**
 * Whether a text may be the value of a field (RFC 9110, section 5.5). Both runtimes throw at some other texts, and a
 * control character in an answer ends Deno's process. So every value from a client, a peer, an origin or a program is
 * checked.
 */
export function isFieldValue(text: string): boolean {
  return FIELD_VALUE.test(text);
}

/**
 * Fields of one connection (RFC 9110, section 7.6.1), and fields that a shared cache never passes on. `Connection` may
 * name more. Proxy credentials are for this hop only (section 11.7).
 */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
]);

/** The values of all lines with this name, in order. */
export function linesOf(fields: Fields, name: string): string[] {
  return fields.filter(([other]) => other === name).map(([, value]) => value);
}

/** All lines with this name as one list (RFC 9110, section 5.3); `undefined` if there are none. */
export function valueOf(fields: Fields, name: string): string | undefined {
  const lines = linesOf(fields, name);
  return lines.length === 0 ? undefined : lines.join(", ");
}

/** Whether there is a line with this name. */
export function has(fields: Fields, name: string): boolean {
  return fields.some(([other]) => other === name);
}

/** The fields without those in `names`. */
export function without(fields: Fields, names: ReadonlySet<string>): Fields {
  return fields.some(([name]) => names.has(name)) ? fields.filter(([name]) => !names.has(name)) : fields;
}

/** The fields for the next hop: without hop-by-hop fields and those that `Connection` names. */
export function endToEnd(fields: Fields): Fields {
  const named = membersOf(linesOf(fields, "connection").join(",")).map((name) => name.toLowerCase());
  return without(fields, new Set([...HOP_BY_HOP, ...named]));
}

/** The members of a comma-separated list (RFC 9110, section 5.6.1). Keeps quoted strings whole; leaves empty members out. */
export function membersOf(list: string): string[] {
  const members = list.match(/(?:[^,"]|"(?:[^"\\]|\\.)*"?)+/g) ?? [];
  return members.map((member) => member.trim()).filter((member) => member !== "");
}
