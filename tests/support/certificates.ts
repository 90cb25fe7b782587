/** Certificates made by openssl. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { PATIENCE } from "./until.ts";

const run = promisify(execFile);
const PROCESS_TIMEOUT_MS = PATIENCE * 20_000;

/** A certificate and its private key in PEM. */
export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** Signed by itself, for one name or address, as `DNS:localhost` or `IP:127.0.0.1`. */
export async function certificateFor(folder: string, subject: string, file = subject): Promise<Certificate> {
  const [key, cert] = ["key", "pem"].map((ending) => join(folder, `${file.replace(/\W/g, "-")}.${ending}`));
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const names = ["-subj", `/CN=of ${subject}`, "-addext", `subjectAltName=${subject}`];
  const isNoAuthority = ["-addext", "basicConstraints=critical,CA:FALSE"];
  await run("openssl", ["req", ...kind, ...names, ...isNoAuthority, "-keyout", key!, "-out", cert!], {
    timeout: PROCESS_TIMEOUT_MS,
  });
  return { key: readFileSync(key!, "utf8"), cert: readFileSync(cert!, "utf8") };
}
