import { PeerError } from "../errors.ts";
import type { Peer } from "../ports.ts";

/** A listed peer without a connection. It still owns its keys: an ask of it fails, and the next in rank is asked. */
export function unreachable(name: string): Peer {
  const error = () => new PeerError(`Cannot ask ${name} as there is no connection to it`);
  const fail = () => Promise.reject(error());
  return { name, ask: (_group, _key, ask) => ask.reject(error()), peek: fail, push: fail, catchUp: fail };
}
