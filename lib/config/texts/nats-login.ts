/** The login of a node at NATS: the files that its options name, and the rules between them. */
import type { NatsSetting } from "./addresses.ts";

/** Paths of files with secrets. Each connection reads them again, so that they may be replaced. */
export interface NatsLogin {
  /** A user's JWT and seed, as `nsc` and `nats auth` write them. */
  readonly creds?: string;
  /** The seed of a user's NKEY. */
  readonly nkey?: string;
  /** Not a path: the user name for `passwordFile`. */
  readonly user?: string;
  readonly passwordFile?: string;
  readonly tokenFile?: string;
  /** The certificates of the authority that signs the servers' certificates. @default those of the runtime */
  readonly ca?: string;
  /** This node's certificate and its key. */
  readonly cert?: string;
  readonly key?: string;
  /** Not an option: the seed in the store of the bundled server. It does not exist before that server's first start. */
  readonly bundledNkey?: string;
}

const SEED = /^SU[A-Z2-7]{56}\s*$/m;
const PEM = /^-----BEGIN /m;
/**
 * The required contents of each file. They are checked at the start, so that a typing error in a path does not look
 * like an outage.
 */
const CONTENTS: { readonly [Field in keyof NatsLogin]: readonly [flag: string, what: string, pattern: RegExp] } = {
  creds: ["nats-creds", "a user's JWT and seed", /BEGIN NATS USER JWT[^]*BEGIN USER NKEY SEED/],
  nkey: ["nats-nkey", "the seed of a user, which begins with SU", SEED],
  passwordFile: ["nats-password-file", "a password in its first line", /^[^\r\n]/],
  tokenFile: ["nats-token-file", "a token in its first line", /^[^\r\n]/],
  ca: ["nats-ca", "certificates in PEM", PEM],
  cert: ["nats-cert", "a certificate in PEM", PEM],
  key: ["nats-key", "a private key in PEM", PEM],
};

/**
 * The faults of a login: two logins at once, half of one, or a file with wrong contents. Never shows the contents of a
 * file.
 *
 * @param readFile may throw
 */
export function loginFaults(
  login: NatsLogin,
  nats: NatsSetting | { readonly kind: "embedded" },
  readFile: (path: string) => string,
): string[] {
  const given = Object.keys(login) as (keyof NatsLogin)[];
  const flagOf = (field: keyof NatsLogin): string => `--${field === "user" ? "nats-user" : CONTENTS[field]![0]}`;
  if (given.length === 0) return [];
  if (nats.kind !== "urls") {
    return [`${given.map(flagOf).join(", ")} must be given with --nats, which names the servers`];
  }
  const faults: string[] = [];
  const ways = [
    ...(nats.urls.some((url) => url.includes("@")) ? ["the login in the URL of --nats"] : []),
    ...given.filter((field) => ["creds", "nkey", "user", "tokenFile"].includes(field)).map(flagOf),
  ];
  if (ways.length > 1) faults.push(`one login must be given: there are ${ways.join(" and ")}`);
  for (const [one, other] of [["user", "passwordFile"], ["cert", "key"]] as const) {
    if ((login[one] === undefined) !== (login[other] === undefined)) {
      faults.push(`${flagOf(one)} and ${flagOf(other)} must be given together`);
    }
  }
  for (const field of given) {
    const [, what, pattern] = CONTENTS[field] ?? [];
    if (pattern === undefined) continue;
    try {
      if (!pattern.test(readFile(login[field]!))) faults.push(`${flagOf(field)} must be a file that holds ${what}`);
    } catch (error) {
      faults.push(`${flagOf(field)} must be a file that can be read: ${(error as Error).message}`);
    }
  }
  return faults;
}
