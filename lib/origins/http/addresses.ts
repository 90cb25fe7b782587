/** Which hosts a redirect of an origin may lead to: none that the origin itself could not have meant. */
import { lookup } from "node:dns/promises";
import ipaddr from "ipaddr.js";

/** Public addresses, and the kinds that are not for everybody (RFC 1122, 3927, 1918, 4193, 6598). */
export type AddressKind = "public" | "loopback" | "linkLocal" | "private";

/** The kind of one IP address. An unknown kind counts as private. */
export function kindOf(address: string): AddressKind {
  const range = ipaddr.process(address).range();
  if (range === "unicast") return "public";
  return range === "loopback" || range === "linkLocal" ? range : "private";
}

/**
 * The address to connect to for a host, and its kind. The first address counts: the one that is checked is the one that is used.
 *
 * @throws Error the host has no address
 */
export async function resolved(hostname: string): Promise<{ address: string; kind: AddressKind }> {
  const host = hostname.replace(/^\[|\]$/g, "");
  const { address } = ipaddr.isValid(host) ? { address: host } : await lookup(host);
  return { address, kind: kindOf(address) };
}
