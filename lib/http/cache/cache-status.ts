/**
 * The `Cache-Status` field (RFC 9211): one member, which names this node and says how it answered. Values with a lifetime
 * add `ttl`, in seconds; those that a site has just answered add `fwd-status`.
 *
 * | value                              | when                                             |
 * | ---------------------------------- | ------------------------------------------------ |
 * | `n1; hit`                          | from the main cache                              |
 * | `n1; hit; detail=hot`              | from the hot cache                               |
 * | `n1; fwd=miss; stored; detail=origin` | loaded from the origin; `stored` if this node keeps it |
 * | `n1; fwd=miss; detail=peer`        | fetched from its owner; `stored` if this node keeps it |
 * | `n1; fwd=miss; detail=not-found`   | the load failed: see {@linkcode Problem.code}    |
 * | `n1; fwd=method; fwd-status=204` | a site's answer that went through; `bypass`: the cache may not keep it |
 * | `n1; detail=bad-key`               | refused before the cache was asked               |
 */
import type { Loaded } from "../../core/group.ts";

/** RFC 9651, section 3.3.4: a token begins with a letter or `*`. Most addresses do not. */
const token = /^[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_`|~:/]*$/;
const printable = /^[\x20-\x7e]*$/;

/** The field's values for one node, built once: a hit joins no strings. */
export class CacheStatus {
  readonly hit: string;
  readonly hotHit: string;
  readonly #name: string;
  readonly #loaded: Readonly<Record<"origin" | "peer", { stored: string; passed: string }>>;

  /** @throws RangeError the name is not printable ASCII */
  constructor(nodeName: string) {
    const name = serializeName(nodeName);
    this.#name = name;
    this.hit = `${name}; hit`;
    this.hotHit = `${name}; hit; detail=hot`;
    this.#loaded = {
      origin: { stored: `${name}; fwd=miss; stored; detail=origin`, passed: `${name}; fwd=miss; detail=origin` },
      peer: { stored: `${name}; fwd=miss; stored; detail=peer`, passed: `${name}; fwd=miss; detail=peer` },
    };
  }

  /** A get that missed and then got its value; another load may have put it into a cache meanwhile. */
  loaded(source: Loaded["source"], stored: boolean): string {
    if (source === "main") return this.hit;
    if (source === "hot") return this.hotHit;
    const values = this.#loaded[source];
    return stored ? values.stored : values.passed;
  }

  /** A value from this node's memory. */
  found(from: "main" | "hot"): string {
    return from === "hot" ? this.hotHit : this.hit;
  }

  /** A request that went through to a site. @param reason why (RFC 9211, section 2.2) */
  forwarded(reason: string, status: number): string {
    return `${this.#name}; fwd=${reason}; fwd-status=${status}`;
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

/** As an sf-token if the name is one, else as an sf-string; RFC 9211, section 2, allows both. */
function serializeName(name: string): string {
  if (token.test(name)) return name;
  if (!printable.test(name)) {
    throw new RangeError(`Cannot name a node in Cache-Status as its name must be printable ASCII: ${name}`);
  }
  return `"${name.replace(/["\\]/g, "\\$&")}"`;
}
