/**
 * Reads the text of an origin, and makes the origin. A key that the origin's protocol cannot carry (a line break in a
 * DICT command, `..` in a URL's path) is "not found".
 */
import { readHostPort } from "../config/texts/addresses.ts";
import { ConfigError } from "../core/errors.ts";
import type { Invalidation } from "../core/invalidation/message.ts";
import type { ForwardedAnswer, ForwardedRequest, Origin } from "../core/ports.ts";
import type { Fields } from "../core/semantics/fields.ts";
import type { OriginDeps } from "./deps.ts";
import { DictOrigin } from "./dict/dict-origin.ts";
import { SiteOrigin } from "./http/site-origin.ts";
import { TemplateOrigin } from "./http/template-origin.ts";
import { ModuleOrigin } from "./module/module-origin.ts";
import { NoOrigin } from "./no-origin.ts";
import { WordnetOrigin } from "./wordnet/wordnet-origin.ts";

/** RFC 2229, 1: the port of DICT servers. */
const DICT_PORT = 2628;
/** RFC 2229, 3.2: all databases. */
const ALL_DATABASES = "*";

export type OriginSpec =
  | { readonly kind: "wordnet" }
  | { readonly kind: "none" }
  | { readonly kind: "dict"; readonly host: string; readonly port: number; readonly database: string }
  | { readonly kind: "http"; readonly template: string }
  /** `base` ends with a slash. */
  | { readonly kind: "site"; readonly base: string }
  /** `specifier`: a path, absolute or relative to the working directory, or a `file:///` URL. */
  | { readonly kind: "module"; readonly specifier: string }
  /** A function of the program in which the node runs. */
  | { readonly kind: "code"; readonly origin: CheckedOrigin };

/** An origin that can check its settings at start-up. */
export interface CheckedOrigin extends Origin {
  /**
   * @returns a warning, if the fault may go away by itself
   * @throws ConfigError the origin can never answer
   */
  check(): Promise<string | undefined>;
  close(): Promise<void>;
  /** For HTTP origins only: from now on keep at most this many idle connections. */
  keepIdle?(most: number): void;
  /** For HTTP origins only: from now on keep none, as another origin takes its place. It still loads for a while. */
  retire?(): void;
  /** For a site only: passes one request through to it. Throws like `load`. */
  forward?(request: ForwardedRequest, signal: AbortSignal): Promise<ForwardedAnswer>;
  /**
   * For a site only: the changes by a successful unsafe request for `key`, from the fields of its answer; `undefined`:
   * it changed nothing that a cache can hold.
   */
  changedBy?(key: string, answer: Fields): Invalidation | undefined;
}

/**
 * Reads an origin as an operator writes it: `wordnet:`, `none:`, `dict://host[:port][/database]`, `http(s)://host/path/{key}`,
 * `http(s)://host/base/*`, `module:path`.
 *
 * @throws ConfigError naming the value and the rule that it breaks
 */
export function parseOrigin(text: string): OriginSpec {
  if (text === "wordnet:") return { kind: "wordnet" };
  if (text === "none:") return { kind: "none" };
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(text)?.[1]?.toLowerCase();
  if (scheme === "dict") return parseDict(text);
  if (scheme === "http" || scheme === "https") return parseHttp(text);
  if (scheme === "module") return parseModule(text);
  throw refuse(
    text,
    "must be wordnet:, none:, dict://host[:port][/database], http(s)://host/path/{key}, http(s)://host/base/* or " +
      "module:path",
  );
}

/** Makes the origin, which opens nothing before its first use. */
export function createOrigin(spec: OriginSpec, deps: OriginDeps): CheckedOrigin {
  switch (spec.kind) {
    case "wordnet":
      return new WordnetOrigin({ directory: deps.wordnetDirectory?.() });
    case "none":
      return new NoOrigin();
    case "dict":
      return new DictOrigin(spec, deps);
    case "http":
      return new TemplateOrigin(spec, deps);
    case "site":
      return new SiteOrigin(spec, deps);
    case "module":
      return new ModuleOrigin(spec, deps);
    case "code":
      return spec.origin;
  }
}

function parseDict(text: string): OriginSpec {
  const rule = "must be dict://host[:port][/database]";
  const url = parseUrl(text, rule);
  if (url.hostname === "" || url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw refuse(text, rule);
  }
  // URL refuses characters that no host may have only for HTTP; otherwise it escapes them.
  if (readHostPort(`${url.hostname}:1`) === undefined) throw refuse(text, rule);
  if (url.port === "0") throw refuse(text, "must have a port from 1 to 65535");
  const database = decode(text, url.pathname.replace(/^\//, "")) || ALL_DATABASES;
  // An atom of RFC 2229, 2.2, without characters that need quotes, and without a second path segment.
  // deno-lint-ignore no-control-regex
  if (!/^[^\x00-\x20"'\\/\x7f-\uffff]{1,64}$/.test(database)) {
    throw refuse(text, "must name a database of 1 to 64 printable ASCII characters without space, quote, \\ and /");
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  return { kind: "dict", host, port: url.port === "" ? DICT_PORT : Number(url.port), database };
}

function parseHttp(text: string): OriginSpec {
  const rule = "must be http(s)://host/path/{key}, or http(s)://host/base/* for a whole site";
  if (!/^https?:\/\//i.test(text)) throw refuse(text, rule);
  const filled = ["key", "other"].map((key) => parseUrl(text, rule, text.replaceAll(/\{\+?key\}/g, key)));
  const [url, other] = filled as [URL, URL];
  if (url.username !== "" || url.password !== "") throw refuse(text, "must not hold a user name or a password");
  if (text.includes("#")) throw refuse(text, "must not have a fragment, as that is never sent");
  if (text.endsWith("/*")) return parseSite(text, url);
  // Finds the place of the key: the part of the URL that changes with it.
  if (url.origin !== other.origin) throw refuse(text, "must have {key} in its path or query, not in its host");
  if (url.pathname === other.pathname && url.search === other.search) {
    throw refuse(text, "must have {key} or {+key} in its path or query, or end with /* for a whole site");
  }
  return { kind: "http", template: text };
}

function parseSite(text: string, url: URL): OriginSpec {
  if (/\{\+?key\}/.test(text)) throw refuse(text, "must have {key} or end with /*, not both");
  // In http://* and in http:///* the star is the host.
  if (!url.pathname.endsWith("/*") || url.search !== "" || /[*?]/.test(text.slice(0, -1))) {
    throw refuse(text, "must have its one * at the end, behind a slash");
  }
  return { kind: "site", base: url.href.slice(0, -1) };
}

/** Does not look for the module; importing it later will. */
function parseModule(text: string): OriginSpec {
  const specifier = text.slice("module:".length);
  // deno-lint-ignore no-control-regex
  const isPath = specifier !== "" && !/[\x00-\x1f\x7f]/.test(specifier) && !/^[a-z][a-z0-9+.-]+:/i.test(specifier);
  const isFileUrl = /^file:\/\/\/[^/]/.test(specifier) && URL.canParse(specifier);
  if (!isPath && !isFileUrl) throw refuse(text, "must be module: and the path of a file, or a file:/// URL");
  return { kind: "module", specifier };
}

/** `filled` is `text` with a placeholder for its key. */
function parseUrl(text: string, rule: string, filled = text): URL {
  try {
    return new URL(filled);
  } catch {
    throw refuse(text, rule);
  }
}

function decode(text: string, component: string): string {
  try {
    return decodeURIComponent(component);
  } catch {
    throw refuse(text, "must be well escaped");
  }
}

function refuse(text: string, rule: string): ConfigError {
  return new ConfigError(`Cannot use origin as it ${rule}: current value is ${JSON.stringify(text)}`);
}
