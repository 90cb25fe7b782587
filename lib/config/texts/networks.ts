/** The networks in which a node connects to peers: `--peer-networks`. */
import { lookup as systemLookup } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import ipaddr from "ipaddr.js";

/** Chosen: more than a fleet has subnets. */
const MAX_NETWORKS = 100;

/** Reads networks such as `10.0.0.0/8,fd00::/8`, or single addresses; `undefined` for anything else. */
export function readNetworks(text: string): readonly string[] | undefined {
  const networks = text.split(",").map((piece) => networkIn(piece.trim()));
  return networks.length > MAX_NETWORKS || networks.includes(undefined) ? undefined : networks as string[];
}

function networkIn(text: string): string | undefined {
  // ipaddr.js accepts more than operators mean: it reads 10.1/16 as 10.0.0.1/16.
  if (isIP(text) === 0 && isIP(text.replace(/\/\d{1,3}$/, "")) === 0) return undefined;
  try {
    if (!text.includes("/")) return `${text}/${isIP(text) === 4 ? 32 : 128}`;
    ipaddr.parseCIDR(text);
    return text;
  } catch {
    return undefined;
  }
}

/** Decides to which addresses a node may connect. */
export class PeerNetworks {
  readonly #networks: readonly [ipaddr.IPv4 | ipaddr.IPv6, number][];

  /** @param networks as `readNetworks` gives them; none: all addresses are allowed */
  constructor(networks: readonly string[]) {
    this.#networks = networks.map((network) => ipaddr.parseCIDR(network));
  }

  /**
   * Whether a node may connect to this address; an IPv4 address may be written as IPv6. False for a text that is no
   * address.
   */
  isAllowed(address: string): boolean {
    if (this.#networks.length === 0) return true;
    if (isIP(address) === 0) return false;
    const found = ipaddr.process(address);
    return this.#networks.some(([base, bits]) => base.kind() === found.kind() && found.match(base, bits));
  }

  /** Why a node must not connect to the host of a URL; a name is judged only when it is looked up. */
  faultOf(url: string): string | undefined {
    const host = new URL(url).hostname.replace(/^\[|\]$/g, "");
    return isIP(host) === 0 || this.isAllowed(host) ? undefined : "its address is outside --peer-networks";
  }

  /** The option for `net.connect` and `http.get`: `#lookUp`, or the system's own if all addresses are allowed. */
  get lookup(): { readonly lookup?: LookupFunction } {
    return this.#networks.length === 0 ? {} : { lookup: this.#lookUp };
  }

  /**
   * Looks a name up for `net.connect` and similar functions, and gives only the allowed addresses. So the connection
   * uses a judged address, even if the name changes its meaning a moment later.
   */
  readonly #lookUp: LookupFunction = (host, options, callback) => {
    systemLookup(host, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, "");
      const allowed = addresses.filter(({ address }) => this.isAllowed(address));
      const [first] = allowed;
      if (first === undefined) return callback(new Error(`${host} has no address in --peer-networks`), "");
      if (options.all) callback(null, allowed);
      else callback(null, first.address, first.family);
    });
  };
}

/** All addresses are allowed. */
export const ANYWHERE: PeerNetworks = new PeerNetworks([]);
