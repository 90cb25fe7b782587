/** Makes the parts of NATS logins in the test: certificates, NKEYs, and accounts with their users' credentials. */
import { Buffer } from "node:buffer";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { nkeys } from "nats";

export interface Authority {
  /** Path of its certificate. */
  readonly ca: string;
  /** Paths of a certificate that it has signed, and of its key. */
  issue(name: string, subjectAltName: string): { cert: string; key: string };
}

/** An authority with files in `folder`, whose certificates are good for a server and for a client. */
export function makeAuthority(folder: string, name = "ca"): Authority {
  const openssl = (...args: string[]) => void execFileSync("openssl", args, { stdio: "ignore" });
  const at = (file: string) => `${folder}/${file}`;
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const [ca, caKey] = [at(`${name}.pem`), at(`${name}.key`)];
  openssl("req", "-x509", ...newKey, "-keyout", caKey, "-out", ca, "-days", "2", "-subj", `/CN=${name}`);
  const issue = (subject: string, subjectAltName: string) => {
    const [cert, key, request, extensions] = ["pem", "key", "csr", "ext"].map((end) => at(`${subject}.${end}`)) as [
      string,
      string,
      string,
      string,
    ];
    openssl("req", ...newKey, "-keyout", key, "-out", request, "-subj", `/CN=${subject}`);
    writeFileSync(extensions, `subjectAltName=${subjectAltName}\nextendedKeyUsage=serverAuth,clientAuth\n`);
    const signing = ["-CA", ca, "-CAkey", caKey, "-CAcreateserial", "-days", "2", "-extfile", extensions];
    openssl("x509", "-req", "-in", request, ...signing, "-out", cert);
    return { cert, key };
  };
  return { ca, issue };
}

/** A new user: the seed for its own file, and the public key for the server's configuration. */
export function makeNkey(): { seed: string; publicKey: string } {
  const pair = nkeys.createUser();
  return { seed: new TextDecoder().decode(pair.getSeed()), publicKey: pair.getPublicKey() };
}

const base64 = (text: string | Uint8Array) => Buffer.from(text).toString("base64url");

/** Signs claims as NATS has them: https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/jwt */
function signed(by: ReturnType<typeof nkeys.createUser>, subject: string, name: string, nats: object): string {
  const claims = { jti: name, iat: Math.floor(Date.now() / 1000), iss: by.getPublicKey(), name, sub: subject, nats };
  const text = `${base64('{"typ":"JWT","alg":"ed25519-nkey"}')}.${base64(JSON.stringify(claims))}`;
  return `${text}.${base64(by.sign(new TextEncoder().encode(text)))}`;
}

/** An operator with one account and one user: the server's configuration, and the text of a creds file. */
export function makeAccount(): { configuration: string; creds: string } {
  const [operator, account, system, user] = [
    nkeys.createOperator(),
    nkeys.createAccount(),
    nkeys.createAccount(),
    nkeys.createUser(),
  ];
  const counts = ["subs", "data", "payload", "imports", "exports", "conn", "leaf"];
  const storage = ["mem_storage", "disk_storage", "streams", "consumer"];
  const unlimited = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, -1]));
  const claimsOf = (names: readonly string[]) => (
    { type: "account", version: 2, limits: { ...unlimited(names), wildcards: true } }
  );
  const accounts = [[account, claimsOf([...counts, ...storage])], [system, claimsOf(counts)]] as const;
  const preloaded = accounts.map(([pair, claims]) =>
    `${pair.getPublicKey()}: ${signed(operator, pair.getPublicKey(), "account", claims)}`
  );
  const operatorJwt = signed(operator, operator.getPublicKey(), "operator", {
    type: "operator",
    version: 2,
    system_account: system.getPublicKey(),
  });
  const userClaims = { type: "user", version: 2, ...unlimited(["subs", "data", "payload"]) };
  const userJwt = signed(account, user.getPublicKey(), "user", userClaims);
  return {
    configuration: `operator: ${operatorJwt}\nresolver: MEMORY\nresolver_preload: {\n${preloaded.join("\n")}\n}\n`,
    creds: `-----BEGIN NATS USER JWT-----\n${userJwt}\n------END NATS USER JWT------\n\n` +
      `-----BEGIN USER NKEY SEED-----\n${new TextDecoder().decode(user.getSeed())}\n------END USER NKEY SEED------\n`,
  };
}
