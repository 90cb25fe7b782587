/** Reads the groups of a node, with the policy of each. */
import { ConfigError } from "../core/errors.ts";
import type { Config, GroupConfig } from "./config.ts";
import { defaultPolicy, type FileGroup } from "./group-fields.ts";
import { headerValue } from "./texts/headers.ts";
import { options, redacted, splitGroups } from "./options.ts";
import { type ConfigInput, cut, type OptionValues, type Said } from "./values.ts";

/** Whether an origin is `http(s)://host/base/*`. */
function isSite(origin: string): boolean {
  return /^https?:.*\/\*$/is.test(origin);
}

/** Reads `--group` and the groups of the file. */
export class GroupReader {
  readonly #values: OptionValues;
  readonly #input: ConfigInput;
  readonly #faults: string[];

  /** @param faults takes the faults of the groups */
  constructor(values: OptionValues, input: ConfigInput, faults: string[]) {
    this.#values = values;
    this.#input = input;
    this.#faults = faults;
  }

  /** A flag or the variable replaces the file's list of groups; their policies still come from the file. */
  read(serve: Config["serve"]): GroupConfig[] {
    const file = this.#values.groupsInFile;
    const flags = this.#values.given("group")?.map((text) => ({ text, where: "" }));
    const inFile = file &&
      [...file].map(([name, { origin }]) => ({ text: `${name}=${origin}`, where: "in the file " }));
    const groups = new Map<string, GroupConfig>();
    const ttlMs = this.#values.optional("ttl") ?? null;
    const fallback = [{ text: options.group.fallback, where: "" }];
    const all: readonly Said[] = flags ?? this.#groupsInEnv() ?? inFile ?? fallback;
    for (const said of all) {
      const group = this.#values.read("group", said);
      if (group === undefined) continue;
      if (groups.has(group.name)) {
        const name = said.unshown === undefined ? group.name : "one";
        this.#faults.push(`--group must name each group once: ${said.where}${name} stands twice`);
      }
      this.#checkOrigin(group, said);
      const policy = { ...defaultPolicy, ...file?.get(group.name), ...group };
      const headers = this.#headers(policy, serve?.includes(group.name) ?? true);
      groups.set(group.name, { ...policy, headers, ttlMs: policy.ttlMs === undefined ? ttlMs : policy.ttlMs });
    }
    this.#checkHosts([...groups.values()]);
    this.#checkWritable([...groups.values()]);
    return [...groups.values()];
  }

  /**
   * Reads the headers that the group sends to its origin. Files and variables of groups that are not served are not
   * read.
   */
  #headers(
    { name, origin, headers }: FileGroup & { readonly name: string },
    isServed: boolean,
  ): GroupConfig["headers"] {
    const { env, readFile, readVariable = (variable) => env[variable] } = this.#input;
    if (headers.length > 0 && !/^https?:/i.test(origin)) {
      this.#faults.push(
        `--config ${this.#values.path}: groups.${name}.headers must not be set: the origin is no HTTP origin`,
      );
      return [];
    }
    return headers.map(([header, source]) => {
      if (!isServed) return [header, ""];
      const read = headerValue(source, { readFile, readVariable });
      if ("value" in read) return [header, read.value];
      this.#faults.push(`--config ${this.#values.path}: groups.${name}.headers.${header} must ${read.fault}`);
      return [header, ""];
    });
  }

  /** A host may belong to only one group, which must be a site: no other origin takes a path unchanged. */
  #checkHosts(groups: readonly GroupConfig[]): void {
    const owners = new Map<string, string>();
    for (const { name, origin, hosts } of groups) {
      const at = `--config ${this.#values.path}: groups.${name}.hosts`;
      if (hosts.length > 0 && !isSite(origin)) {
        this.#faults.push(`${at} must not be set: the origin is no site, as http(s)://host/base/* is`);
      }
      for (const host of hosts) {
        const other = owners.get(host);
        if (other !== undefined) this.#faults.push(`${at} must not name ${host}: the group ${other} has it`);
        owners.set(host, name);
      }
    }
  }

  /**
   * A site cannot be writable, since PUT and DELETE go through to it. A group without an origin must be writable, or it
   * would stay empty.
   */
  #checkWritable(groups: readonly GroupConfig[]): void {
    for (const { name, origin, writable } of groups) {
      const at = `groups.${name}.writable`;
      if (writable && isSite(origin)) {
        this.#faults.push(`--config ${this.#values.path}: ${at} must not be true: a site takes PUT and DELETE itself`);
      }
      if (!writable && origin === "none:") {
        const where = this.#values.path === "" ? "in the file of --config" : `in ${this.#values.path}`;
        this.#faults.push(`--group ${name} must be writable, as its origin is none:, so set ${at} to true ${where}`);
      }
    }
  }

  #groupsInEnv(): Said[] | undefined {
    const { env } = options.group;
    const text = this.#input.env[env] || undefined;
    return text === undefined ? undefined : splitGroups(text).map((group) => ({ ...group, where: `in ${env} ` }));
  }

  #checkOrigin({ name, origin }: { name: string; origin: string }, said: Said): void {
    try {
      this.#input.checkOrigin(origin);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      if (said.unshown !== undefined) return this.#values.refuse("group", said);
      // A message contains the text as it is or as JSON. Replace it with a function, because `$&` in a text would
      // insert the origin again.
      const forms = [origin, JSON.stringify(origin).slice(1, -1)];
      const reason = forms.reduce((text, form) => text.replaceAll(form, () => redacted(form)), error.message);
      this.#faults.push(`--group ${name} must have an origin that can be used: ${cut(reason)}`);
    }
  }
}
