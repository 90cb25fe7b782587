/** Reads and writes addresses in options. */
import { isIPv6 } from "node:net";

export interface HostPort {
  /** A name or an address, IPv6 without brackets. */
  readonly host: string;
  /** 0 to 65535; 0 means any free port. */
  readonly port: number;
}

/** The value of `--nats`. */
export type NatsSetting =
  | { readonly kind: "off" }
  | {
    readonly kind: "urls";
    /** `nats://[login@]host:port` or `tls://…`, at least one. A login is a secret: log them only {@link redacted}. */
    readonly urls: readonly string[];
  };

/** Reads `host:port`, with an IPv6 address in brackets; `undefined` for anything else. */
export function readHostPort(text: string): HostPort | undefined {
  const parts = /^(?:\[([^\]%]*)\]|([A-Za-z0-9._-]{1,253})):(\d{1,5})$/.exec(text);
  if (parts === null) return undefined;
  const [, address, name, digits] = parts;
  const port = Number(digits);
  if (port > 65535 || (address !== undefined && !isIPv6(address))) return undefined;
  // The URL parser refuses names such as 999.1.1.1.
  if (name !== undefined && !URL.canParse(`http://${name}`)) return undefined;
  return { host: address ?? name!, port };
}

/** Whether a text is a host as HTTP's `Host` names it, in lower case: `host` or `host:port`, IPv6 in brackets. */
export function isHost(text: string): boolean {
  const parts = /^(?:\[[^\]]*\]|[^:[\]A-Z]+)(:\d+)?$/.exec(text);
  if (parts === null) return false;
  const place = readHostPort(parts[1] === undefined ? `${text}:80` : text);
  return place !== undefined && place.port !== 0;
}

/** Reads `http://host[:port]` or `https://…`, and drops a slash at its end; `undefined` for anything else. */
export function readAdvertise(text: string): string | undefined {
  if (!/^https?:\/\/[^/?#@\\\s]+\/?$/.test(text) || !URL.canParse(text)) return undefined;
  const { port, origin } = new URL(text);
  // deno-lint-ignore no-control-regex
  const url = /^[\x00-\x7f]*$/.test(text) ? text.replace(/\/$/, "") : origin;
  // The rule of the URL in a peer's record.
  return port !== "0" && /^https?:\/\/[A-Za-z0-9.:\-[\]_]{1,500}$/.test(url) ? url : undefined;
}

/** Reads `off`, or servers with commas between them; `undefined` for anything else. */
export function readNats(text: string): NatsSetting | undefined {
  if (text === "off") return { kind: "off" };
  const urls: string[] = [];
  const logins = new Set<string>();
  for (const piece of text.split(",")) {
    const parts = /^(?:(nats|tls):\/\/)?([^/@?#\s]+@)?([^/@?#\s]+)\/?$/.exec(piece.trim());
    if (parts === null) return undefined;
    const [, scheme, login = "", place] = parts;
    // A bare word without a port is probably a typing error ("of"), not a server.
    const server = readHostPort(scheme === undefined || /:\d+$/.test(place) ? place : `${place}:4222`);
    if (server === undefined || server.port === 0 || !isDecodable(login)) return undefined;
    urls.push(`${scheme ?? "nats"}://${login}${hostInUrl(server.host)}:${server.port}`);
    if (login !== "") logins.add(login);
  }
  // The client uses one login for all servers: it would silently ignore a second one.
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

/** Writes a host for a URL: an IPv6 address gets brackets. */
export function hostInUrl(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

/** Whether a host is a loopback host. */
export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[?::1\]?)$/.test(host);
}

/** Whether a host means all addresses of a machine. */
export function isUnspecified(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}
