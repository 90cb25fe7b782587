/** The JSON file of `--config`: its shape, its faults, and the fields of a group, as data. */
import { visit } from "jsonc-parser";
import * as v from "valibot";
import type { FieldText } from "./help.ts";

/** The fields of a group in the file; the second table of the options comes from this list too. */
export const groupFields = {
  origin: {
    field: "origin",
    rule: "an origin as --group takes it",
    description: "The origin that a value is loaded from on a miss",
    schema: v.pipe(v.string(), v.nonEmpty()),
  },
  budgetBytes: {
    field: "budgetBytes",
    unit: "bytes",
    shownDefault: "67108864",
    rule: "a whole number from 0 to 2^40",
    description: "The size of the main and the hot cache together, with their keys",
    schema: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(2 ** 40)), 64 * 1024 * 1024),
  },
  ttlMs: {
    field: "ttlMs",
    unit: "milliseconds",
    shownDefault: "null",
    rule: "a whole number from 1, or null for no limit",
    description: "How long a value may be served",
    schema: v.optional(v.nullable(v.pipe(v.number(), v.safeInteger(), v.minValue(1))), null),
  },
  loadTimeoutMs: {
    field: "loadTimeoutMs",
    unit: "milliseconds",
    shownDefault: "10000",
    rule: "a whole number from 1 to 120000",
    description: "How long one load from the origin may take",
    schema: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(120_000)), 10_000),
  },
  replicas: {
    field: "replicas",
    shownDefault: "1",
    rule: "1 or 2",
    description: "On how many nodes each value is kept; with 2, the origin loads nothing again when a node is killed",
    schema: v.optional(v.picklist([1, 2]), 1),
  },
  hotAfterFetches: {
    field: "hotAfterFetches",
    unit: "fetches",
    shownDefault: "2",
    rule: "a whole number from 0 to 1000, 0 for never",
    description:
      "How often a node fetches a value from its owner before the copy may displace other hot copies; while there is room, it is kept at once",
    schema: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(1000)), 2),
  },
} as const satisfies Record<string, FieldText & { schema: v.GenericSchema }>;

/** The policy of a group: the limits of its caches and loads. */
export interface GroupPolicy {
  /** Main and hot cache together, with their keys, in bytes. */
  readonly budgetBytes: number;
  /** `null`: values do not expire. */
  readonly ttlMs: number | null;
  readonly loadTimeoutMs: number;
  readonly replicas: 1 | 2;
  /** 0: never. */
  readonly hotAfterFetches: number;
}

/** The default policy: 64 MiB, values do not expire, loads of up to 10 s, one copy. */
export const defaultPolicy: GroupPolicy = {
  budgetBytes: v.getDefault(groupFields.budgetBytes.schema),
  ttlMs: v.getDefault(groupFields.ttlMs.schema),
  loadTimeoutMs: v.getDefault(groupFields.loadTimeoutMs.schema),
  replicas: v.getDefault(groupFields.replicas.schema),
  hotAfterFetches: v.getDefault(groupFields.hotAfterFetches.schema),
};

/** The type of an option in the file. */
export type FileKind = "text" | "number" | "number or text";

export interface ConfigFile {
  /** The options' values as a flag would have them, by field name. */
  readonly values: ReadonlyMap<string, string>;
  /** Absent if the file has no groups. */
  readonly groups?: ReadonlyMap<string, GroupPolicy & { readonly origin: string }>;
  /** Each names the field and its rule. */
  readonly faults: readonly string[];
}

/** A longer file is a mistake, such as the wrong file. Chosen. */
const MAX_FILE_CHARS = 1024 * 1024;
/** Chosen: far deeper than any configuration, and far less than a parser's stack. */
const MAX_NESTING = 32;

/**
 * Reads the text of the file. It never throws: `faults` lists what is wrong.
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

function readGroups(groups: unknown, faults: string[]): ReadonlyMap<string, GroupPolicy & { origin: string }> {
  const found = new Map<string, GroupPolicy & { origin: string }>();
  if (!isObject(groups)) {
    faults.push(`groups must be an object of groups by name: it is ${kindOf(groups)}`);
    return found;
  }
  if (Object.keys(groups).length === 0) faults.push("groups must name at least one group: there is none");
  for (const [name, group] of Object.entries(groups)) {
    const at = `groups.${JSON.stringify(name).slice(1, -1)}`;
    if (!isObject(group)) {
      faults.push(`${at} must be an object: it is ${kindOf(group)}`);
      continue;
    }
    const before = faults.length;
    for (const key of Object.keys(group)) {
      if (!Object.hasOwn(groupFields, key)) faults.push(`${at} has an unknown field ${shown(key)}`);
    }
    const take = <T>(text: FieldText & { schema: v.GenericSchema<unknown, T> }): T => {
      const value = Object.hasOwn(group, text.field) ? group[text.field] : undefined;
      const result = v.safeParse(text.schema, value);
      // An origin may hold a password, so the fault does not repeat it.
      if (!result.success) faults.push(`${at}.${text.field} must be ${text.rule}: it is ${kindOf(value)}`);
      return result.output as T; // wrong only beside a fault, and then the file is refused
    };
    const origin = take(groupFields.origin);
    const budgetBytes = take(groupFields.budgetBytes);
    const ttlMs = take(groupFields.ttlMs);
    const loadTimeoutMs = take(groupFields.loadTimeoutMs);
    const replicas = take(groupFields.replicas) as 1 | 2;
    const hotAfterFetches = take(groupFields.hotAfterFetches);
    if (faults.length > before) continue;
    found.set(name, { origin, budgetBytes, ttlMs, loadTimeoutMs, replicas, hotAfterFetches });
  }
  return found;
}

/**
 * Why a text cannot be used as JSON (RFC 8259); else `undefined`. It refuses a field that is named twice: JSON.parse
 * would silently take the last one. JSON.parse judges the text, and jsonc-parser finds the place, as the runtimes' own
 * messages differ and one has no place.
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
        const what = offset >= text.length ? "its end" : shown(text.slice(offset, offset + 1));
        found.broken ??= `at ${placeOf(line, column)}: found ${what}`;
      },
    }, { disallowComments: true });
    JSON.parse(text);
  } catch (error) {
    return found.tooDeep ?? `is not JSON ${found.broken ?? (error as Error).message}`;
  }
  return found.second === undefined ? undefined : `must name each field once: ${found.second}`;
}

/** Both count from 0. */
function placeOf(line: number, column: number): string {
  return `line ${line + 1}, column ${column + 1}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Shows a number, and only the type of anything else: a text may be a secret. */
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
