/** Finds out whether the node of a record still runs. */
import { get as getPlain } from "node:http";
import { get as getSecure } from "node:https";
import { ANYWHERE, type PeerNetworks } from "../../config/texts/networks.ts";
import type { PeerRecord } from "../../core/roster.ts";
import { PEER_PATH } from "../dialer.ts";
import { CHALLENGE, CLAIM } from "./fields.ts";
import { Introduction, type Prover } from "./introduction.ts";

/** The limits of the question. */
export interface AskOptions {
  /** A closed port answers at once; only a silent host costs this time. */
  readonly timeoutMs: number;
  /** @default all */
  readonly networks?: PeerNetworks;
  /** The authorities to trust, in PEM. @default the system's */
  readonly ca?: string | undefined;
}

/**
 * Whether the node of this record answers at its URL with a challenge that only this node can sign (fields.ts). Name
 * and incarnation prove nothing: they are no secret, and another node may have its address now. Never rejects.
 */
export async function isAlive(prover: Prover, record: PeerRecord, options: AskOptions): Promise<boolean> {
  const { timeoutMs, networks = ANYWHERE, ca } = options;
  if (networks.faultOf(record.url) !== undefined) return false;
  const introduction = new Introduction(prover, record);
  const rest = { ...networks.lookup, ...(ca !== undefined && { ca }) };
  await introduction.answer(await challengeAt(record.url, introduction.claim, timeoutMs, rest));
  return introduction.isPeer === true;
}

/** The field in the answer to the claim; `undefined` for any other answer or none. */
function challengeAt(url: string, claim: string, timeoutMs: number, rest: object): Promise<string | undefined> {
  return new Promise((resolve) => {
    const get = url.startsWith("https:") ? getSecure : getPlain;
    const options = { agent: false, ...rest, headers: { [CLAIM]: claim }, signal: AbortSignal.timeout(timeoutMs) };
    const request = get(`${url}${PEER_PATH}`, options, (response) => {
      const field = response.headers[CHALLENGE];
      resolve(response.statusCode === 426 && typeof field === "string" ? field : undefined);
      request.destroy();
    });
    request.on("error", () => resolve(undefined));
    request.on("close", () => resolve(undefined));
  });
}
