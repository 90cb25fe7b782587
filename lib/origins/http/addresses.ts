/** Which addresses a redirect of an origin may lead to: none that the origin itself could not have meant. */
import { lookup as systemLookup } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import ipaddr from "ipaddr.js";
import { OriginError } from "../../core/errors.ts";

/** `public`, or the range of an address that is not for everybody, as ipaddr.js names it: `loopback`, `linkLocal`, … */
export type AddressKind = string;

/** Where the IANA gives out public addresses (RFC 4291, section 2.4). */
const GLOBAL_UNICAST = ipaddr.parseCIDR("2000::/3") as [ipaddr.IPv6, number];
/** Stands for public IPv4 addresses where a network has IPv6 only (RFC 6052, section 2.1). */
const NAT64 = ipaddr.parseCIDR("64:ff9b::/96") as [ipaddr.IPv6, number];

/** The kind of one IP address. An IPv4 address inside of an IPv6 one counts as the system takes it. */
export function kindOf(address: string): AddressKind {
  const parsed = ipaddr.process(address);
  const range = parsed.range();
  // A connection to 0.0.0.0 or :: is one to this machine.
  if (range === "unspecified") return "loopback";
  if (parsed instanceof ipaddr.IPv4) return range === "unicast" ? "public" : range;
  const address6 = parsed as ipaddr.IPv6;
  if (address6.match(NAT64)) {
    const inner = kindOf(address6.toByteArray().slice(-4).join("."));
    return inner === "public" ? inner : `${inner} by NAT64`;
  }
  // The range of `::127.0.0.1`, which is deprecated, is unicast to the library.
  if (range === "unicast") return address6.match(GLOBAL_UNICAST) ? "public" : "reserved";
  return range;
}

/** Whether an origin at an address of kind `own` may lead to this address. */
export function mayLeadTo(address: string, own: AddressKind): boolean {
  const kind = kindOf(address);
  return kind === "public" || kind === own;
}

/** @throws OriginError the host is an IP address, and none that an origin at an address of kind `own` may lead to */
export function checkLiteral(host: string, own: AddressKind): void {
  if (isIP(host) !== 0 && !mayLeadTo(host, own)) throw refused(host);
}

/**
 * A `lookup` for node:net, which connects to none but the addresses that it is given here. So a name that has another
 * address a moment later gains nothing.
 *
 * @param lookup of the system
 */
export function lookupWithin(own: AddressKind, lookup: LookupFunction = systemLookup): LookupFunction {
  return (host, options, callback) => {
    lookup(host, { ...options, all: true }, (error, found) => {
      if (error !== null) return callback(error, []);
      const allowed = (Array.isArray(found) ? found : []).filter(({ address }) => mayLeadTo(address, own));
      if (allowed.length === 0) return callback(refused(host), []);
      if (options.all) callback(null, allowed);
      else callback(null, allowed[0]!.address, allowed[0]!.family);
    });
  };
}

function refused(host: string): OriginError {
  return new OriginError(`it redirects to ${host}, which has no address that such an origin may lead to`);
}
