/** The differences between a node's options in force and options that were read again. Pure functions. */
import type { Config, GroupConfig } from "./config.ts";

/** A group that both have, with the names of the fields that differ. */
export interface ChangedGroup {
  readonly group: GroupConfig;
  readonly fields: readonly string[];
}

/** The changes of groups. */
export interface GroupChanges {
  readonly added: readonly GroupConfig[];
  readonly changed: readonly ChangedGroup[];
  readonly removed: readonly string[];
}

/** The changes of options. */
export interface Changes extends GroupChanges {
  readonly logLevel: Config["logLevel"] | undefined;
  /** The flags whose values a running node cannot change, such as `--addr`. */
  readonly needRestart: readonly string[];
}

/** The fields of {@link Config} that a running node can change. */
const LIVE: ReadonlySet<string> = new Set(["groups", "logLevel"] satisfies (keyof Config)[]);

/** Compares by value. The result names fields and flags, never a value, which may be a secret. */
export function changesOf(running: Config, read: Config): Changes {
  return {
    ...changedGroups(running.groups, read.groups),
    logLevel: running.logLevel === read.logLevel ? undefined : read.logLevel,
    needRestart: differences(fixed(running), fixed(read)),
  };
}

/** Like {@link changesOf}, for groups only. */
export function changedGroups(running: readonly GroupConfig[], read: readonly GroupConfig[]): GroupChanges {
  const before = new Map(running.map((group) => [group.name, group]));
  const after = new Set(read.map(({ name }) => name));
  const changed = read.flatMap((group) => {
    const former = before.get(group.name);
    const fields = former === undefined ? [] : differences(former, group);
    return fields.length === 0 ? [] : [{ group, fields }];
  });
  return {
    added: read.filter(({ name }) => !before.has(name)),
    changed,
    removed: [...before.keys()].filter((name) => !after.has(name)),
  };
}

/** The options of a node with the options `running` after it has taken all live changes from `read`. */
export function reloaded(running: Config, read: Config): Config {
  return { ...running, groups: read.groups, logLevel: read.logLevel };
}

/** The effect of a reload, in one sentence without its first words; `undefined`: none. */
export function changesText({ added, changed, removed, logLevel }: Changes): string | undefined {
  const parts = [
    ...textOf("added", added.map(({ name }) => name)),
    ...textOf("changed", changed.map(({ group, fields }) => `${group.name} (${fields.join(", ")})`)),
    ...textOf("ended", removed),
    ...(logLevel === undefined ? [] : [`the log level is ${logLevel}`]),
  ];
  return parts.length === 0 ? undefined : parts.join("; ");
}

function textOf(did: string, groups: readonly string[]): string[] {
  return groups.length === 0 ? [] : [`${did} the ${groups.length === 1 ? "group" : "groups"} ${groups.join(", ")}`];
}

/** The values of the options that stay until a restart, by flag. */
function fixed(config: Config): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(config)) {
    if (LIVE.has(field)) continue;
    const parts = field === "polling" ? value : field === "natsLogin" ? prefixed(value) : { [field]: value };
    for (const [part, one] of Object.entries(parts)) found[flagOf(part)] = one;
  }
  return found;
}

/** `creds` is the value of `--nats-creds`. */
function prefixed(login: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(login).map(([field, value]) => [`nats-${field}`, value]));
}

/** `drainTimeoutMs` is the value of `--drain-timeout`. */
function flagOf(field: string): string {
  return `--${field.replace(/Ms$/, "").replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function differences(one: object, other: object): string[] {
  const [a, b] = [one, other] as Record<string, unknown>[];
  const fields = new Set([...Object.keys(a!), ...Object.keys(b!)]);
  return [...fields].filter((field) => JSON.stringify(a![field]) !== JSON.stringify(b![field]));
}
