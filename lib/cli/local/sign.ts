/** `sign`: prints a definition or an invalidation with the cluster's signature, for the `nats` command. */
import { parseArgs } from "node:util";
import { secretsIn } from "../../config/texts/secret.ts";
import { ConfigError } from "../../core/errors.ts";
import { Seal } from "../../nats/seal.ts";

const USAGE = `usage: sign peers-groups dict '<json>' --secret-file file   (a bucket and a key, for nats kv put)
       sign peers.invalidate.dict '<json>' --secret-file file  (a subject, for nats pub)`;

/**
 * Returns the signed JSON with a line feed.
 *
 * @param argv the arguments after `sign`: a subject, or a bucket and a key; the JSON; and `--secret-file`, or its
 * variable
 * @throws ConfigError with the usage, or with the fault of the JSON or of the file
 */
export function signedText(
  argv: readonly string[],
  secretFile: string | undefined,
  readFile: (path: string) => string,
): string {
  const { places, json, path } = argumentsIn(argv);
  const file = path ?? secretFile;
  if (file === undefined) throw new ConfigError(`--secret-file must be given\n${USAGE}`);
  // A key with a wildcard or a space cannot exist.
  if (!places.every((place) => /^[\w$.\-]+$/.test(place))) throw new ConfigError(`no such place in NATS\n${USAGE}`);
  const subject = places.length === 1 ? places[0]! : `$KV.${places.join(".")}`;
  let secrets: readonly string[];
  try {
    secrets = secretsIn(readFile(file));
  } catch (error) {
    throw new ConfigError(`--secret-file must be a file that can be used: ${(error as Error).message}`);
  }
  const signed = new Seal(secrets).sign(subject, new TextEncoder().encode(objectIn(json)));
  return `${new TextDecoder().decode(signed)}\n`;
}

function argumentsIn(argv: readonly string[]): { places: string[]; json: string; path: string | undefined } {
  const options = { "secret-file": { type: "string" } } as const;
  try {
    const { values, positionals } = parseArgs({ args: [...argv], options, allowPositionals: true });
    const json = positionals.at(-1);
    const places = positionals.slice(0, -1);
    if (json !== undefined && (places.length === 1 || places.length === 2)) {
      return { places, json, path: values["secret-file"] };
    }
  } catch { /* no such option */ }
  throw new ConfigError(USAGE);
}

/** The object in one line, as it is written to NATS. @throws ConfigError it is no JSON object, or has no field */
function objectIn(json: string): string {
  try {
    const value: unknown = JSON.parse(json);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    // Replace an existing signature.
    const { mac: _mac, ...rest } = isObject ? value as Record<string, unknown> : {};
    if (Object.keys(rest).length > 0) return JSON.stringify(rest);
  } catch { /* no JSON */ }
  throw new ConfigError("what is signed must be a JSON object with a field");
}
