/**
 * Reads the files of a login and makes options of nats.js from them. It reads them for each connection, as files may be
 * replaced.
 */
import { readFile } from "node:fs/promises";
import { type ConnectionOptions, credsAuthenticator, nkeyAuthenticator, type TlsOptions } from "nats";
import type { NatsLogin } from "../../config/texts/nats-login.ts";
import { UnavailableError } from "../../core/errors.ts";

/** A longer file must be a wrong one. Chosen: a chain of certificates has a few kilobytes. */
const MAX_FILE_CHARS = 1024 * 1024;
const SEED = /^SU[A-Z2-7]{56}(?=\s*$)/m;
const encoder = new TextEncoder();

/**
 * The part of `ConnectionOptions` that identifies this node.
 *
 * @throws UnavailableError a file cannot be read or has the wrong content; the message names only the file
 */
export async function readLogin(files: NatsLogin): Promise<Pick<ConnectionOptions, "authenticator" | "tls">> {
  const tls = await readTls(files);
  const authenticator = await readAuthenticator(files);
  return { ...(tls !== undefined && { tls }), ...(authenticator !== undefined && { authenticator }) };
}

async function readTls({ ca, cert, key }: NatsLogin): Promise<TlsOptions | undefined> {
  if (ca === undefined && cert === undefined) return undefined;
  return {
    ...(ca !== undefined && { ca: await textOf(ca) }),
    ...(cert !== undefined && { cert: await textOf(cert) }),
    ...(key !== undefined && { key: await textOf(key) }),
  };
}

async function readAuthenticator(files: NatsLogin): Promise<ConnectionOptions["authenticator"]> {
  const { creds, nkey, user, passwordFile, tokenFile, bundledNkey } = files;
  if (creds !== undefined) {
    const text = await textOf(creds);
    if (!/BEGIN NATS USER JWT[^]*BEGIN USER NKEY SEED/.test(text)) throw wrong(creds, "a user's JWT and seed");
    return credsAuthenticator(encoder.encode(text.replaceAll("\r\n", "\n")));
  }
  if (nkey !== undefined) return nkeyAuthenticator(encoder.encode(seedIn(await textOf(nkey), nkey)));
  if (user !== undefined && passwordFile !== undefined) {
    const pass = await firstLine(passwordFile);
    return () => ({ user, pass });
  }
  if (tokenFile !== undefined) {
    const token = await firstLine(tokenFile);
    return () => ({ auth_token: token });
  }
  if (bundledNkey === undefined) return undefined;
  const seed = await bundledSeed(bundledNkey);
  return seed === undefined ? undefined : nkeyAuthenticator(encoder.encode(seed));
}

/**
 * The seed in the store of the bundled server; `undefined` if there is none yet.
 *
 * @throws UnavailableError it cannot be read or is no seed
 */
export async function bundledSeed(path: string): Promise<string | undefined> {
  try {
    return seedIn(await textOf(path), path);
  } catch (error) {
    if (codeOf((error as Error).cause) === "ENOENT") return undefined;
    throw error;
  }
}

function seedIn(text: string, path: string): string {
  const seed = SEED.exec(text)?.[0];
  if (seed === undefined) throw wrong(path, "the seed of an NKEY user");
  return seed;
}

async function firstLine(path: string): Promise<string> {
  const line = (await textOf(path)).split(/\r?\n/, 1)[0]!;
  if (line === "") throw wrong(path, "anything in its first line");
  return line;
}

async function textOf(path: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new UnavailableError(`cannot read ${path}: ${codeOf(error) ?? "it cannot be opened"}`, { cause: error });
  }
  if (text.length > MAX_FILE_CHARS) throw wrong(path, `at most ${MAX_FILE_CHARS} characters`);
  return text;
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | undefined)?.code;
}

function wrong(path: string, what: string): UnavailableError {
  return new UnavailableError(`${path} does not hold ${what}`);
}
