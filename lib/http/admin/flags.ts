/** `soft` and `wait` in the query of a request that changes what is cached. */

/** How long such a request waits for the other nodes. Chosen: a node that is up applies a message in milliseconds. */
export const WAIT_MS = 5_000;

export interface Flags {
  readonly soft: boolean;
  /** The wait that `invalidate` and `write` get; 0 without the flag `wait`. */
  readonly waitMs: number;
}

export type FlagName = "soft" | "wait";

/**
 * Reads a query of flags only. A flag is set by its name, or with `=1` or `=true`.
 *
 * @param query with its `?`; `""` for none
 * @returns `undefined`: the query has something else in it
 */
export function flagsOf(query: string, allowed: readonly FlagName[]): Flags | undefined {
  const parts = query.slice(1).split("&").filter((part) => part !== "");
  const names = parts.map(flagIn);
  if (names.some((name) => name === undefined || !allowed.includes(name))) return undefined;
  return asFlags(new Set(names));
}

/**
 * Reads the flags at the end of a site's key. They may also be the site's own parameters, so the result holds the keys
 * with them too: invalidating too much is safe, too little is not.
 *
 * @param key the rest of the path with its query, as received
 */
export function flagsBehind(key: string): Flags & { readonly keys: readonly string[] } {
  const names = new Set<FlagName | undefined>();
  const keys = [key];
  for (let rest = key;;) {
    const at = Math.max(rest.lastIndexOf("?"), rest.lastIndexOf("&"));
    const name = at < 0 || !rest.slice(0, at + 1).includes("?") ? undefined : flagIn(rest.slice(at + 1));
    if (name === undefined || names.has(name)) return { ...asFlags(names), keys };
    names.add(name);
    keys.push(rest = rest.slice(0, at));
  }
}

function flagIn(part: string): FlagName | undefined {
  const [, name] = /^(soft|wait)(?:=(?:1|true))?$/.exec(part) ?? [];
  return name as FlagName | undefined;
}

function asFlags(names: ReadonlySet<FlagName | undefined>): Flags {
  return { soft: names.has("soft"), waitMs: names.has("wait") ? WAIT_MS : 0 };
}
