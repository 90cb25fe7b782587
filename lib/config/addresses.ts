/** The addresses among the options: how their texts are read, and written. */
import { isIPv6 } from "node:net";

export interface HostPort {
  /** A name or an address, IPv6 without brackets. */
  readonly host: string;
  /** 0 to 65535; 0 is any free one. */
  readonly port: number;
}

/** What `--nats` can say. */
export type NatsSetting =
  | { readonly kind: "off" }
  | {
    readonly kind: "urls";
    /** `nats://[login@]host:port` or `tls://…`, at least one. A login is a secret: log them only {@link redacted}. */
    readonly urls: readonly string[];
  };

/** `host:port`, an IPv6 address in brackets; `undefined` for anything else. */
export function readHostPort(text: string): HostPort | undefined {
  const parts = /^(?:\[([^\]%]*)\]|([A-Za-z0-9._-]{1,253})):(\d{1,5})$/.exec(text);
  if (parts === null) return undefined;
  const [, address, name, digits] = parts;
  const port = Number(digits);
  if (port > 65535 || (address !== undefined && !isIPv6(address))) return undefined;
  // The URL parser knows that 999.1.1.1 is no name either.
  if (name !== undefined && !URL.canParse(`http://${name}`)) return undefined;
  return { host: address ?? name!, port };
}

/** `http://host[:port]` or `https://…`, without a slash at its end; `undefined` for anything else. */
export function readAdvertise(text: string): string | undefined {
  if (!/^https?:\/\/[^/?#@\\\s]+\/?$/.test(text) || !URL.canParse(text)) return undefined;
  const { port, origin } = new URL(text);
  // deno-lint-ignore no-control-regex
  const url = /^[\x00-\x7f]*$/.test(text) ? text.replace(/\/$/, "") : origin;
  // What other nodes read in a record.
  return port !== "0" && /^https?:\/\/[A-Za-z0-9.:\-[\]_]{1,500}$/.test(url) ? url : undefined;
}

/** `off`, or servers with commas between them; `undefined` for anything else. */
export function readNats(text: string): NatsSetting | undefined {
  if (text === "off") return { kind: "off" };
  const urls: string[] = [];
  const logins = new Set<string>();
  for (const piece of text.split(",")) {
    const parts = /^(?:(nats|tls):\/\/)?([^/@?#\s]+@)?([^/@?#\s]+)\/?$/.exec(piece.trim());
    if (parts === null) return undefined;
    const [, scheme, login = "", place] = parts;
    // A bare word without a port is more likely a slip ("of") than a server.
    const server = readHostPort(scheme === undefined || /:\d+$/.test(place) ? place : `${place}:4222`);
    if (server === undefined || server.port === 0 || !isDecodable(login)) return undefined;
    urls.push(`${scheme ?? "nats"}://${login}${hostInUrl(server.host)}:${server.port}`);
    if (login !== "") logins.add(login);
  }
  // The client logs in with the same words everywhere: a second login would be ignored in silence.
  return logins.size > 1 ? undefined : { kind: "urls", urls };
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false; // a percent sign that is no escape
  }
}

/** A host as it stands in an URL: an IPv6 address in brackets. */
export function hostInUrl(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

/** Whether a host is this machine to whoever names it. */
export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[?::1\]?)$/.test(host);
}

/** Whether it stands for all addresses of a machine. */
export function isUnspecified(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}
