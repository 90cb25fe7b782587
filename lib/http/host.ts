/** The `Host` of requests. Deno builds a request's URL from it without a check. */

/** A name, an IPv4 address, or an IPv6 address in brackets; then an optional port (RFC 9110, section 7.2). */
const HOST = /^(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/;

/**
 * Refuses requests whose `Host` is not a host. On Deno `GET /cache/t/real` with `Host: x/stats?` has the URL
 * `http://x/stats?/cache/t/real`, which another route would answer.
 */
export class HostCheck {
  /** Most requests name the same host as the one before, so most checks are one comparison. */
  #lastSound = "localhost";

  /** Whether the request may be routed. Without the field (HTTP/1.0, HTTP/2) the runtime has set the host itself. */
  isSound({ headers }: Request): boolean {
    const host = headers.get("host");
    if (host === null || host === this.#lastSound) return true;
    if (!HOST.test(host)) return false;
    this.#lastSound = host;
    return true;
  }
}
