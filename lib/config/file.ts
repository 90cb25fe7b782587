/** The JSON file of `--config`: its shape and its faults. */
import { visit } from "jsonc-parser";
import * as v from "valibot";
import { type FileGroup, groupFields } from "./group-fields.ts";
import { type HeaderSource, readHeader } from "./texts/headers.ts";

/** The type of an option in the file. */
export type FileKind = "text" | "number" | "number or text";

export interface ConfigFile {
  /** The options' values, written like a flag's value, by field name. */
  readonly values: ReadonlyMap<string, string>;
  /** Absent if the file has no groups. */
  readonly groups?: ReadonlyMap<string, FileGroup>;
  /** Each names the field and its rule. */
  readonly faults: readonly string[];
}

/** A longer file is probably the wrong one. Chosen. */
const MAX_FILE_CHARS = 1024 * 1024;
/** Chosen: far deeper than any configuration, and far less than a parser's stack. */
export const MAX_NESTING = 32;

/**
 * Reads the text of the file. It never throws: `faults` lists all faults.
 *
 * @param content the text; a byte order mark at its start, as some editors write one, is ignored (RFC 8259, 8.1)
 * @param fields the options that the file may hold, by field name, with their types
 */
export function readConfigFile(content: string, fields: ReadonlyMap<string, FileKind>): ConfigFile {
  const text = content.replace(/^\uFEFF/, "");
  const values = new Map<string, string>();
  if (text.length > MAX_FILE_CHARS) {
    return { values, faults: [`must have at most ${MAX_FILE_CHARS} characters: it has ${text.length}`] };
  }
  const fault = jsonFault(text);
  if (fault !== undefined) return { values, faults: [fault] };
  const file: unknown = JSON.parse(text);
  if (!isObject(file)) return { values, faults: [`must hold one JSON object: it holds ${shown(file)}`] };
  const faults: string[] = [];
  for (const [key, value] of Object.entries(file)) {
    const type = fields.get(key);
    if (key === "groups") continue;
    if (type === undefined) faults.push(`has an unknown field ${shown(key)}`);
    else if (!(typeof value === "number" && type !== "text" || typeof value === "string" && type !== "number")) {
      faults.push(`${key} must be a ${type}: it is ${kindOf(value)}`);
    } else values.set(key, String(value));
  }
  if (!Object.hasOwn(file, "groups")) return { values, faults };
  return { values, groups: readGroups(file.groups, faults), faults };
}

function readGroups(groups: unknown, faults: string[]): ReadonlyMap<string, FileGroup> {
  const found = new Map<string, FileGroup>();
  if (!isObject(groups)) {
    faults.push(`groups must be an object of groups by name: it is ${kindOf(groups)}`);
    return found;
  }
  if (Object.keys(groups).length === 0) faults.push("groups must name at least one group: there is none");
  for (const [name, group] of Object.entries(groups)) {
    const at = `groups.${JSON.stringify(name.slice(0, 128)).slice(1, -1)}`;
    if (!isObject(group)) {
      faults.push(`${at} must be an object: it is ${kindOf(group)}`);
      continue;
    }
    const before = faults.length;
    for (const key of Object.keys(group)) {
      if (!Object.hasOwn(groupFields, key)) faults.push(`${at} has an unknown field ${shown(key)}`);
    }
    const read = new Map<string, unknown>();
    for (const { field, rule, schema } of Object.values(groupFields)) {
      const value = Object.hasOwn(group, field) ? group[field] : undefined;
      const result = v.safeParse(schema, value);
      // An origin may hold a password, so the fault does not repeat it.
      if (!result.success) faults.push(`${at}.${field} must be ${rule}: it is ${kindOf(value)}`);
      else read.set(field, field === "headers" ? readHeaders(`${at}.headers`, result.output, faults) : result.output);
    }
    if (faults.length === before) found.set(name, Object.fromEntries(read) as unknown as FileGroup);
  }
  return found;
}

function readHeaders(at: string, headers: unknown, faults: string[]): [name: string, source: HeaderSource][] {
  const found = new Map<string, HeaderSource>();
  for (const [written, source] of Object.entries(headers as Record<string, unknown>)) {
    const header = readHeader(written, source);
    const name = JSON.stringify(written.slice(0, 128)).slice(1, -1);
    if ("fault" in header) faults.push(`${at}.${name} must ${header.fault}`);
    else if (found.has(header.name)) faults.push(`${at}.${name} must be named once: case does not count`);
    else found.set(header.name, header.source);
  }
  return [...found];
}

/**
 * Why a text is not usable JSON (RFC 8259); `undefined`: it is. A field that is named twice is a fault, because
 * JSON.parse would silently take the last one. JSON.parse judges the text; jsonc-parser finds the place, since the
 * runtimes' messages differ and one has no place.
 */
function jsonFault(text: string): string | undefined {
  const found: { second?: string; broken?: string; tooDeep?: string } = {};
  const open: Set<string>[] = [];
  const begin = (_offset: number, _length: number, line: number, column: number) => {
    if (open.push(new Set()) <= MAX_NESTING) return;
    found.tooDeep = `is nested deeper than ${MAX_NESTING} levels at ${placeOf(line, column)}`;
    throw new RangeError(found.tooDeep);
  };
  const end = () => void open.pop();
  try {
    visit(text, {
      onObjectBegin: begin,
      onArrayBegin: begin,
      onObjectEnd: end,
      onArrayEnd: end,
      onObjectProperty(name, _offset, _length, line, column) {
        const fields = open.at(-1)!;
        if (fields.has(name)) found.second ??= `a second ${shown(name)} stands at ${placeOf(line, column)}`;
        fields.add(name);
      },
      onError(_error, offset, _length, line, column) {
        if (found.broken !== undefined) return;
        const what = offset >= text.length ? "its end" : shown(text.slice(offset, offset + 1));
        found.broken = `at ${placeOf(line, column)}: found ${what}`;
      },
    }, { disallowComments: true });
    JSON.parse(text);
  } catch (error) {
    return found.tooDeep ?? `is not JSON ${found.broken ?? (error as Error).message}`;
  }
  return found.second === undefined ? undefined : `must name each field once: ${found.second}`;
}

/** `line` and `column` count from 0. */
function placeOf(line: number, column: number): string {
  return `line ${line + 1}, column ${column + 1}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Shows a number, but only the type of any other value: a text may be a secret. */
function kindOf(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null || typeof value === "number" || typeof value === "boolean") return String(value);
  return Array.isArray(value) ? "an array" : typeof value === "object" ? "an object" : "a text";
}

/** Quotes a value for a fault: escaped, and cut after 200 characters. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length <= 200 ? text : `${text.slice(0, 200)}…`;
}
