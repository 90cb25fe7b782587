/**
 * Operators may change the cache and see inside the node. They have the token of `--admin-token-file`. Without a token,
 * an operator is a client on this node's own machine, if neither a proxy nor another site's page sends the request.
 */
import { isLoopback } from "../../config/texts/addresses.ts";
import { problemResponse } from "../problem.ts";
import { type AdminTokens, hasToken } from "./tokens.ts";

/** Header fields that proxies add when they pass a request on, besides `X-Forwarded-*`. */
const OF_PROXIES = ["forwarded", "via", "x-real-ip", "cdn-loop"];

export interface GateOptions {
  /** `undefined`: there is no token, so an operator is a client on this machine. */
  readonly tokens?: AdminTokens | undefined;
  /** Whether the node can be reached from its own machine only. */
  readonly isLoopbackOnly: boolean;
  /** Whether anyone may see the statistics. */
  readonly isStatsPublic: boolean;
  /** A token for the statistics only. The other workers of the machine have it. */
  readonly statsToken?: string | undefined;
}

type Asked = Pick<Request, "method" | "url" | "headers">;

/** Answers requests that only operators may send. */
export class Gate {
  readonly #options: GateOptions;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /** The refusal of a request that would change something; `undefined`: the request may. */
  change(request: Asked): Response | undefined {
    return this.#refusal(request, false);
  }

  /** The refusal of a request that asks about keys and changes nothing; `undefined`: the request may. */
  ask(request: Asked): Response | undefined {
    return this.#refusal(request, true);
  }

  /** The refusal of a request for the statistics; `undefined`: the request may. */
  stats(request: Asked): Response | undefined {
    const { isStatsPublic, statsToken } = this.#options;
    if (isStatsPublic || (statsToken !== undefined && hasToken(request.headers, statsToken))) return undefined;
    return this.#refusal(request, true);
  }

  #refusal(request: Asked, isRead: boolean): Response | undefined {
    const { tokens, isLoopbackOnly } = this.#options;
    const { headers } = request;
    const detail = tokens === undefined
      ? refusalOf(request, isLoopbackOnly, isRead)
      : isOfAnotherSite(request, isRead)
      ? "this is not allowed for the pages of other sites"
      : undefined;
    if (detail !== undefined) return problemResponse({ status: 403, detail });
    if (tokens === undefined || tokens.isIn(headers)) return undefined;
    return problemResponse({ status: 401, detail: "this needs the token of this node's operators" }, {
      "www-authenticate": "Bearer",
    });
  }
}

/**
 * Why a node without a token refuses a request; `undefined`: it does not.
 *
 * The check of `Host` stops a page whose host name resolves to this machine (DNS rebinding). The checks of `Origin` and
 * `Sec-Fetch-Site` stop all other pages in a browser on this machine.
 *
 * @param isLoopbackOnly whether the node can be reached from its own machine only
 * @param isRead whether it changes nothing; then a link on the node's own page may lead to it
 */
export function refusalOf(request: Asked, isLoopbackOnly: boolean, isRead: boolean): string | undefined {
  const { url, headers } = request;
  if (!isLoopbackOnly) {
    return "this is allowed only with a token, which --admin-token-file sets, or on a node that listens on a loopback " +
      "address, as --addr 127.0.0.1:8000 does";
  }
  const host = headers.get("host");
  if (!isOfLoopback(url) || (host !== null && !isOfLoopback(`http://${host}/`))) {
    return "this is allowed only for requests whose Host is localhost, 127.0.0.1 or [::1]";
  }
  const proxy = [...headers.keys()].find((name) => OF_PROXIES.includes(name) || name.startsWith("x-forwarded-"));
  if (proxy !== undefined) return `this is allowed only without a proxy in front of the node: the request has ${proxy}`;
  if (isRead) {
    if (!isOfAnotherSite(request, true)) return undefined;
    return "this is not allowed for links and pages of other sites: open the address by itself";
  }
  const site = headers.get("sec-fetch-site");
  if (headers.has("origin") || (site !== null && site !== "none")) {
    return "this is not allowed for web pages: send it from a program, without Origin and Sec-Fetch-Site";
  }
  return undefined;
}

/**
 * Whether a browser sends the request for a page of another origin. A reader may follow a link from the page of another
 * node on the same machine. That page is of the same site, and only the reader sees the answer.
 */
function isOfAnotherSite({ url, headers }: Asked, isRead: boolean): boolean {
  const origin = headers.get("origin");
  const host = (headers.get("host") ?? hostOf(url))?.toLowerCase();
  if (origin !== null && origin !== `http://${host}` && origin !== `https://${host}`) return true;
  const site = headers.get("sec-fetch-site");
  if (isRead && site === "same-site") return headers.get("sec-fetch-dest") !== "document";
  return site !== null && site !== "none" && site !== "same-origin";
}

function hostOf(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).host : undefined;
}

/** Where `Host` is unusable, Bun gives a bare path, which does not parse as a URL. */
function isOfLoopback(url: string): boolean {
  return URL.canParse(url) && isLoopback(new URL(url).hostname);
}
