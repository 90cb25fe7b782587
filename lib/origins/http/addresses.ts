/**
 * Decides which addresses a redirect may lead to. An origin on the internet must not lead a node into private networks.
 */
import { lookup as systemLookup } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import ipaddr from "ipaddr.js";
import { OriginError } from "../../core/errors.ts";

/** `public`, or the range of a non-public address by its name in ipaddr.js: `loopback`, `linkLocal`, … */
export type AddressKind = string;

/** The block from which the IANA assigns public addresses (RFC 4291, section 2.4). */
const GLOBAL_UNICAST = ipaddr.parseCIDR("2000::/3") as [ipaddr.IPv6, number];
/** Represents public IPv4 addresses in networks with IPv6 only (RFC 6052, section 2.1). */
const NAT64 = ipaddr.parseCIDR("64:ff9b::/96") as [ipaddr.IPv6, number];

/** The kind of one IP address. An IPv4 address inside an IPv6 one counts as the system reads it. */
export function kindOf(address: string): AddressKind {
  const parsed = ipaddr.process(address);
  const range = parsed.range();
  // A connection to 0.0.0.0 or :: goes to this machine.
  if (range === "unspecified") return "loopback";
  if (parsed instanceof ipaddr.IPv4) return range === "unicast" ? "public" : range;
  const address6 = parsed as ipaddr.IPv6;
  if (address6.match(NAT64)) {
    const inner = kindOf(address6.toByteArray().slice(-4).join("."));
    return inner === "public" ? inner : `${inner} by NAT64`;
  }
  // For the library, the deprecated range of `::127.0.0.1` is unicast.
  if (range === "unicast") return address6.match(GLOBAL_UNICAST) ? "public" : "reserved";
  return range;
}

/** Whether an origin at an address of kind `own` may lead to this address. */
export function mayLeadTo(address: string, own: AddressKind): boolean {
  const kind = kindOf(address);
  return kind === "public" || kind === own;
}

/** @throws OriginError the host is an IP address to which an origin at an address of kind `own` may not lead */
export function checkLiteral(host: string, own: AddressKind): void {
  if (isIP(host) !== 0 && !mayLeadTo(host, own)) throw refused(host);
}

/**
 * A `lookup` for node:net, which connects only to the addresses from this function. So a name cannot gain anything by
 * changing its address a moment later.
 *
 * @param lookup the system's function
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
