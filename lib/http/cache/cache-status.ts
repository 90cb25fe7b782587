/**
 * The `Cache-Status` field (RFC 9211): one member, which names this node and says how it answered. Values with a
 * lifetime add `ttl`, in seconds. Values that a site has just answered add `fwd-status`.
 *
 * | value                              | when                                             |
 * | ---------------------------------- | ------------------------------------------------ |
 * | `n1; hit`                          | from the main cache                              |
 * | `n1; hit; detail=hot`              | from the hot cache                               |
 * | `n1; hit; detail=behind`           | from either, while this node cannot read the log of invalidations |
 * | `n1; fwd=miss; stored; detail=origin` | loaded from the origin; `stored` if this node keeps it |
 * | `n1; fwd=miss; detail=peer`        | fetched from its owner; `stored` if this node keeps it |
 * | `n1; fwd=miss; detail=behind`      | loaded for this request only: this node is behind its `Muster-After` |
 * | `n1; fwd=miss; detail=not-found`   | the load failed: see {@linkcode Problem.code}    |
 * | `n1; fwd=method; fwd-status=204` | a site's answer that went through; `bypass`: the cache may not keep it |
 * | `n1; detail=bad-key`               | refused before the cache was asked               |
 *
 * `collapsed`: the request joined another request's load. `collapsed=?0`: it joined, and then had to go through alone.
 */
/** RFC 9651, section 3.3.4: a token begins with a letter or `*`. Most addresses do not. */
const token = /^[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_`|~:/]*$/;
const printable = /^[\x20-\x7e]*$/;

/** How a request came to its value. */
export interface HowLoaded {
  /** It joined the load of another request. */
  readonly isCollapsed: boolean;
  /** No cache gave the value, and no cache keeps it. */
  readonly isUnkept: boolean;
}

/** The field's values for one node, built once, so that a hit joins no strings. */
export class CacheStatus {
  readonly hit: string;
  readonly hotHit: string;
  readonly behindHit: string;
  /** Loaded for one request only, since this node is behind that request's `Muster-After`. */
  readonly unkept: string;
  readonly #name: string;
  readonly #alone: ByLoad;
  readonly #collapsed: ByLoad;

  /** @throws RangeError the name is not printable ASCII */
  constructor(nodeName: string) {
    const name = serializeName(nodeName);
    this.#name = name;
    this.hit = `${name}; hit`;
    this.hotHit = `${name}; hit; detail=hot`;
    this.behindHit = `${name}; hit; detail=behind`;
    this.unkept = `${name}; fwd=miss; detail=behind`;
    this.#alone = byLoad(`${name}; fwd=miss`, "");
    this.#collapsed = byLoad(`${name}; fwd=miss`, "; collapsed");
  }

  /**
   * A get that missed and then got its value.
   *
   * @param isCollapsed whether it joined another request's load
   */
  loaded(from: "origin" | "peer", stored: boolean, isCollapsed: boolean): string {
    const values = (isCollapsed ? this.#collapsed : this.#alone)[from];
    return stored ? values.stored : values.passed;
  }

  /**
   * Reads the source of a value from the field of an answer; the last member is this node's. It is `hit`, `hot`,
   * `behind`, `peer` or `origin`; else the reason for no value, such as `not-found`, or for going through, such as
   * `bypass`.
   */
  sourceIn(field: string | null): string | undefined {
    if (field === null) return undefined;
    const name = `${this.#name};`;
    const start = field.startsWith(name) ? 0 : field.lastIndexOf(`, ${name}`) + 2;
    if (start === 1) return undefined;
    const own = field.slice(start + name.length);
    return /; ?detail=([a-z-]+)/.exec(`;${own}`)?.[1] ??
      (own.startsWith(" hit") ? "hit" : /^ fwd=([a-z-]+)/.exec(own)?.[1]);
  }

  /** A value from this node's memory. @param isBehind whether this node cannot read the log of invalidations now */
  found(from: "main" | "hot", isBehind: boolean): string {
    if (isBehind) return this.behindHit;
    return from === "hot" ? this.hotHit : this.hit;
  }

  /**
   * A request that went through to a site.
   *
   * @param reason why (RFC 9211, section 2.2)
   * @param isCollapsed whether it first joined another request's load in vain
   */
  forwarded(reason: string, status: number, isCollapsed = false): string {
    return `${this.#name}; fwd=${reason};${isCollapsed ? " collapsed=?0;" : ""} fwd-status=${status}`;
  }

  /** A get that missed and then failed. @param code an sf-token */
  failed(code: string): string {
    return `${this.#name}; fwd=miss; detail=${code}`;
  }

  /** A request that was refused before the cache was asked. @param code an sf-token */
  refused(code: string): string {
    return `${this.#name}; detail=${code}`;
  }
}

type ByLoad = Readonly<Record<"origin" | "peer", { readonly stored: string; readonly passed: string }>>;

function byLoad(miss: string, collapsed: string): ByLoad {
  const from = (detail: string) => ({
    stored: `${miss}; stored${collapsed}; detail=${detail}`,
    passed: `${miss}${collapsed}; detail=${detail}`,
  });
  return { origin: from("origin"), peer: from("peer") };
}

/** An sf-token if the name fits one, else an sf-string; RFC 9211, section 2, allows both. */
function serializeName(name: string): string {
  if (token.test(name)) return name;
  if (!printable.test(name)) {
    throw new RangeError(`Cannot name a node in Cache-Status as its name must be printable ASCII: ${name}`);
  }
  return `"${name.replace(/["\\]/g, "\\$&")}"`;
}
