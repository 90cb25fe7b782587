/**
 * The `Cache-Status` field (RFC 9211): one member, this node, and how it dealt with the request.
 *
 * | value                              | when                                             |
 * | ---------------------------------- | ------------------------------------------------ |
 * | `n1; hit`                          | from the main cache                              |
 * | `n1; hit; detail=hot`              | from the hot cache                               |
 * | `n1; fwd=miss; stored; detail=origin` | loaded from the origin; `stored` where it was |
 * | `n1; fwd=miss; detail=peer`        | fetched from its owner; `stored` where it was    |
 * | `n1; fwd=miss; detail=not-found`   | asked for, and it failed: see {@linkcode Problem.code} |
 * | `n1; detail=bad-key`               | refused before any cache was asked               |
 */
export type Source = "origin" | "peer" | "main" | "hot";

/** RFC 9651, section 3.3.4: a token begins with a letter or `*`, which most addresses do not. */
const token = /^[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_`|~:/]*$/;
const printable = /^[\x20-\x7e]*$/;

/** The values for one node, built once: answering a hit joins no strings. */
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

  /** A get that had to look further; it may have found a value that came into a cache meanwhile. */
  loaded(source: Source, stored: boolean): string {
    if (source === "main") return this.hit;
    if (source === "hot") return this.hotHit;
    const values = this.#loaded[source];
    return stored ? values.stored : values.passed;
  }

  /** A get that missed and then failed. @param code an sf-token */
  failed(code: string): string {
    return `${this.#name}; fwd=miss; detail=${code}`;
  }

  /** A request that no cache was asked for. @param code an sf-token */
  refused(code: string): string {
    return `${this.#name}; detail=${code}`;
  }
}

/** An sf-token where the name is one, else an sf-string (RFC 9211, section 2, allows both). */
function serializeName(name: string): string {
  if (token.test(name)) return name;
  if (!printable.test(name)) {
    throw new RangeError(`Cannot name a node in Cache-Status as its name must be printable ASCII: ${name}`);
  }
  return `"${name.replace(/["\\]/g, "\\$&")}"`;
}
