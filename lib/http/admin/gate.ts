/** Who may change what is cached: clients on this node's own machine, which no other site and no proxy stands behind. */
import { isLoopback } from "../../config/addresses.ts";

/** What proxies add when they pass a request on, besides `X-Forwarded-*`. */
const OF_PROXIES = ["forwarded", "via", "x-real-ip", "cdn-loop"];

/**
 * Why a request may not change anything; `undefined`: it may.
 *
 * `Host` keeps away a page whose name leads to this machine (DNS rebinding); `Origin` and `Sec-Fetch-Site` keep away every
 * other page in a browser on this machine.
 *
 * @param isLoopbackOnly whether the node can be reached from its own machine only
 */
export function refusalOf(
  { url, headers }: Pick<Request, "url" | "headers">,
  isLoopbackOnly: boolean,
): string | undefined {
  if (!isLoopbackOnly) {
    return "this is allowed only on a node that listens on a loopback address, as --addr 127.0.0.1:8000 does";
  }
  const host = headers.get("host");
  if (!isOfLoopback(url) || (host !== null && !isOfLoopback(`http://${host}/`))) {
    return "this is allowed only for requests whose Host is localhost, 127.0.0.1 or [::1]";
  }
  const proxy = [...headers.keys()].find((name) => OF_PROXIES.includes(name) || name.startsWith("x-forwarded-"));
  if (proxy !== undefined) return `this is allowed only without a proxy in front of the node: the request has ${proxy}`;
  const site = headers.get("sec-fetch-site");
  if (headers.has("origin") || (site !== null && site !== "none")) {
    return "this is not allowed for web pages: send it from a program, without Origin and Sec-Fetch-Site";
  }
  return undefined;
}

/** Bun gives a bare path where `Host` is unusable, which is no URL. */
function isOfLoopback(url: string): boolean {
  return URL.canParse(url) && isLoopback(new URL(url).hostname);
}
